from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .tls import TlsOrigin

if TYPE_CHECKING:
    import socket


class LimitedOrigin(TlsOrigin):
    """Drops a connection if too many others are in their handshakes, which take a while.

    Attributes:
        at_once: how many simultaneous handshakes it allows; may change while it serves.
        most: the most simultaneous handshakes so far.
    """

    def __init__(self, at_once: int, *, takes: float = 0.05, **options: Any) -> None:
        super().__init__(**options)
        self.at_once = at_once
        self.most = 0
        self._takes = takes
        self._under_way = 0

    async def serve(self, sock: socket.socket, number: int) -> None:
        if self._under_way >= self.at_once:
            self._dropped += 1
            await self.read_hello(sock)
            return
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await asyncio.sleep(self._takes)
        finally:
            self._under_way -= 1
        await super().serve(sock, number)
