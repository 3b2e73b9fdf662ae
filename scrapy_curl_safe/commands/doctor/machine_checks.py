"""The doctor's checks of the machine. Pure."""

from __future__ import annotations

import errno

from ..._crawl.words import many, plural
from ..._platform.cgroups import GroupLimit
from ..._platform.refusals import WITHOUT, Facility
from ..._pool.worker_count import (
    CRAWLER_MB,
    WORKER_MB,
    default_worker_count,
    max_busy,
    needed_tasks,
)
from .facts import Facts
from .finding import CheckStatus, Finding

# Descriptors that a worker has open besides its connections.
_SPARE_DESCRIPTORS = 200
# As benchmarks/speed.py measures it.
_REQUEST_MB = 0.07
# A port waits a minute (TCP's TIME_WAIT) before it can be used again with the same address.
_PORTS_PER_REQUEST = 4
# Linux's default: see tcp(7).
_LONG_FIN_TIMEOUT_SECONDS = 60
# The least that Windows takes.
_LONG_TIME_WAIT_SECONDS = 30
_MANY_REQUESTS = 1000


def check_machine(facts: Facts) -> list[Finding | None]:
    """Return a finding of each check; None where nothing is known on this system."""
    found = [_open_files(facts), _ports(facts), _tw_reuse(facts), _fin_timeout(facts)]
    found += [_time_wait(facts), _conntrack(facts), _memory(facts), _tasks(facts)]
    found += [_cpu_quota(facts), _cpus(facts), _lacking(facts)]
    return [*found, *_refusals(facts)]


def _open_files(facts: Facts) -> Finding | None:
    if facts.open_files is None:
        return None
    wanted = 4 * facts.concurrent_requests + _SPARE_DESCRIPTORS
    at_once = facts.concurrent_requests
    value = f"{facts.open_files:,} for {at_once:,} {plural(at_once, 'request')} at once"
    why = (
        "a worker needs one for each connection, another while an old one closes, "
        "and two more during a name lookup"
    )
    if facts.open_files >= wanted:
        return Finding("open files", CheckStatus.OK, value, why)
    short = facts.open_files < facts.concurrent_requests + _SPARE_DESCRIPTORS // 2
    status = CheckStatus.PROBLEM if short else CheckStatus.WARNING
    return Finding("open files", status, value, why, _fix(facts, "open files", wanted=wanted))


def _ports(facts: Facts) -> Finding | None:
    if facts.ports is None:
        return None
    low, high = facts.ports
    count = high - low + 1
    value = f"{low} to {high}, {count:,}"
    why = "each connection uses one, which stays blocked for that origin for a minute afterwards"
    if count >= _PORTS_PER_REQUEST * facts.concurrent_requests:
        return Finding("local ports", CheckStatus.OK, value, why)
    status = CheckStatus.PROBLEM if count < facts.concurrent_requests else CheckStatus.WARNING
    return Finding("local ports", status, value, why, _fix(facts, "local ports"))


def _tw_reuse(facts: Facts) -> Finding | None:
    if facts.tw_reuse is None:
        return None
    why = "with 1, the port of a closed connection can be reused after a second"
    needed = facts.concurrent_requests >= _MANY_REQUESTS and facts.tw_reuse != 1
    fix = "sysctl -w net.ipv4.tcp_tw_reuse=1" if needed else ""
    status = CheckStatus.WARNING if needed else CheckStatus.OK
    return Finding("tcp_tw_reuse", status, str(facts.tw_reuse), why, fix)


def _fin_timeout(facts: Facts) -> Finding | None:
    if facts.fin_timeout is None:
        return None
    why = "a connection that the other side never closes keeps its port for this long"
    long = facts.fin_timeout > _LONG_FIN_TIMEOUT_SECONDS
    fix = "sysctl -w net.ipv4.tcp_fin_timeout=30" if long else ""
    status = CheckStatus.WARNING if long else CheckStatus.OK
    return Finding("tcp_fin_timeout", status, f"{facts.fin_timeout} s", why, fix)


def _time_wait(facts: Facts) -> Finding | None:
    if facts.time_wait is None:
        return None
    value, why = (
        f"{facts.time_wait} s",
        "the port of a closed connection stays blocked for this long",
    )
    long = facts.time_wait > _LONG_TIME_WAIT_SECONDS
    if not long or facts.concurrent_requests < _MANY_REQUESTS:
        return Finding("TcpTimedWaitDelay", CheckStatus.OK, value, why)
    fix = _fix(facts, "TcpTimedWaitDelay")
    return Finding("TcpTimedWaitDelay", CheckStatus.WARNING, value, why, fix)


