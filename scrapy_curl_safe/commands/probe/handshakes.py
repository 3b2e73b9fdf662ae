"""Makes handshakes, each by a real worker on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from ..errors import classify
from ..figures import handshake_time
from ..link import Link
from ..pool.process import exit_text, start_process
from ..wire import (
    Done,
    Failed,
    Fetch,
    FromWorker,
    Hello,
    Outcome,
    Profile,
    Ready,
    Refused,
    Taken,
    TooLarge,
    WireError,
    encode_profile,
    from_worker_decoder,
)
from .steps import Step, Wanted

WORKERS = 2
# Seconds: for a worker's start, and for its answer beyond the timeout of a handshake.
_PATIENCE = 30.0
_LOOPBACK_TIMEOUT = 5.0
# That a process without its socket may take to end by itself.
_EXIT_GRACE = 1.0
_TLS_RECORD_HEADER = 5

# Of failures before a handshake: libcurl's codes.
_KINDS = {5: "unresolved", 6: "unresolved", 7: "refused", 28: "unconnected", 97: "proxy"}
_CONNECT_REFUSED = "CONNECT tunnel failed"


class WorkersError(Exception):
    """No worker could be started, and why."""


class RequestError(Exception):
    """A worker does not take the browser or the URL, and why."""


@dataclass(frozen=True)
class Made:
    """One handshake.

    Attributes:
        kind: as in `Step.failures`; None if it was completed.
        seconds: that it took; None if it failed.
        detail: what libcurl said.
    """

    kind: str | None = None
    seconds: float | None = None
    detail: str = ""


class _Worker:
    def __init__(self, loop: asyncio.AbstractEventLoop, hello: Hello) -> None:
        self.process, sock, self._memory = start_process()
        self._ready: asyncio.Future[Ready] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._link: Link[FromWorker] = Link(
            loop, sock, from_worker_decoder(), self._on_message, self._on_lost
        )
        self._link.send(hello)

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    async def ready(self) -> Ready:
        return await asyncio.wait_for(asyncio.shield(self._ready), _PATIENCE)

    async def fetch(self, fetch: Fetch) -> Outcome:
        """
        Raises:
            ConnectionError: the worker is gone.
            asyncio.TimeoutError: it does not answer.
        """
        if self.process.poll() is not None:
            raise ConnectionError(f"a worker ended: {exit_text(self.process.returncode)}")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[fetch.id] = future
        self._link.send(fetch)
        try:
            return await asyncio.wait_for(future, fetch.timeout + _PATIENCE)
        finally:
            del self._waiting[fetch.id]

    def close(self) -> None:
        self._link.close()
        self.process.kill()
        self.process.wait()
        if self._memory is not None:
            self._memory.close()

    def _on_message(self, message: FromWorker, body: bytes) -> None:
        if isinstance(message, Ready) and not self._ready.done():
            self._ready.set_result(message)
        elif isinstance(message, Outcome):
            if isinstance(message, Done) and message.place is not None:
                self._link.send(Taken())
            future = self._waiting.get(message.id)
            if future is not None and not future.done():
                future.set_result(message)

    def _on_lost(self, reason: WireError | OSError | None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_EXIT_GRACE)
        self.process.kill()
        ended = f"a worker ended: {exit_text(self.process.wait())}"
        # How a process ended says more than how its socket did.
        error = ConnectionError(str(reason) if isinstance(reason, WireError) else ended)
        futures: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)


class Handshakes:
    """Handshakes with one URL, by workers that are there while the context is.

    Args:
        url: an https URL.
        timeout: seconds for each handshake, and for the answer to its HEAD request.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self._last_id = 0

    @contextlib.asynccontextmanager
    async def workers(self, profile: Profile, concurrency: int) -> AsyncIterator[None]:
        """
        Args:
            profile: one that the workers must take.
            concurrency: as many handshakes as there will be at once.

        Raises:
            RequestError: they do not.
            WorkersError: one does not start.
        """
        hello = Hello(1.0, 8, concurrency, 0, [("the browser", encode_profile(profile))])
        try:
            for _ in range(WORKERS):
                self._workers.append(_Worker(asyncio.get_running_loop(), hello))
            for worker in self._workers:
                ready = await worker.ready()
                if ready.problem is not None:
                    raise RequestError(ready.problem)
            yield
        except (OSError, asyncio.TimeoutError) as error:
            raise WorkersError(str(error) or "a worker does not answer") from error
        finally:
            for worker in self._workers:
                worker.close()

    async def measure(
        self, wanted: Wanted, profile: Profile, deadline: float, on_made: Callable[[], None]
    ) -> Step:
        """Make the handshakes of a step.

        Args:
            profile: of the step's route.
            deadline: by the loop's clock: no handshake is begun after that.
            on_made: called after each of them.

        Raises:
            RequestError: the request cannot be sent.
        """
        loop = asyncio.get_running_loop()
        encoded = encode_profile(profile)
        made: list[Made] = []
        begun = 0

        def goes_on() -> bool:
            is_hopeless = 0 < wanted.hopeless <= len(made) and all(m.kind for m in made)
            return begun < wanted.count and loop.time() < deadline and not is_hopeless

        async def one_after_another() -> None:
            nonlocal begun
            while goes_on():
                begun += 1
                made.append(await self._make(self._url, encoded, self._timeout))
                on_made()

        await asyncio.gather(*(one_after_another() for _ in range(wanted.concurrency)))
        return Step(
            wanted.route,
            wanted.concurrency,
            sum(m.kind is None for m in made),
            Counter(m.kind for m in made if m.kind is not None),
            tuple(m.seconds for m in made if m.seconds is not None),
            {m.kind: m.detail for m in reversed(made) if m.kind is not None},
        )

    async def hello_size(self, profile: Profile) -> int | None:
        """Bytes of the ClientHello that this profile sends to 127.0.0.1, by no proxy; None if
        none came."""
        sizes: list[int] = []

        async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                header = await reader.readexactly(_TLS_RECORD_HEADER)
                sizes.append(len(header) + int.from_bytes(header[3:], "big"))
            writer.close()

        try:
            server = await asyncio.start_server(read, "127.0.0.1", 0)
        except OSError:
            return None
        async with server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with contextlib.suppress(RequestError):
                await self._make(url, encode_profile(profile), _LOOPBACK_TIMEOUT)
        return sizes[0] if sizes else None

    async def _make(self, url: str, encoded: bytes, timeout: float) -> Made:
        self._last_id += 1
        fetch = Fetch(
            id=self._last_id, method="HEAD", url=url, headers=[], profile=encoded,
            timeout=timeout, maxsize=0, warnsize=0, keep_partial=False, stream=False,
            tell_tls=False, fresh=True,
        )  # fmt: skip
        worker = min(self._workers, key=lambda worker: worker.in_flight)
        try:
            outcome = await worker.fetch(fetch)
        except (ConnectionError, asyncio.TimeoutError) as error:
            return Made("crashed", detail=str(error) or "a worker does not answer")
        if isinstance(outcome, Refused):
            raise RequestError(outcome.detail)
        assert isinstance(outcome, (Done, Failed, TooLarge))
        if outcome.transfer.handshake_at is not None:
            return Made(seconds=handshake_time(outcome.transfer))
        if isinstance(outcome, Failed):
            return Made(_kind(outcome), detail=outcome.detail)
        return Made("other", detail="it was answered without a handshake")


def _kind(failed: Failed) -> str:
    kind = classify(failed.code, failed.detail, during_handshake=failed.in_handshake)
    if kind is None and _CONNECT_REFUSED in failed.detail:
        kind = "proxy"
    return kind or _KINDS.get(failed.code, "other")
