from __future__ import annotations

import threading
from typing import Any

from testkit.waiting import until

from .messages import Reply, SeenRequest
from .tls import TlsOrigin


class HoldingOrigin(TlsOrigin):
    """Answers /held and everything below it once `release` is set, and all else at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.release = threading.Event()

    async def _answer(self, request: SeenRequest) -> Reply:
        reply = await super()._answer(request)
        if request.path == "/held" or request.path.startswith("/held/"):
            await until(self.release.is_set)
        return reply


class SlowOnce(TlsOrigin):
    """Answers one request only when eleven more have come.

    Args:
        slow: number of that request, counted from 0.
    """

    def __init__(self, slow: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._slow = slow

    async def _answer(self, request: SeenRequest) -> Reply:
        number = len(self.requests)
        reply = await super()._answer(request)
        if number == self._slow:
            await until(lambda: len(self.requests) > number + 11)
        return reply
