"""A browser's memory of the origins that it has visited. Pure."""

from __future__ import annotations

from collections.abc import Hashable

from .browser.client_hints import parse_accept_ch

# At this number, all are forgotten, and learned again.
_MOST_ORIGINS = 16_384


class VisitedOrigins:
    """Facts about origins, by origin and profile.

    Another profile is another visitor, who knows nothing about the origin yet.
    """

    def __init__(self) -> None:
        self._http1: set[Hashable] = set()
        self._hints: dict[Hashable, tuple[str, ...]] = {}

    def speaks_http1(self, key: Hashable) -> bool:
        """Tell whether the origin's latest response came over HTTP/1.1."""
        return key in self._http1

    def hints(self, key: Hashable) -> tuple[str, ...]:
        """Return the client hints that the origin asked for."""
        return self._hints.get(key, ())

    def answered(self, key: Hashable, protocol: str | None) -> None:
        """Note the version of HTTP in which an origin answers."""
        if protocol is not None and protocol.startswith("HTTP/1"):
            if key not in self._http1:
                _make_room(self._http1)
                self._http1.add(key)
        elif self._http1:
            self._http1.discard(key)

    def asked_for_hints(self, key: Hashable, accept_ch: str) -> None:
        """Note the client hints that an origin asks for."""
        _make_room(self._hints)
        self._hints[key] = parse_accept_ch(accept_ch)


def _make_room(known: set[Hashable] | dict[Hashable, tuple[str, ...]]) -> None:
    if len(known) >= _MOST_ORIGINS:
        known.clear()
