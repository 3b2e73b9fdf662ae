"""One worker without a pool, for asyncio. Used by the doctor, the probe and the tests.

with WorkerClient(hello) as worker:
    ready = await worker.ready()
    outcome, body = await worker.fetch(Fetch(url=url, profile=profile))
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .._ipc.messages import (
    Chunk,
    Fetch,
    Heartbeat,
    Hello,
    Outcome,
    ProtocolError,
    Ready,
    ResponseHead,
    SizeWarning,
)
from .._platform.system import system
from .interpreter import InterpreterError
from .launcher import WorkerLauncher
from .selector_thread import watching_loop
from .worker_connection import WorkerConnection
from .worker_process import WorkerProcess

_START_TIMEOUT_SECONDS = 30.0
# How late a worker may be with an outcome, beyond the timeout of the download itself.
_GRACE_SECONDS = 30.0

MessageHandler = Callable[[ResponseHead | Chunk | SizeWarning, bytes], None]


class WorkerFailedError(Exception):
    """Says why a worker cannot be used: it did not start, exited, broke the protocol or does not
    answer."""


class WorkerClient:
    """A worker that belongs to one caller. As a context manager it closes itself at the end.

    Args:
        hello: the first message to the worker.
        process: of the worker, which the client owns from now on; None to start one.
        python: interpreter of a new worker (CURL_SAFE_PYTHON); None for that of this process.
        on_heartbeat: called with each heartbeat.

    Attributes:
        process: of the worker.
        connection: to the worker, for everything that the client has no method for.

    Raises:
        WorkerFailedError: the process cannot be started.
    """

    def __init__(
        self,
        hello: Hello,
        process: WorkerProcess | None = None,
        *,
        python: str | None = None,
        on_heartbeat: Callable[[Heartbeat], None] = lambda heartbeat: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._watching_loop = watching_loop(self._loop)
        # asyncio would log an exception that nobody waits for, but not a result.
        self._ready: asyncio.Future[Ready | WorkerFailedError] = self._loop.create_future()
        self._error: WorkerFailedError | None = None
        try:
            self.process = process or WorkerLauncher.capture(python).start()
        except (OSError, InterpreterError) as error:
            raise WorkerFailedError(f"the worker cannot be started: {error}") from error
        self.connection = WorkerConnection(
            self._watching_loop,
            self.process,
            hello,
            on_ready=self._on_ready,
            on_heartbeat=on_heartbeat,
            on_lost=self._on_lost,
        )

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<WorkerClient of {self.process}, {self.connection}>"

    async def ready(self) -> Ready:
        """Wait until the worker takes requests or says, as `Ready.problem`, why it cannot.

        Raises:
            WorkerFailedError: it does neither.
        """
        try:
            # Shielded, so that several callers may wait.
            answer = await asyncio.wait_for(asyncio.shield(self._ready), _START_TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            raise _late(_START_TIMEOUT_SECONDS) from None
        if isinstance(answer, WorkerFailedError):
            raise answer
        return answer

    async def fetch(
        self,
        fetch: Fetch,
        body: bytes = b"",
        *,
        on_message: MessageHandler = lambda message, body: None,
    ) -> tuple[Outcome, bytes]:
        """Send a request and wait for its outcome.

        Args:
            fetch: the request, which gets an id that is unique to this worker.
            body: of the request.
            on_message: called with each message that precedes the outcome, and its body.

        Returns:
            The outcome, and the body of the response unless that was streamed.

        Raises:
            ProtocolError: the request does not fit into a frame.
            WorkerFailedError: there will be no outcome.
        """
        if self._error is not None:
            raise self._error
        answer = _Answer(self._loop.create_future(), on_message)
        self.connection.fetch(fetch, body, answer)
        limit = (fetch.timeout_seconds or math.inf) + _GRACE_SECONDS
        try:
            return await asyncio.wait_for(answer.future, limit)
        except asyncio.TimeoutError:
            raise _late(limit) from None

    def close(self) -> None:
        """Kill the worker and wait for its end."""
        self.connection.close()
        self.process.stop()

    def _on_ready(self, ready: Ready) -> None:
        if not self._ready.done():
            self._ready.set_result(ready)

    def _on_lost(self, error: Exception | None) -> None:
        breach = error if isinstance(error, ProtocolError) else None
        if breach is not None:
            self.process.kill()
        # The exit status says more than the way in which the socket was closed.
        self.process.reap(self._watching_loop, lambda status: self._on_exit(status, breach))

    def _on_exit(self, status: int, breach: ProtocolError | None) -> None:
        if breach is None:
            what = f"exited ({system.describe_exit(status)})"
        else:
            what = f"broke the protocol ({breach}) and was killed"
        self._error = WorkerFailedError(f"the worker {what}")
        if not self._ready.done():
            self._ready.set_result(self._error)
        for receiver in self.connection.abandon():
            assert isinstance(receiver, _Answer)
            receiver.fail(self._error)


class _Answer:
    """The receiver of one fetch."""

    def __init__(
        self, future: asyncio.Future[tuple[Outcome, bytes]], on_message: MessageHandler
    ) -> None:
        self.future = future
        self.on_message = on_message

    def on_outcome(self, outcome: Outcome, body: bytes) -> None:
        if not self.future.done():
            self.future.set_result((outcome, body))

    def on_overdue(self) -> None:
        """Do nothing: `fetch` has its own timeout."""

    def fail(self, error: WorkerFailedError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def _late(seconds: float) -> WorkerFailedError:
    return WorkerFailedError(f"the worker did not answer within {seconds:g} seconds")
