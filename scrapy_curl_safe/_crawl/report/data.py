"""The data of a report, which a crawl writes and a page draws. Pure."""

from __future__ import annotations

import msgspec

from ..worker_lives import WorkerLife
from .points import Point

_FORMAT = "scrapy-curl-safe report 1"


class OriginHealth(msgspec.Struct):
    """The handshakes with an origin.

    Attributes:
        origin: scheme, host and port.
        proxy: without credentials; None for no proxy.
        done: handshakes that succeeded.
        failed: those that failed, by kind.
        limit: on new connections at the end; None if it is not lowered.
        is_unavailable: whether its circuit breaker is open at the end.
    """

    origin: str
    proxy: str | None
    done: int
    failed: dict[str, int]
    limit: int | None
    is_unavailable: bool


class ProxyHealth(msgspec.Struct):
    """The traffic through a proxy.

    Attributes:
        proxy: without credentials.
        done: handshakes with origins behind it that succeeded.
        failed: those that failed, by kind.
        requests: those of sessions; `causes` (why they failed) and `blocked` likewise.
    """

    proxy: str
    done: int = 0
    failed: dict[str, int] = msgspec.field(default_factory=dict)
    requests: int = 0
    causes: dict[str, int] = msgspec.field(default_factory=dict)
    blocked: int = 0


class Advice(msgspec.Struct):
    """A piece of advice.

    Attributes:
        about: what it concerns.
        text: what happened, and what may help.
        settings: lines of a settings module, to be pasted; empty if none would help.
        command: to be run first; empty if none would help.
    """

    about: str
    text: str
    settings: str = ""
    command: str = ""


class ReportData(msgspec.Struct, kw_only=True):
    """Everything that a report shows.

    Attributes:
        format: tells these data from others.
        version: of the package.
        spider: its name.
        began: date and time (ISO 8601, UTC).
        seconds: how long the crawl took.
        finish_reason: as Scrapy says it.
        stats: of this package, and of retries, at the end of the crawl.
        points: its course.
        handshake_times: of handshakes that succeeded: lower and upper bound in seconds, and count.
        origins: with failed handshakes, the worst first.
        proxies: with failures, the worst first.
        workers: in the order of their start.
        workers_forgotten: that started before these.
        advice: the most important first.
    """

    format: str = _FORMAT
    version: str
    spider: str
    began: str
    seconds: float
    finish_reason: str
    stats: dict[str, int | float | str]
    points: list[Point]
    handshake_times: list[tuple[float, float, int]]
    origins: list[OriginHealth]
    proxies: list[ProxyHealth]
    workers: list[WorkerLife]
    workers_forgotten: int
    advice: list[Advice]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> ReportData:
        """Read what `to_json` has written.

        Raises:
            ValueError: it is something else.
        """
        data = msgspec.json.decode(text, type=cls)
        if data.format != _FORMAT:
            raise ValueError(f"its format is {data.format!r}, and not {_FORMAT!r}")
        return data
