"""The items of the `docs` spider."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PageItem:
    """One page. The last three fields come from `response.meta["curl_safe_info"]`."""

    url: str
    title: str | None
    status: int
    bytes: int
    sha256: str
    links: int
    worker: int | None
    handshake_time: float | None
    attempt: int | None
