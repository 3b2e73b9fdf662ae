"""Starts the workers, watches them, replaces them and stops them.

The supervisor does not know what the workers do. `worker.TRANSITIONS` describes the life of each;
what happens at its end depends on the cause:

    released               the process exits, and nothing else happens
    crashed, hung, or      another worker takes the slot, as soon as `RestartPolicy` allows;
    broke the protocol     the owner is told about the requests that were in flight
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Protocol

from .._ipc.channel import FlowControl
from .._ipc.messages import (
    CHANGED_ON_DISK,
    Heartbeat,
    Hello,
    ProtocolError,
    Ready,
    version_problem,
)
from .._platform.system import system
from .._version import EX_OTHER_VERSION, __version__
from .affinity import WorkerAffinity
from .event_loop import EventLoop, Future, TimerHandle
from .events import PoolEvents
from .refusal_log import RefusalLog
from .restart_policy import RestartPolicy
from .watchdog import Watchdog
from .worker import Cause, Event, State, Worker
from .worker_connection import WorkerConnection
from .worker_limits import WorkerLimits
from .worker_process import WorkerProcess

logger = logging.getLogger(__name__)

# How long what a killed worker has sent is waited for, if its process does not end.
_LAST_WORDS_SECONDS = 5.0
_MOST_QUARANTINE_WORKERS = 2

# Looked up with each request (see `request.NEW`).
_READY, _DRAINING = State.READY, State.DRAINING


class Launcher(Protocol):
    def start(self) -> WorkerProcess:
        """Start a worker's process.

        Raises:
            OSError: no process or no descriptor is available.
        """


class Owner(Protocol):
    """The user of the workers, which is told about them."""

    def on_worker_ready(self, worker: Worker) -> None:
        """Note that a worker now takes requests."""

    def on_worker_lost(self, worker: Worker, exit_status: int) -> None:
        """Note that a worker exited unexpectedly; its `cause` says why."""

    def on_exhausted(self, reason: str) -> None:
        """Note that no worker comes up, and that the supervisor has stopped trying."""


class Supervisor:
    """Keeps the workers of a pool.

    Args:
        loop: of the crawl.
        launcher: starts the workers' processes.
        limits: how many workers, and when one is replaced.
        hello: first message to each of them.
        events: is told about the workers' lives.
        owner: is told what concerns its requests.
        flow_control: holds the workers' messages back while it is paused.
    """

    def __init__(
        self,
        loop: EventLoop,
        launcher: Launcher,
        limits: WorkerLimits,
        hello: Hello,
        events: PoolEvents,
        owner: Owner,
        flow_control: FlowControl,
    ) -> None:
        self._loop = loop
        self._launcher = launcher
        self._limits = limits
        self._hello = hello
        self._events = events
        self._owner = owner
        self._flow_control = flow_control
        self._workers: list[Worker] = []
        self._restarts = RestartPolicy()
        # By slot: starts that are due later.
        self._start_timers: dict[int, TimerHandle] = {}
        # By worker that hung: when its process no longer has a chance to end.
        self._last_words: dict[Worker, TimerHandle] = {}
        self._affinity = WorkerAffinity()
        self._watchdog = Watchdog(
            loop,
            self._workers,
            limits.hang_timeout_seconds,
            self._affinity,
            events,
            self._kill_hung,
        )
        self._slot_in_replacement: int | None = None
        # Slots whose first worker is neither up nor known to have failed.
        self._first_starts: set[int] = set()
        self._closed: Future[None] | None = None
        self._prewarmed: WorkerProcess | None = None
        self._refusals = RefusalLog()

    def __repr__(self) -> str:
        return f"<Supervisor of {self._workers}>"

    @property
    def ready(self) -> list[Worker]:
        """Workers that take any request."""
        return [w for w in self._workers if w.state is _READY and not w.in_quarantine]

    @property
    def quarantine(self) -> list[Worker]:
        """Workers that take one request at a time."""
        return [w for w in self._workers if w.state is State.READY and w.in_quarantine]

    @property
    def is_starting(self) -> bool:
        """True while one of the first workers is neither up nor known to have failed."""
        return bool(self._first_starts)

    def prewarm(self) -> None:
        """Start the first worker's process, whose imports take as long as the crawl's own.

        One is enough for the first request; more would slow it down.
        """
        if not self._limits.prewarm:
            return
        with contextlib.suppress(OSError):  # `start` tries again
            self._prewarmed = self._launcher.start()

    def start(self) -> None:
        """Start the workers, unless they were started before or `close` was called."""
        if self._watchdog.is_awake or self._closed is not None:
            return
        self._first_starts = set(range(self._limits.count))
        for slot in range(self._limits.count):
            self._start(slot)
        self._watchdog.start()

    def replace(self, worker: Worker, reason: str, *, drain_now: bool = False) -> None:
        """Replace a worker without losing a request: its successor comes up first; then the worker
        drains, and stops after its last request in flight.

        Does nothing while another worker is being replaced.

        Args:
            drain_now: whether to give the worker no more requests at once, since they would fail.
        """
        if self._slot_in_replacement is not None or worker.state is not State.READY:
            return
        self._slot_in_replacement = worker.slot
        self._events.worker_replaced(worker, reason)
        logger.info(
            "Replacing worker %d (pid %d): %s. It finishes its %d requests in flight",
            worker.slot,
            worker.process.pid,
            reason,
            worker.in_flight,
        )
        self._start_later(worker.slot)
        if drain_now:
            self._drain(worker)

    def extend_quarantine(self, wanted: int) -> None:
        """Start workers for one request at a time, up to the number wanted or allowed. Each stays
        until it is released or exits."""
        slots = range(self._limits.count, self._limits.count + _MOST_QUARANTINE_WORKERS)
        # A released worker may take a while to exit, but frees its slot at once.
        taken = {
            w.slot
            for w in self._workers
            if w.state is not State.STOPPING or w.cause is not Cause.RELEASED
        }
        starting = {w.slot for w in self._workers if w.state is State.STARTING}
        wanted -= sum(slot in starting or slot in self._start_timers for slot in slots)
        for slot in slots:
            if wanted > 0 and slot not in taken and slot not in self._start_timers:
                wanted -= 1
                self._start_later(slot)

    def request_finished(self, worker: Worker) -> None:
        """Release a worker that has nothing left to do, or replace it if it has served enough."""
        if worker.state is _DRAINING or worker.in_quarantine:
            if not worker.in_flight:
                self._release(worker)
        elif 0 < self._limits.max_requests <= worker.served:
            self.replace(worker, f"it has served {worker.served} requests")

    async def close(self) -> None:
        """Stop all workers, and return when their processes have exited."""
        for timer in self._start_timers.values():
            timer.cancel()
        self._start_timers.clear()
        self._watchdog.stop()
        prewarmed = self._take_prewarmed()
        if prewarmed is not None:
            prewarmed.stop()
        self._closed = self._loop.create_future()
        for worker in list(self._workers):
            self._release(worker)
        if self._workers:
            await self._closed

    # Start

    def _start(self, slot: int) -> None:
        self._start_timers.pop(slot, None)
        prewarmed = self._take_prewarmed()
        try:
            process = prewarmed or self._launcher.start()
        except OSError as error:
            self._start_failed(slot, f"cannot start a worker: {error}")
            return
        self._affinity.apply(process.pid)
        worker = Worker(
            slot,
            process,
            in_quarantine=slot >= self._limits.count,
            was_prewarmed=prewarmed is not None,
        )
        worker.connection = WorkerConnection(
            self._loop,
            process,
            self._hello,
            on_ready=lambda ready: self._on_ready(worker, ready),
            on_heartbeat=lambda heartbeat: self._on_heartbeat(worker, heartbeat),
            on_lost=lambda error: self._on_connection_lost(worker, error),
            flow_control=self._flow_control,
        )
        self._workers.append(worker)
        self._events.worker_started(worker)

    def _take_prewarmed(self) -> WorkerProcess | None:
        prewarmed, self._prewarmed = self._prewarmed, None
        if prewarmed is not None and prewarmed.exit_status == 0:
            # The process has waited for its Hello for too long. One that died is used, so that
            # this counts as a failed start.
            prewarmed.stop()
            return None
        return prewarmed

    def _start_failed(self, slot: int, reason: str) -> None:
        self._first_starts.discard(slot)
        if self._slot_in_replacement == slot:
            self._slot_in_replacement = None
            if any(w.slot == slot for w in self.ready):
                return
        self._restarts.start_failed(time.monotonic())
        if self._restarts.exhausted and not self.ready:
            self._owner.on_exhausted(reason)
        else:
            self._start_later(slot)

    def _start_later(self, slot: int) -> None:
        if slot in self._start_timers:
            return
        wait = self._restarts.reserve(time.monotonic())
        self._start_timers[slot] = self._loop.call_later(wait, lambda: self._start(slot))

    def _on_ready(self, worker: Worker, ready: Ready) -> None:
        problem = ready.problem or version_problem(worker=ready.version, crawler=__version__)
        if problem is not None:
            self._owner.on_exhausted(problem)
            return
        if worker.state is not State.STARTING:
            return
        self._refusals.note(ready.refusals)
        self._refusals.note_missing(ready.missing)
        self._events.worker_ready(ready)
        self._restarts.start_succeeded()
        self._first_starts.discard(worker.slot)
        worker.transition(Event.BECOME_READY)
        worker.max_descriptors = self._limits.max_descriptors(ready.max_descriptors)
        logger.debug("Worker %d (pid %d) is up: %s", worker.slot, worker.process.pid, ready.curl)
        if self._slot_in_replacement == worker.slot:
            self._slot_in_replacement = None
            for other in self.ready:
                if other.slot == worker.slot and other is not worker:
                    self._drain(other)
        self._owner.on_worker_ready(worker)

    # End

    def _drain(self, worker: Worker) -> None:
        worker.transition(Event.DRAIN)
        if not worker.in_flight:
            self._release(worker)

    def _release(self, worker: Worker) -> None:
        """Stop a worker that is no longer needed, unless it is already stopping."""
        if worker.state is not State.STOPPING:
            worker.transition(Event.STOP, Cause.RELEASED)
            worker.connection.close()
            self._reap(worker)

    def _on_connection_lost(self, worker: Worker, error: Exception | None) -> None:
        if worker in self._last_words:
            self._last_words.pop(worker).cancel()
        is_protocol = isinstance(error, ProtocolError)
        if error is not None and not isinstance(error, OSError):
            logger.error(
                "Worker %d (pid %d) %s. It is killed and replaced",
                worker.slot,
                worker.process.pid,
                f"broke the protocol ({error})" if is_protocol else "sent what cannot be handled",
                exc_info=None if is_protocol else error,
            )
            worker.process.kill()
        if worker.state is not State.STOPPING:
            worker.transition(Event.STOP, Cause.BROKE_PROTOCOL if is_protocol else Cause.CRASHED)
        self._reap(worker)

    def _reap(self, worker: Worker) -> None:
        worker.process.reap(self._loop, lambda status: self._on_exit(worker, status))

    def _on_exit(self, worker: Worker, status: int) -> None:
        worker.transition(Event.EXIT)
        self._workers.remove(worker)
        self._events.worker_exited(worker, status)
        if self._closed is not None:
            if not self._workers and not self._closed.done():
                self._closed.set_result(None)
        elif worker.cause is not Cause.RELEASED:
            if worker.was_prewarmed and not worker.was_ready and status == 0:
                # It had waited for its Hello for too long, just when that was sent.
                self._start_later(worker.slot)
            else:
                self._on_lost(worker, status)

    def _on_lost(self, worker: Worker, status: int) -> None:
        if worker.cause is not Cause.HUNG:
            self._events.worker_crashed()
        ended = system.describe_exit(status)
        logger.warning(
            "Worker %d (pid %d) %s (%s) with %d requests in flight. It is replaced",
            worker.slot,
            worker.process.pid,
            "hung and was killed" if worker.cause is Cause.HUNG else "died",
            ended,
            worker.in_flight,
        )
        if status == EX_OTHER_VERSION and not worker.was_ready:
            self._owner.on_exhausted(CHANGED_ON_DISK)
        elif not worker.was_ready:
            self._start_failed(worker.slot, f"a new worker ended with {ended}")
        elif not worker.in_quarantine and not any(w.slot == worker.slot for w in self._workers):
            self._start_later(worker.slot)
        self._owner.on_worker_lost(worker, status)

    # Watch

    def _on_heartbeat(self, worker: Worker, heartbeat: Heartbeat) -> None:
        if 0 < self._limits.max_memory_mb < heartbeat.memory_mb:
            self.replace(worker, f"it uses {heartbeat.memory_mb} MB")
        elif heartbeat.descriptors > worker.max_descriptors:
            self.replace(worker, f"it has {heartbeat.descriptors} descriptors open")
        elif heartbeat.resolver_changed:
            self.replace(worker, "the system's name resolution has changed")

    def _kill_hung(self, worker: Worker) -> None:
        """Kill a worker. Everything that it has sent is still read."""
        self._events.worker_hung()
        worker.transition(Event.STOP, Cause.HUNG)
        worker.process.kill()
        self._last_words[worker] = self._loop.call_later(
            _LAST_WORDS_SECONDS, lambda: self._stop_listening(worker)
        )

    def _stop_listening(self, worker: Worker) -> None:
        """Close the connection to a killed worker that does not end, as when the kernel waits for a
        disk that does not answer."""
        del self._last_words[worker]
        if worker.process.exit_status is None:
            worker.connection.close()
            self._reap(worker)
