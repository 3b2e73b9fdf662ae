"""Keeps the workers alive: starts them, watches them, replaces them, ends them.

It knows nothing of what they do. A worker goes through these states, forward only:

    STARTING -> READY -> DRAINING -> GONE

and from each straight to GONE when it dies.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
import subprocess
import time
from typing import Any, Protocol

from ..arena import Source
from ..figures import Figures
from ..link import Link
from ..settings import Settings
from ..wire import FromWorker, Hello, Pulse, Ready, WireError, from_worker_decoder
from .cores import Cores
from .dispatch import Warmth
from .eventloop import EventLoop, Future, Timer
from .process import Process, exit_text, start_process
from .restarts import Restarts
from .valve import Valve

logger = logging.getLogger(__name__)

_TICK = 1.0
_REAP_INTERVAL = 0.01
# Seconds that a process without its socket may still take to end by itself.
_EXIT_GRACE = 2.0
_MOST_IN_QUARANTINE = 2

# Descriptors of a worker beside those of its requests in flight: what connections to peers that
# never close theirs may add up to.
_SPARE_DESCRIPTORS = 4096
# Two connections, and c-ares (libcurl 8.23) has two while a host's HTTPS record is looked up.
_DESCRIPTORS_PER_REQUEST = 4
_SHARE_OF_DESCRIPTORS = 0.8


class State(enum.Enum):
    STARTING = enum.auto()
    READY = enum.auto()
    DRAINING = enum.auto()
    GONE = enum.auto()


class Owner(Protocol):
    """What the supervisor tells whoever uses the workers."""

    def on_ready(self, worker: Worker) -> None:
        """It takes requests from now on."""

    def on_message(self, worker: Worker, message: FromWorker, body: bytes) -> None:
        """
        Raises:
            WireError: no honest worker says this; it is killed.
        """

    def on_tick(self, worker: Worker, now: float) -> None:
        """Called about once a second for each worker, as long as the crawler's loop is free.

        Raises:
            WireError: the worker does not do what it should; it is killed.
        """

    def on_death(self, worker: Worker, exit_status: int, *, hung: bool) -> None:
        """It died before its time; what it had in flight is lost."""

    def on_hopeless(self, reason: str) -> None:
        """No worker comes up, and the supervisor has stopped trying."""


class Worker:
    """A worker process as the crawler sees it.

    Attributes:
        slot: its number; a worker that replaces another has the other's.
        memory: where it puts large bodies, if anywhere.
        in_quarantine: whether it is kept for requests that must be alone in a worker.
        jobs: what is in flight in it, by request id. Its owner's to fill and empty.
        warmth: which connections it has open.
        served: requests given to it so far.
        max_descriptors: how many it may have open and stay.
    """

    def __init__(
        self,
        slot: int,
        process: subprocess.Popen[bytes],
        memory: Source | None,
        in_quarantine: bool,
    ) -> None:
        self.slot = slot
        self.memory = memory
        self.in_quarantine = in_quarantine
        self.process = process
        self.link: Link[FromWorker]
        self.state = State.STARTING
        self.jobs: dict[int, Any] = {}
        self.warmth = Warmth()
        self.served = 0
        self.max_descriptors = 0
        self.last_sign = time.monotonic()
        self.hung = False
        #: The state in which it ended against the supervisor's will, if it did.
        self.died_while: State | None = None

    @property
    def in_flight(self) -> int:
        return len(self.jobs)

    @property
    def pid(self) -> int:
        return self.process.pid


class Supervisor:
    """
    Args:
        loop: of the crawl.
        settings: how many workers, and when one has to go.
        hello: first message to each of them.
        figures: counts starts, crashes, hangs, recyclings.
        owner: who is told what happens.
        valve: what workers say waits as long as it is closed.
    """

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        hello: Hello,
        figures: Figures,
        owner: Owner,
        valve: Valve,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._hello = hello
        self._figures = figures
        self._owner = owner
        self._valve = valve
        self._workers: list[Worker] = []
        self._restarts = Restarts()
        self._timers: dict[int, Timer] = {}
        self._tick_timer: Timer | None = None
        self._tick_due = 0.0
        self._recycling: int | None = None
        self._to_come: set[int] = set()
        self._closed: Future[None] | None = None
        self._prepared: Process | None = None
        self._cores = Cores()

    @property
    def ready(self) -> list[Worker]:
        """Those that take any request."""
        return [w for w in self._workers if w.state is State.READY and not w.in_quarantine]

    @property
    def quarantine(self) -> list[Worker]:
        """Those that take one request at a time."""
        return [w for w in self._workers if w.state is State.READY and w.in_quarantine]

    @property
    def is_starting(self) -> bool:
        """Whether one of the first workers is neither up yet, nor known to have failed."""
        return bool(self._to_come)

    def prepare(self) -> None:
        """Start the first worker's process, whose imports take as long as the crawl's own.

        It waits for its Hello until `start`, or `close`, and ends by itself where neither comes.
        One is enough for the first request, and more would slow it down.
        """
        with contextlib.suppress(OSError):  # `start` tries again
            self._prepared = start_process()

    def start(self) -> None:
        self._to_come = set(range(self._settings.workers))
        for slot in range(self._settings.workers):
            self._start(slot)
        self._schedule_tick()

    def recycle(self, worker: Worker, why: str, *, at_once: bool = False) -> None:
        """Replace a worker without losing a request: its successor comes up first, then it
        gets no more requests, and ends when the last one in flight is done.

        One at a time; while another is being recycled this does nothing.

        Args:
            at_once: whether it gets no more requests from now on, since they would all fail.
        """
        if self._recycling is not None or worker.state is not State.READY:
            return
        self._recycling = worker.slot
        self._figures.worker_recycled()
        logger.info("Recycling worker %d (pid %d): %s", worker.slot, worker.pid, why)
        self._start_later(worker.slot)
        if at_once:
            self._drain(worker)

    def extend_quarantine(self, wanted: int) -> None:
        """See that so many workers for one request at a time are about to be up, or as many
        as may be. Each is there until it is dismissed, or dies.
        """
        first = self._settings.workers
        slots = range(first, first + _MOST_IN_QUARANTINE)
        # One that was dismissed may take its time to go, and nobody hears when it has.
        taken = {
            w.slot for w in self._workers if w.state is not State.GONE or w.died_while is not None
        }
        coming = {w.slot for w in self._workers if w.state is State.STARTING} | set(self._timers)
        wanted -= sum(slot in coming for slot in slots)
        for slot in slots:
            if wanted > 0 and slot not in taken and slot not in self._timers:
                wanted -= 1
                self._start_later(slot)

    def dismiss(self, worker: Worker) -> None:
        """End a worker that has nothing in flight, and is not needed any more."""
        self._end(worker)

    def finished_one(self, worker: Worker) -> None:
        """A request in this worker is done: it may be time for it to go."""
        if worker.state is State.DRAINING:
            if not worker.jobs:
                self._end(worker)
            return
        most = self._settings.worker_max_requests
        if most and worker.served >= most:
            self.recycle(worker, f"it has served {worker.served} requests")

    async def close(self) -> None:
        """End all workers and return when their processes are gone."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        prepared = self._take_prepared()
        if prepared is not None:
            prepared[0].kill()
            _clear_away(*prepared)
        self._closed = self._loop.create_future()
        for worker in list(self._workers):
            if worker.state is not State.GONE:
                self._end(worker)
        if self._workers:
            await self._closed

    # One worker's life

    def _start(self, slot: int) -> None:
        self._timers.pop(slot, None)
        try:
            process, sock, memory = self._take_prepared() or start_process()
        except OSError as error:
            self._start_failed(slot, f"cannot start a worker: {error}")
            return
        self._cores.place(process.pid)
        worker = Worker(slot, process, memory, slot >= self._settings.workers)
        worker.link = Link(
            self._loop,
            sock,
            from_worker_decoder(),
            lambda message, body: self._on_message(worker, message, body),
            lambda reason: self._on_lost(worker, reason),
            valve=self._valve,
        )
        self._workers.append(worker)
        self._figures.worker_started()
        worker.link.send(self._hello)

    def _take_prepared(self) -> Process | None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0].poll() == 0:
            # It has waited for long enough. One that died is taken, to be seen as dead.
            _clear_away(*prepared)
            return None
        return prepared

    def _start_failed(self, slot: int, reason: str) -> None:
        self._to_come.discard(slot)
        if self._recycling == slot:
            self._recycling = None
            if any(w.slot == slot for w in self.ready):
                return
        self._restarts.failed()
        if self._restarts.hopeless and not self.ready:
            self._owner.on_hopeless(reason)
        else:
            self._start_later(slot)

    def _start_later(self, slot: int) -> None:
        if slot in self._timers:
            return
        wait = self._restarts.reserve(time.monotonic())
        self._timers[slot] = self._loop.call_later(wait, lambda: self._start(slot))

    def _on_message(self, worker: Worker, message: FromWorker, body: bytes) -> None:
        worker.last_sign = time.monotonic()
        try:
            if isinstance(message, Pulse):
                self._on_pulse(worker, message)
            elif isinstance(message, Ready):
                self._on_ready(worker, message)
            else:
                self._owner.on_message(worker, message, body)
        except WireError as error:
            self._cast_out(worker, error)

    def _on_ready(self, worker: Worker, ready: Ready) -> None:
        if worker.state is not State.STARTING:
            raise WireError("it says twice that it is ready")
        if ready.problem is not None:
            self._owner.on_hopeless(ready.problem)
            return
        self._restarts.succeeded()
        self._to_come.discard(worker.slot)
        worker.state = State.READY
        worker.max_descriptors = min(
            _SPARE_DESCRIPTORS + _DESCRIPTORS_PER_REQUEST * self._settings.concurrent_requests,
            int(_SHARE_OF_DESCRIPTORS * ready.max_descriptors),
        )
        logger.debug("Worker %d (pid %d) is up: %s", worker.slot, worker.pid, ready.curl)
        if self._recycling == worker.slot:
            self._recycling = None
            for other in self.ready:
                if other.slot == worker.slot and other is not worker:
                    self._drain(other)
        self._owner.on_ready(worker)

    def _drain(self, worker: Worker) -> None:
        worker.state = State.DRAINING
        if not worker.jobs:
            self._end(worker)

    def _on_pulse(self, worker: Worker, pulse: Pulse) -> None:
        most = self._settings.worker_max_memory_mb
        if most and pulse.memory > most:
            self.recycle(worker, f"it uses {pulse.memory} MB")
        elif pulse.descriptors > worker.max_descriptors:
            self.recycle(worker, f"it has {pulse.descriptors} descriptors open")
        elif pulse.is_stale:
            self.recycle(worker, "how the system looks up names has changed")

    def _on_lost(self, worker: Worker, reason: WireError | OSError | None) -> None:
        if isinstance(reason, WireError):
            self._cast_out(worker, reason)
        else:
            worker.died_while, worker.state = worker.state, State.GONE
            self._reap(worker)

    def _cast_out(self, worker: Worker, reason: WireError) -> None:
        logger.error(
            "Worker %d (pid %d) broke the protocol, killing it: %s", worker.slot, worker.pid, reason
        )
        worker.process.kill()
        worker.link.close()
        worker.died_while, worker.state = worker.state, State.GONE
        self._reap(worker)

    def _end(self, worker: Worker) -> None:
        worker.state = State.GONE
        worker.link.close()
        self._reap(worker)

    def _reap(self, worker: Worker) -> None:
        """Wait for the end of a process whose socket is closed, and help if it takes long."""
        deadline = time.monotonic() + _EXIT_GRACE

        def look() -> None:
            status = worker.process.poll()
            if status is not None:
                self._gone(worker, status)
                return
            if time.monotonic() > deadline:
                worker.process.kill()
            self._loop.call_later(_REAP_INTERVAL, look)

        look()

    def _gone(self, worker: Worker, status: int) -> None:
        self._workers.remove(worker)
        if worker.memory is not None:
            worker.memory.close()
        if self._closed is not None:
            if not self._workers and not self._closed.done():
                self._closed.set_result(None)
        elif worker.died_while is not None:
            self._died(worker, worker.died_while, status)

    def _died(self, worker: Worker, before: State, status: int) -> None:
        if not worker.hung:
            self._figures.worker_crashed()
        logger.warning(
            "Worker %d (pid %d) %s (%s) with %d requests in flight",
            worker.slot,
            worker.pid,
            "hung and was killed" if worker.hung else "died",
            exit_text(status),
            worker.in_flight,
        )
        if before is State.STARTING:
            self._start_failed(worker.slot, f"a new worker ended with {exit_text(status)}")
        elif not worker.in_quarantine and not any(w.slot == worker.slot for w in self._workers):
            self._start_later(worker.slot)
        self._owner.on_death(worker, status, hung=worker.hung)

    # The watch

    def _schedule_tick(self) -> None:
        self._tick_due = time.monotonic() + _TICK
        self._tick_timer = self._loop.call_later(_TICK, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        lag = now - self._tick_due
        self._figures.loop_lag(lag)
        for worker in list(self._workers):
            if lag > _TICK:
                # The crawler itself was blocked: what the worker said since is unread.
                worker.last_sign = now
            elif (
                now - worker.last_sign > self._settings.worker_hang_timeout
                and worker.state is not State.GONE
                and not worker.hung
            ):
                worker.hung = True
                self._figures.worker_hung()
                worker.process.kill()
            elif worker.state is not State.GONE:
                try:
                    self._owner.on_tick(worker, now)
                except WireError as error:
                    self._cast_out(worker, error)
        self._cores.review(worker.pid for worker in self._workers)
        self._schedule_tick()


def _clear_away(
    process: subprocess.Popen[bytes], sock: socket.socket, memory: Source | None
) -> None:
    sock.close()
    if memory is not None:
        memory.close()
    process.wait()
