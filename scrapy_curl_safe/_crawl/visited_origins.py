"""A browser's memory of the origins that it has visited. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

from .browser.client_hints import parse_accept_ch

#: 1 for HTTP/1.1, and 2 for HTTP/2 and HTTP/3, whose headers have the same form.
HttpVersion = Literal[1, 2]

# At this number, all are forgotten, and learned again.
_MOST_ORIGINS = 16_384


class VisitedOrigins:
    """Facts about origins, by origin and profile.

    Another profile is another visitor, who knows nothing about the origin yet.
    """

    def __init__(self) -> None:
        self._versions: dict[Hashable, HttpVersion] = {}
        self._hints: dict[Hashable, tuple[str, ...]] = {}

    def version(self, key: Hashable) -> HttpVersion | None:
        """Return the version of HTTP in which the origin has answered last; None if it has not."""
        return self._versions.get(key)

    def hints(self, key: Hashable) -> tuple[str, ...]:
        """Return the client hints that the origin asked for."""
        return self._hints.get(key, ())

    def answered(self, key: Hashable, protocol: str | None) -> None:
        """Note the version of HTTP in which an origin answers."""
        if protocol is None:
            return
        version: HttpVersion = 1 if protocol.startswith("HTTP/1") else 2
        if self._versions.get(key) != version:
            _make_room(self._versions)
            self._versions[key] = version

    def asked_for_hints(self, key: Hashable, accept_ch: str) -> None:
        """Note the client hints that an origin asks for."""
        _make_room(self._hints)
        self._hints[key] = parse_accept_ch(accept_ch)


def _make_room(known: dict[Hashable, Any]) -> None:
    if len(known) >= _MOST_ORIGINS:
        known.clear()
