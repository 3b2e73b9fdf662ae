"""A server that runs on an asyncio loop in its own thread."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

_S = TypeVar("_S", bound="BackgroundServer")
_SECONDS = 30


class BackgroundServer:
    """A server that runs while its context manager is open. `run` serves until `stop` is set, and
    sets `ready` as soon as it listens."""

    def __init__(self) -> None:
        self.port = 0
        self.ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self: _S) -> _S:
        self._thread.start()
        assert self.ready.wait(_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self.stop.set)
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive()

    async def run(self) -> None:
        raise NotImplementedError

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        await self.run()


class StreamServer(BackgroundServer):
    """A TCP server whose `_serve` is called with each connection. At its end all are cancelled."""

    async def run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()
        server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError
