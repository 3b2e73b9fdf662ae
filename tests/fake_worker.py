"""Workers without processes, and a loop whose time passes as fast as a test can.

A `FakeWorker` takes the place of what `WorkerLauncher.start` returns. It speaks the real protocol
over a real socket pair, in the test's own loop, and does what the test tells it to do.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import selectors
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred

from scrapy_curl_safe._crawl.event_loop import _DeferredFuture
from scrapy_curl_safe._ipc.channel import Channel
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import to_worker_decoder
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Failed,
    Fetch,
    Heartbeat,
    Hello,
    Ready,
    ResponseHead,
    SizeWarning,
    SliceReleased,
    ToWorker,
    TransferStats,
)
from scrapy_curl_safe._ipc.shared_memory import SharedMemoryReader
from scrapy_curl_safe._pool import (
    limiter,
    supervisor,
    waits,
    watchdog,
    worker_connection,
    worker_process,
)
from scrapy_curl_safe._pool.event_loop import EventLoop, Future
from scrapy_curl_safe._pool.origins import Origin, OriginRegistry, Route
from scrapy_curl_safe._pool.pool import Pool
from scrapy_curl_safe._pool.request import PoolRequest, RequestState, Result
from scrapy_curl_safe._pool.worker import Worker
from scrapy_curl_safe._pool.worker_limits import WorkerLimits
from scrapy_curl_safe._pool.worker_process import WorkerProcess

# More turns of the loop than anything takes that waits for no timer.
_MANY_TURNS = 200
# Turns that a whole test may take. (pytest-timeout cannot end a loop that goes on and on: asyncio
# catches what is raised in a callback.)
_MOST_TURNS = 500_000
# No process has such a number (proc_sys_kernel(5), pid_max), so nobody is meant by mistake.
_FIRST_PID = 2**24

HELLO = Hello(profiles=[("default", b"")])


# Time


class _VirtualSelector(selectors.SelectSelector):
    """Passes the time until the next timer at once where nothing is to be read or written.

    What is ready comes in the order in which it was registered, whatever the numbers of the files.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self._turns = 0
        self._order: dict[int, int] = {}
        self._registered = itertools.count()

    def register(self, *args: Any, **kwargs: Any) -> selectors.SelectorKey:
        key = super().register(*args, **kwargs)
        self._order[key.fd] = next(self._registered)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        assert self._turns < _MOST_TURNS, "the test waits for what never comes"
        events = sorted(super().select(0), key=lambda event: self._order[event[0].fd])
        if not events and timeout != 0:
            assert timeout is not None, "the test waits for what never comes"
            self.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose clock stands still while there is something to do."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        self._timers: list[asyncio.TimerHandle] = []
        super().__init__(self._virtual)
        self._own_files = set(self._virtual.get_map())

    def time(self) -> float:
        return self._virtual.now

    def block(self, seconds: float) -> None:
        """Pass the time as a callback that computes does."""
        self._virtual.now += seconds

    def call_at(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        self._timers.append(super().call_at(*args, **kwargs))
        return self._timers[-1]

    @property
    def leftovers(self) -> list[object]:
        """Return the timers that are set and the files that are watched."""
        timers = [t for t in self._timers if not t.cancelled() and t.when() > self.time()]
        return [*timers, *(set(self._virtual.get_map()) - self._own_files)]


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop of its own, whose clock is that of the pool, too."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        loop = VirtualTimeLoop()
        clock = SimpleNamespace(monotonic=loop.time)
        with ExitStack() as patches:
            for module in (limiter, supervisor, waits, watchdog, worker_connection, worker_process):
                patches.enter_context(patch.object(module, "time", clock))
            patches.callback(loop.close)
            loop.run_until_complete(test(*args, **kwargs))

    return run


async def settle() -> None:
    """Let everything happen that waits for no timer."""
    for _ in range(_MANY_TURNS):
        await asyncio.sleep(0)


async def passed(seconds: float) -> None:
    """Let so much time pass, and everything happen that is due by then."""
    await asyncio.sleep(seconds)
    await settle()


# Workers


class _FakePopen:
    """The part of `subprocess.Popen` that `WorkerProcess` uses."""

    def __init__(self, worker: FakeWorker, pid: int) -> None:
        self._worker = worker
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        return self._worker.exit_status

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        if not self._worker.ignores_signals:
            self._worker.exit(-signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        assert self.returncode is not None, "the process would never exit"
        return self.returncode


class FakeWorker:
    """A worker that does what it is told.

    Args:
        loop: of the test.
        pid: of the process.
        memory: that it shares with the crawler.
        comes_up: whether it answers the Hello.
        beats: whether it sends a heartbeat each second.

    Attributes:
        process: what the supervisor gets.
        fetches: what it has in flight, by id.
        bodies: of the requests that it got, by id.
        cancels: ids of the requests that were cancelled.
        slices_released: how many bodies in shared memory were copied.
        is_stuck: whether it neither reads nor exits by itself.
        ignores_signals: whether it is not even killed, as one that the kernel holds up.
        exit_status: None while it runs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pid: int,
        memory: SharedMemoryReader | None = None,
        *,
        comes_up: bool = True,
        beats: bool = True,
    ) -> None:
        ours, self.socket = socket.socketpair()
        popen = cast("subprocess.Popen[bytes]", _FakePopen(self, pid))
        self.process = WorkerProcess(popen, ours, memory)
        self.hello: Hello | None = None
        self.fetches: dict[int, Fetch] = {}
        self.bodies: dict[int, bytes] = {}
        self.cancels: list[int] = []
        self.slices_released = 0
        self.is_stuck = False
        self.ignores_signals = False
        self.exit_status: int | None = None
        self._loop = loop
        self._comes_up = comes_up
        self._beats = beats
        self._channel: Channel[ToWorker] = Channel(
            loop, self.socket, to_worker_decoder(), self._on_frame, self._on_connection_lost
        )

    @property
    def urls(self) -> list[str]:
        """The URLs in flight."""
        return [fetch.url for fetch in self.fetches.values()]

    def _on_frame(self, message: ToWorker, body: bytes) -> None:
        if self.is_stuck:
            return
        if isinstance(message, Hello):
            assert self.hello is None
            self.hello = message
            if self._comes_up:
                self.come_up()
        elif isinstance(message, Fetch):
            self.fetches[message.id] = message
            self.bodies[message.id] = body
        elif isinstance(message, Cancel):
            self.cancels.append(message.id)
        else:
            assert isinstance(message, SliceReleased)
            self.slices_released += 1

    def _on_connection_lost(self, reason: Exception | None) -> None:
        if not self.is_stuck:
            self.exit(0)

    def exit(self, status: int) -> None:
        """End, whatever is in flight."""
        if self.exit_status is None:
            self.exit_status = status
            self._channel.close()

    def close_socket(self) -> None:
        self._channel.close()

    # What it says

    def send(self, *messages: Any, body: bytes = b"") -> None:
        for message in messages:
            self._channel.send(message, body)

    def come_up(self, *, problem: str | None = None) -> None:
        self.send(Ready(curl="libcurl/8.21", max_descriptors=100_000, problem=problem))
        if self._beats:
            self._beat()

    def _beat(self) -> None:
        if self.exit_status is None and not self.is_stuck:
            self.send(Heartbeat())
            self._loop.call_later(1.0, self._beat)

    def only_fetch(self) -> Fetch:
        """Return the one request that it has."""
        (fetch,) = self.fetches.values()
        return fetch

    def complete(self, fetch: Fetch, body: bytes = b"", **fields: Any) -> None:
        """Answer a request."""
        self.send(completed(fetch, **fields), body=body)
        del self.fetches[fetch.id]

    def complete_all(self, **fields: Any) -> None:
        for fetch in list(self.fetches.values()):
            self.complete(fetch, **fields)

    def fail(
        self, fetch: Fetch, kind: FailureKind = FailureKind.SYSCALL, detail: str = "reset"
    ) -> None:
        """Say that a request failed."""
        stats = TransferStats(connects=1)
        self.send(Failed(id=fetch.id, stats=stats, kind=kind, code=35, detail=detail))
        del self.fetches[fetch.id]

    def fail_all(self, kind: FailureKind = FailureKind.SYSCALL) -> None:
        for fetch in list(self.fetches.values()):
            self.fail(fetch, kind)

    def end_cancelled(self) -> None:
        """Answer the cancelled requests."""
        for id in self.cancels:
            if self.fetches.pop(id, None) is not None:
                self.send(Cancelled(id))


def completed(
    fetch: Fetch,
    *,
    is_reused: bool = False,
    protocol: str = "HTTP/1.1",
    headers: list[tuple[bytes, bytes]] | None = None,
    **fields: Any,
) -> Completed:
    """Make an outcome: a response on a new connection, unless it is on a reused one."""
    stats = TransferStats(connects=0 if is_reused else 1)
    if not is_reused and fetch.url.startswith("https:"):
        stats.connected_at, stats.handshake_at = 0.1, 0.2
    head = ResponseHead(id=fetch.id, status=200, protocol=protocol, headers=headers or [])
    return Completed(**{"id": fetch.id, "stats": stats, "head": head, **fields})


@dataclass
class Fleet:
    """Starts fake workers in place of processes.

    Attributes:
        started: all workers so far.
        comes_up: whether those that are started from now on answer the Hello.
        beats: whether they send heartbeats.
        refuses: raised in place of a start.
        memory: what they share with the crawler.
    """

    started: list[FakeWorker] = field(default_factory=list)
    comes_up: bool = True
    beats: bool = True
    refuses: OSError | None = None
    memory: SharedMemoryReader | None = None

    def start(self) -> WorkerProcess:
        if self.refuses is not None:
            raise self.refuses
        worker = FakeWorker(
            asyncio.get_running_loop(),
            _FIRST_PID + len(self.started),
            self.memory,
            comes_up=self.comes_up,
            beats=self.beats,
        )
        self.started.append(worker)
        return worker.process

    @property
    def alive(self) -> list[FakeWorker]:
        return [worker for worker in self.started if worker.exit_status is None]


# The pool


class RecordingListener:
    """Takes down what a request is told.

    Args:
        answers: what `on_message` returns, in turn, and then True; an exception is raised.
    """

    def __init__(self, *answers: bool | Exception) -> None:
        self.times_sent = 0
        self.messages: list[tuple[object, bytes]] = []
        self._answers = list(answers)

    def on_sent(self) -> None:
        self.times_sent += 1

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> bool:
        self.messages.append((message, body))
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class RecordingEvents:
    """Counts the events of a pool by their names."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.most_in_flight = 0
        self.longest_lag = 0.0

    def in_flight(self, count: int) -> None:
        self.most_in_flight = max(self.most_in_flight, count)

    def limit_decreased(self) -> None:
        self.counts["limit_decreased"] += 1

    def breaker_opened(self) -> None:
        self.counts["breaker_opened"] += 1

    def worker_started(self, worker: Worker) -> None:
        self.counts["worker_started"] += 1

    def worker_ready(self, ready: Ready) -> None:
        self.counts["worker_ready"] += 1

    def worker_crashed(self) -> None:
        self.counts["worker_crashed"] += 1

    def worker_hung(self) -> None:
        self.counts["worker_hung"] += 1

    def worker_replaced(self, worker: Worker, reason: str) -> None:
        self.counts["worker_replaced"] += 1

    def worker_exited(self, worker: Worker, status: int) -> None:
        self.counts["worker_exited"] += 1

    def requests_lost(self, count: int) -> None:
        self.counts["requests_lost"] += count

    def loop_lag(self, seconds: float) -> None:
        self.longest_lag = max(self.longest_lag, seconds)


@dataclass
class Fetching:
    """A request that somebody waits for."""

    request: PoolRequest
    listener: RecordingListener
    task: asyncio.Task[Result]

    @property
    def state(self) -> RequestState:
        return self.request.state

    @property
    def is_done(self) -> bool:
        return self.task.done()

    @property
    def result(self) -> Result:
        return self.task.result()

    @property
    def error(self) -> BaseException | None:
        """The exception; None if it did not fail."""
        return self.task.exception()


class _LoopAsTwisteds:
    """A loop whose futures are those that the pool has on Twisted's reactors."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def create_future(self) -> Future[Any]:
        return _DeferredFuture()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class FakePool:
    """A pool with fake workers, from `async with` to its end, at which nothing may be left.

    Args:
        workers: how many.
        starts: whether the workers are started at once, and all are up before the test goes on.
        comes_up: whether workers answer the Hello, from the first, which is prewarmed, on.
        most: requests at once, and so the first limit of each origin.
        adaptive: whether origins are limited.
        active_size_bytes: how much may be handed over at once.
        as_twisted: whether callers go on inside the call that ends their wait, as on Twisted's
            reactors.
        limits: fields of WorkerLimits.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        starts: bool = True,
        comes_up: bool = True,
        most: int = 64,
        floor: int = 1,
        adaptive: bool = True,
        active_size_bytes: int = 10_000_000,
        as_twisted: bool = False,
        **limits: Any,
    ) -> None:
        self.fleet = Fleet(comes_up=comes_up)
        self.events = RecordingEvents()
        self.exhausted: list[str] = []
        self.origins = OriginRegistry(most, floor)
        self.limits = WorkerLimits(
            **{
                "count": workers,
                "hang_timeout_seconds": 30.0,
                "max_requests": 0,
                "max_memory_mb": 0,
                "requests_at_once": most,
                **limits,
            }
        )
        self._starts = starts
        self._adaptive = adaptive
        self._active_size_bytes = active_size_bytes
        self._as_twisted = as_twisted
        self._fetching: list[Fetching] = []

    async def __aenter__(self) -> FakePool:
        self.loop = cast("VirtualTimeLoop", asyncio.get_running_loop())
        self._before = self.loop.leftovers
        self.pool = Pool(
            cast("EventLoop", _LoopAsTwisteds(self.loop)) if self._as_twisted else self.loop,
            self.fleet,
            HELLO,
            self.limits,
            adaptive=self._adaptive,
            active_size_bytes=self._active_size_bytes,
            events=self.events,
            on_exhausted=self.exhausted.append,
        )
        if self._starts:
            self.pool.start()
            await settle()
            assert self.pool.workers_alive == self.limits.count
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for fetching in self._fetching:
            fetching.task.cancel()
        await settle()
        if self._as_twisted:
            await Deferred.fromCoroutine(self.pool.close()).asFuture(self.loop)
        else:
            await self.pool.close()
        if error is None:
            await settle()
            assert self.pool.in_flight == 0
            assert self.fleet.alive == []
            # Heartbeats that are due find that their worker is gone.
            await passed(1.0)
            assert self.loop.leftovers == self._before

    @property
    def workers(self) -> list[FakeWorker]:
        """All workers that run, in the order of their start."""
        return self.fleet.alive

    def origin(self, url: str = "https://origin.example", proxy: str | None = None) -> Origin:
        return self.origins.get(Route(f"{url}:443", proxy))

    def fetch(
        self,
        path: str = "/",
        *answers: bool | Exception,
        origin: str = "https://origin.example",
        body: bytes = b"",
        avoid: int | None = None,
        in_quarantine: bool = False,
        **fields: Any,
    ) -> Fetching:
        """Give the pool a request.

        Args:
            answers: of the listener.
            fields: of the Fetch.
        """
        listener = RecordingListener(*answers)
        request = self._request(
            f"{origin}{path}", origin, listener, body, avoid, in_quarantine, fields
        )
        fetching = Fetching(request, listener, self.loop.create_task(self.pool.fetch(request)))
        self._fetching.append(fetching)
        return fetching

    def fetch_and_then(
        self,
        then: Callable[[Result | BaseException], None],
        path: str = "/",
        *,
        avoid: int | None = None,
        **fields: Any,
    ) -> PoolRequest:
        """Give the pool a request, and call a function with what comes of it, at once."""
        origin = "https://origin.example"
        listener = RecordingListener()
        request = self._request(f"{origin}{path}", origin, listener, b"", avoid, False, fields)

        async def run() -> None:
            try:
                result: Result | BaseException = await self.pool.fetch(request)
            except Exception as error:
                result = error
            then(result)

        Deferred.fromCoroutine(run())
        return request

    def _request(
        self,
        url: str,
        origin: str,
        listener: RecordingListener,
        body: bytes,
        avoid: int | None,
        in_quarantine: bool,
        fields: dict[str, Any],
    ) -> PoolRequest:
        return PoolRequest(
            Fetch(url=url, profile=b"", **fields),
            body,
            key=origin,
            listener=listener,
            origin=self.origin(origin),
            needs_tls=origin.startswith("https:"),
            avoid=avoid,
            in_quarantine=in_quarantine,
        )
