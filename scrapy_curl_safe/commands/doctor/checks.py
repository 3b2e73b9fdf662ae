"""What the doctor thinks of what it found. Pure: facts in, findings out."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

# Beside its connections a worker has some dozens of descriptors open.
_SPARE_DESCRIPTORS = 200
# Megabytes, as benchmarks/speed.py measures them.
_CRAWLER_MEMORY = 120
_WORKER_MEMORY = 40
_MEMORY_OF_ONE_REQUEST = 0.07
# A port waits a minute (TCP's TIME_WAIT) before it can be used with the same address again.
_PORTS_PER_REQUEST = 4

_OLDEST = {"Scrapy": (2, 15), "curl_cffi": (0, 15), "Twisted": (24, 11)}

OURS = "scrapy_curl_safe"
_HANDLER = "CurlSafeDownloadHandler"
_MIDDLEWARE = "HandshakeRetryMiddleware"
_MONITOR = "HandshakeMonitor"
_RETRY = "RetryMiddleware"


class Status(str, enum.Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """
    Attributes:
        check: what was looked at.
        value: what was found.
        why: why that matters.
        fix: what mends it: a command or a setting; empty where nothing has to be mended.
    """

    check: str
    status: Status
    value: str
    why: str
    fix: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found. None, for a number, where this system does not tell it.

    Attributes:
        settings_error: why the settings cannot be loaded.
        open_files: how many this process may have open at most (the hard limit, as far as
            which the workers raise theirs).
        ports: lowest and highest local port of outgoing connections.
        tw_reuse: net.ipv4.tcp_tw_reuse.
        fin_timeout: net.ipv4.tcp_fin_timeout, in seconds.
        conntrack: entries in the connection table, and the most that it takes.
        memory: available, in MB.
        cpus: that this process may use.
        versions: of the packages, and of libcurl if a worker told it.
        handlers: path of the class for http and https; None for none.
        middlewares: path and order of those that are on.
        extensions: likewise.
        worker_error: why a worker did not start and answer; None if it did.
        target_error: why it cannot be the browser that the settings ask for.
        handshake_error: why a handshake with a local origin failed; None if it did not.
    """

    concurrent_requests: int = 16
    concurrent_items: int = 100
    workers: int = 2
    reactor: str = ""
    autothrottle: bool = False
    adaptive: bool = True
    settings_error: str | None = None
    open_files: int | None = None
    ports: tuple[int, int] | None = None
    tw_reuse: int | None = None
    fin_timeout: int | None = None
    conntrack: tuple[int, int] | None = None
    memory: int | None = None
    cpus: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    handlers: dict[str, str | None] = field(default_factory=dict)
    middlewares: dict[str, int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    worker_error: str | None = None
    target_error: str | None = None
    handshake_error: str | None = None


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which one would mend them."""
    found: list[Finding | None] = [_settings(facts), *_versions(facts)]
    found += [_worker(facts), _target(facts), _handshake(facts)]
    found += [_handlers(facts), _middleware(facts), _monitor(facts)]
    found += [_open_files(facts), _ports(facts), _tw_reuse(facts), _fin_timeout(facts)]
    found += [_conntrack(facts), _memory(facts), _cpus(facts)]
    found += [_items(facts), _autothrottle(facts), _reactor(facts)]
    return [finding for finding in found if finding is not None]


# The package and the project


def _settings(facts: Facts) -> Finding:
    why = "a wrong setting stops the crawl at its start"
    if facts.settings_error is None:
        return Finding("settings", Status.OK, "valid", why)
    return Finding("settings", Status.PROBLEM, facts.settings_error, why, "change that setting")


def _versions(facts: Facts) -> list[Finding]:
    found = []
    for package, oldest in _OLDEST.items():
        version = facts.versions.get(package, "not installed")
        fits = _numbers(version) >= oldest
        wanted = ".".join(map(str, oldest))
        found.append(
            Finding(
                package,
                Status.OK if fits else Status.PROBLEM,
                version,
                f"{wanted} is the oldest that this package works with",
                "" if fits else f"pip install --upgrade '{package}>={wanted}'",
            )
        )
    if "libcurl" in facts.versions:
        why = "it makes the handshakes"
        found.append(Finding("libcurl", Status.OK, facts.versions["libcurl"], why))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _worker(facts: Facts) -> Finding:
    why = "every request goes through one"
    if facts.worker_error is None:
        return Finding("worker", Status.OK, "starts and answers", why)
    return Finding(
        "worker",
        Status.PROBLEM,
        facts.worker_error,
        why,
        "python -m pip install --force-reinstall curl_cffi msgspec",
    )


def _target(facts: Facts) -> Finding | None:
    if facts.worker_error is not None:
        return None
    why = "without it no request can be sent"
    if facts.target_error is None:
        return Finding("browser", Status.OK, "known to curl_cffi", why)
    fix = "set CURL_SAFE_IMPERSONATE to one of the names above, or upgrade curl_cffi"
    return Finding("browser", Status.PROBLEM, facts.target_error, why, fix)


def _handshake(facts: Facts) -> Finding | None:
    if facts.worker_error is not None or facts.target_error is not None:
        return None
    why = "where it fails the cause is on this machine, not on the way"
    if facts.handshake_error is None:
        return Finding("local handshake", Status.OK, "works", why)
    fix = "see that this machine's firewall lets 127.0.0.1 reach itself"
    return Finding("local handshake", Status.PROBLEM, facts.handshake_error, why, fix)


_TURN_ON = 'ADDONS = {"scrapy_curl_safe.Addon": 500}'


def _is(path: str | None, name: str) -> bool:
    return path is not None and path.startswith(f"{OURS}.") and path.endswith(f".{name}")


def _handlers(facts: Facts) -> Finding:
    by_scheme = {s: _is(path, _HANDLER) for s, path in facts.handlers.items()}
    value = ", ".join(f"{scheme}: {path or 'none'}" for scheme, path in facts.handlers.items())
    why = "requests of another handler's scheme do not go through the workers"
    if by_scheme and all(by_scheme.values()):
        return Finding("download handler", Status.OK, "http and https", why)
    status = Status.WARNING if any(by_scheme.values()) else Status.PROBLEM
    return Finding("download handler", status, value, why, _TURN_ON)


def _order(components: dict[str, int], name: str) -> int | None:
    return next((order for path, order in components.items() if path.endswith(f".{name}")), None)


def _middleware(facts: Facts) -> Finding:
    ours, scrapys = _order(facts.middlewares, _MIDDLEWARE), _order(facts.middlewares, _RETRY)
    why = "it retries failed handshakes, and has to see them before Scrapy's RetryMiddleware does"
    if ours is None:
        return Finding("middleware", Status.PROBLEM, "off", why, _TURN_ON)
    if scrapys is not None and ours <= scrapys:
        value = f"at {ours}, RetryMiddleware at {scrapys}"
        fix = f'DOWNLOADER_MIDDLEWARES = {{"{OURS}.{_MIDDLEWARE}": {scrapys + 10}}}'
        return Finding("middleware", Status.PROBLEM, value, why, fix)
    return Finding("middleware", Status.OK, f"at {ours}", why)


def _monitor(facts: Facts) -> Finding:
    why = "it says in the log how the handshakes are doing"
    if _order(facts.extensions, _MONITOR) is None:
        return Finding("monitor", Status.WARNING, "off", why, _TURN_ON)
    return Finding("monitor", Status.OK, "on", why)


# The machine


def _open_files(facts: Facts) -> Finding | None:
    if facts.open_files is None:
        return None
    wanted = 4 * facts.concurrent_requests + _SPARE_DESCRIPTORS
    value = f"{facts.open_files:,} for {facts.concurrent_requests:,} requests at once"
    why = (
        "a worker needs one for each connection, one more while that closes, "
        "and two while a name is looked up"
    )
    if facts.open_files >= wanted:
        return Finding("open files", Status.OK, value, why)
    short = facts.open_files < facts.concurrent_requests + _SPARE_DESCRIPTORS // 2
    status = Status.PROBLEM if short else Status.WARNING
    fix = f"ulimit -Hn {wanted} (as root; or LimitNOFILE={wanted} in a systemd unit)"
    return Finding("open files", status, value, why, fix)


def _ports(facts: Facts) -> Finding | None:
    if facts.ports is None:
        return None
    low, high = facts.ports
    count = high - low + 1
    value = f"{low} to {high}, {count:,}"
    why = "a connection has one, and keeps it from the same origin for a minute after its end"
    if count >= _PORTS_PER_REQUEST * facts.concurrent_requests:
        return Finding("local ports", Status.OK, value, why)
    status = Status.PROBLEM if count < facts.concurrent_requests else Status.WARNING
    fix = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
    return Finding("local ports", status, value, why, fix)


def _tw_reuse(facts: Facts) -> Finding | None:
    if facts.tw_reuse is None:
        return None
    why = "with 1, a port of a closed connection is used again after a second"
    needed = facts.concurrent_requests >= 1000 and facts.tw_reuse != 1
    fix = "sysctl -w net.ipv4.tcp_tw_reuse=1" if needed else ""
    status = Status.WARNING if needed else Status.OK
    return Finding("tcp_tw_reuse", status, str(facts.tw_reuse), why, fix)


def _fin_timeout(facts: Facts) -> Finding | None:
    if facts.fin_timeout is None:
        return None
    why = "so long a connection that the other side does not close takes a port"
    long = facts.fin_timeout > 60
    fix = "sysctl -w net.ipv4.tcp_fin_timeout=30" if long else ""
    status = Status.WARNING if long else Status.OK
    return Finding("tcp_fin_timeout", status, f"{facts.fin_timeout} s", why, fix)


def _conntrack(facts: Facts) -> Finding | None:
    if facts.conntrack is None:
        return None
    count, most = facts.conntrack
    left = most - count
    value = f"{count:,} of {most:,}"
    why = "where the firewall's table is full, packets of new connections are dropped"
    if left >= _PORTS_PER_REQUEST * facts.concurrent_requests:
        return Finding("conntrack", Status.OK, value, why)
    status = Status.PROBLEM if left < facts.concurrent_requests else Status.WARNING
    return Finding(
        "conntrack", status, value, why, "sysctl -w net.netfilter.nf_conntrack_max=262144"
    )


def _memory(facts: Facts) -> Finding | None:
    if facts.memory is None:
        return None
    needed = _CRAWLER_MEMORY + facts.workers * _WORKER_MEMORY
    needed += int(facts.concurrent_requests * _MEMORY_OF_ONE_REQUEST)
    value = f"{facts.memory:,} MB free, about {needed:,} MB needed beside the pages themselves"
    why = "a worker without memory ends, and its requests are done again"
    if facts.memory >= needed:
        return Finding("memory", Status.OK, value, why)
    return Finding("memory", Status.PROBLEM, value, why, "lower CONCURRENT_REQUESTS")


def _cpus(facts: Facts) -> Finding | None:
    if facts.cpus is None:
        return None
    value = f"{facts.workers} workers on {facts.cpus} CPUs"
    why = "the crawler fills one, and workers beyond the others only take turns"
    if facts.workers <= max(2, facts.cpus):
        return Finding("workers", Status.OK, value, why)
    fix = f"CURL_SAFE_WORKERS = {max(2, facts.cpus)}"
    return Finding("workers", Status.WARNING, value, why, fix)


# The crawl


def _items(facts: Facts) -> Finding:
    why = "Scrapy starts so many tasks for every response, which costs more than the download"
    if facts.concurrent_items <= 10:
        return Finding("CONCURRENT_ITEMS", Status.OK, str(facts.concurrent_items), why)
    fix = "CONCURRENT_ITEMS = 1, unless item pipelines wait for something"
    return Finding("CONCURRENT_ITEMS", Status.WARNING, str(facts.concurrent_items), why, fix)


def _autothrottle(facts: Facts) -> Finding:
    why = "it lowers the concurrency by the latency, the adaptive limit by failed handshakes"
    if facts.autothrottle and facts.adaptive:
        fix = "AUTOTHROTTLE_ENABLED = False, or CURL_SAFE_ADAPTIVE = False"
        value = "AutoThrottle and CURL_SAFE_ADAPTIVE are both on"
        return Finding("throttles", Status.WARNING, value, why, fix)
    return Finding("throttles", Status.OK, "one at most", why)


def _reactor(facts: Facts) -> Finding:
    why = "any will do; Scrapy's default is the fastest"
    return Finding("reactor", Status.OK, facts.reactor or "none", why)