def _conntrack(facts: Facts) -> Finding | None:
    if facts.conntrack is None:
        return None
    count, most = facts.conntrack
    left = most - count
    value = f"{count:,} of {most:,}"
    why = "when the firewall's table is full, it drops the packets of new connections"
    if left >= _PORTS_PER_REQUEST * facts.concurrent_requests:
        return Finding("conntrack", CheckStatus.OK, value, why)
    status = CheckStatus.PROBLEM if left < facts.concurrent_requests else CheckStatus.WARNING
    return Finding(
        "conntrack", status, value, why, "sysctl -w net.netfilter.nf_conntrack_max=262144"
    )


def _memory(facts: Facts) -> Finding | None:
    known = (facts.memory, facts.group_memory)
    free = min((megabytes for megabytes in known if megabytes is not None), default=None)
    if free is None:
        return None
    needed = CRAWLER_MB + facts.workers * WORKER_MB
    needed += int(facts.concurrent_requests * _REQUEST_MB)
    limit = facts.group_limits.memory if free == facts.group_memory else None
    of = "" if limit is None else f" of {_amount(limit)}"
    value = f"{free:,} MB free{of}, about {needed:,} MB needed besides the pages themselves"
    why = "a worker that runs out of memory exits, and its requests are sent again"
    if free >= needed:
        return Finding("memory", CheckStatus.OK, value, why)
    fix = "lower CONCURRENT_REQUESTS"
    if limit is not None:
        fix = f"{fix}, or {_fix(facts, 'memory', wanted=needed - free + int(limit.most))}"
    return Finding("memory", CheckStatus.PROBLEM, value, why, fix)


def _tasks(facts: Facts) -> Finding | None:
    limit = facts.group_limits.tasks
    if limit is None or facts.group_tasks is None:
        return None
    free, needed = facts.group_tasks, needed_tasks(facts.workers)
    value = f"{free:,} free of {_amount(limit)}, up to {needed:,} needed"
    why = "without one, no worker can be started or replaced, and no name looked up"
    if free >= needed:
        return Finding("tasks", CheckStatus.OK, value, why)
    # The crawler, its workers, and the successor of one.
    short = free < facts.workers + 2
    status = CheckStatus.PROBLEM if short else CheckStatus.WARNING
    allow = _fix(facts, "tasks", wanted=needed - free + int(limit.most))
    fix = f"lower CURL_SAFE_WORKERS, or {allow}"
    return Finding("tasks", status, value, why, fix)


def _cpu_quota(facts: Facts) -> Finding | None:
    limit = facts.group_limits.cpus
    if limit is None:
        return None
    why = "a crawl that has used up its part of a tenth of a second stands still for the rest"
    value = _amount(limit)
    if limit.most >= 1:
        return Finding("CPU quota", CheckStatus.OK, value, why)
    return Finding("CPU quota", CheckStatus.WARNING, value, why, _fix(facts, "CPU quota"))


def _cpus(facts: Facts) -> Finding | None:
    if facts.cpus is None:
        return None
    value = f"{many(facts.workers, 'worker')} on {many(facts.cpus, 'CPU')}"
    why = "more workers than CPUs only take turns"
    default = default_worker_count(facts.cpus, facts.group_limits)
    if default.limit is not None and facts.workers == default.count:
        value += f", by default no more because of a limit ({_amount(default.limit)})"
        why = "raise that limit for more workers, or set CURL_SAFE_WORKERS"
    most = max_busy(facts.cpus, facts.group_limits)
    if facts.workers <= most:
        return Finding("workers", CheckStatus.OK, value, why)
    quota = facts.group_limits.cpus
    value += "" if quota is None else f" ({_amount(quota)})"
    fix = f"CURL_SAFE_WORKERS = {most}"
    return Finding("workers", CheckStatus.WARNING, value, why, fix)


def _amount(limit: GroupLimit) -> str:
    """Return a limit with its unit, and the file that has it."""
    most = round(limit.most, 2) if limit.most % 1 else int(limit.most)
    return f"{most:,} {limit.unit} by {limit.file}"


def _lacking(facts: Facts) -> Finding | None:
    if not facts.lacking:
        return None
    names = ", ".join(facility.value for facility in facts.lacking)
    why = "; ".join(WITHOUT[facility][1] for facility in facts.lacking)
    return Finding("system", CheckStatus.OK, f"{facts.system_name}, which has no {names}", why)


def _fix(facts: Facts, check: str, **values: object) -> str:
    return facts.fixes.get(check, "").format(**values)


_FIXES = {Facility.CORE_LIMIT: "sysctl -w kernel.core_pattern=core"}


def _refusals(facts: Facts) -> list[Finding]:
    return [
        Finding(
            facility.value,
            CheckStatus.WARNING,
            f"{WITHOUT[facility][0]} is refused: {errno.errorcode.get(reason, reason)}",
            f"a crawl goes on without it: {WITHOUT[facility][1]}",
            _FIXES.get(facility, "allow it to this user, or in the container"),
        )
        for facility, reason in facts.refusals.items()
    ]
