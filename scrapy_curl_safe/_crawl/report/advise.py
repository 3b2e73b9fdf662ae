"""Advises what to change, with the settings to paste. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._ipc.failures import FailureKind
from ..._pool.origins import Origin
from ...settings import Settings
from ..advice import probe_command, what_helps
from ..health import LONG_BLOCK_SECONDS, count_of
from ..stats import PREFIX
from ..words import many
from ..worker_lives import WorkerLife
from .data import Advice, ProxyHealth

_MOST_ORIGINS = 5
# A share of fewer handshakes, or requests, says nothing.
_LEAST = 10
# Shares above these are worth a word.
_BAD_SHARE_OF_HANDSHAKES = 0.01
_BAD_SHARE_OF_A_PROXY = 0.2
_TOLD_BY_PROBE = (FailureKind.SYSCALL, FailureKind.TIMEOUT)


def advise(
    stats: Mapping[str, Any],
    settings: Settings,
    origins: Sequence[Origin],
    proxies: Sequence[ProxyHealth],
    workers: Sequence[WorkerLife],
) -> list[Advice]:
    """Return what to change, the most important first.

    Args:
        stats: of the crawl.
        settings: of the crawl.
        origins: with failed handshakes, the worst first.
        proxies: with failures.
        workers: that there were.
    """
    return [
        *_lost_pages(stats, settings),
        *(_origin(origin, settings) for origin in origins[:_MOST_ORIGINS] if _is_bad(origin)),
        *_proxies(stats, proxies),
        *_busy_loop(stats),
        *_workers(workers, settings),
    ]


def _lost_pages(stats: Mapping[str, Any], settings: Settings) -> Iterator[Advice]:
    lost = count_of(stats, "handshake/gave_up_count")
    if not lost:
        return
    times = settings.handshake_retry_times
    yield Advice(
        "Lost pages",
        f"{many(lost, 'request')} got no response, since handshakes failed until no retry was "
        "left. More retries help if the origin recovers; what is wrong with it is said below.",
        f"CURL_SAFE_HANDSHAKE_RETRY_TIMES = {max(10, 2 * times)}  # it was {times}",
    )


def _is_bad(origin: Origin) -> bool:
    failed = origin.failures.total()
    return failed / (failed + origin.handshakes_done) > _BAD_SHARE_OF_HANDSHAKES


def _origin(origin: Origin, settings: Settings) -> Advice:
    ((kind, count),) = origin.failures.most_common(1)
    failed = origin.failures.total()
    tried = failed + origin.handshakes_done
    by = f"{count} of them by {kind.value}" if count < failed else f"all by {kind.value}"
    return Advice(
        str(origin.route),
        f"{failed} of {many(tried, 'handshake')} failed ({failed / tried:.1%}), {by}: "
        f"{what_helps(origin)}.",
        _settings_for(kind, settings),
        # How many handshakes an origin takes at once cannot be read off a crawl: a limit also falls
        # where an origin refuses some at random.
        probe_command(origin) if kind in _TOLD_BY_PROBE else "",
    )


def _settings_for(kind: FailureKind, settings: Settings) -> str:
    if kind is FailureKind.LOCAL:
        now = settings.concurrent_requests
        return f"CONCURRENT_REQUESTS = {max(1, now // 2)}  # it was {now}"
    if kind is FailureKind.ALERT:
        other = "chrome" if "firefox" in str(settings.impersonate) else "firefox"
        return f'CURL_SAFE_IMPERSONATE = "{other}"'
    return ""


def _proxies(stats: Mapping[str, Any], proxies: Sequence[ProxyHealth]) -> Iterator[Advice]:
    if refused := count_of(stats, "connection/failure_count/proxy_auth"):
        yield Advice(
            "Proxies",
            f"A proxy refused its credentials, or asked for some, {many(refused, 'time')}: correct "
            "the user and the password in its URL.",
        )
    bad = [proxy.proxy for proxy in proxies if _is_bad_proxy(proxy)]
    if bad:
        yield Advice(
            "Proxies",
            f"Much of what went through {', '.join(bad)} failed: leave "
            f"{'it' if len(bad) == 1 else 'them'} out, or ask the provider.",
        )


def _is_bad_proxy(proxy: ProxyHealth) -> bool:
    failed = sum(proxy.failed.values()) or sum(proxy.causes.values()) + proxy.blocked
    tried = max(proxy.requests, proxy.done + failed)
    return tried >= _LEAST and failed / tried > _BAD_SHARE_OF_A_PROXY


def _busy_loop(stats: Mapping[str, Any]) -> Iterator[Advice]:
    lag = stats.get(f"{PREFIX}loop_lag_max", 0.0)
    if lag < LONG_BLOCK_SECONDS:
        return
    yield Advice(
        "The crawler itself",
        f"Its event loop was blocked for up to {lag:.1f} s, by callbacks or pipelines that "
        "compute or wait, or by other programs that leave it no CPU. Handshakes go on meanwhile, "
        "since workers make them, but no request is sent and no response is read. Move what takes "
        "long to a thread (twisted.internet.threads.deferToThread, asyncio.to_thread) or to "
        "another process.",
    )


def _workers(workers: Sequence[WorkerLife], settings: Settings) -> Iterator[Advice]:
    dead = [life for life in workers if life.how in ("died", "broke the protocol")]
    if dead:
        causes = list(dict.fromkeys(life.why for life in dead))
        if "SIGKILL" in causes:
            help_ = "SIGKILL comes from a system that has no memory left, or from a person."
            setting = "CURL_SAFE_WORKER_MAX_MEMORY_MB = 300"
        else:
            help_ = (
                "If that happens again and again, replace workers before they die, and report it "
                "with the log of the crawl."
            )
            setting = "CURL_SAFE_WORKER_MAX_REQUESTS = 1000"
        yield Advice(
            "Workers",
            f"{many(len(dead), 'worker')} died ({', '.join(causes)}). Each was replaced, and what "
            f"it had in flight was retried. {help_}",
            setting,
        )
    if hung := sum(life.how == "hung" for life in workers):
        seconds = settings.worker_hang_timeout
        yield Advice(
            "Workers",
            f"{many(hung, 'worker')} sent no heartbeat for {seconds:g} s. Each was killed and "
            "replaced. A machine with too much to do may need fewer workers; a longer time avoids "
            "false alarms.",
            f"CURL_SAFE_WORKER_HANG_TIMEOUT = {2 * seconds:g}",
        )
