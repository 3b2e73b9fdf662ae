"""The life of a worker, as a transition table."""

from __future__ import annotations

import enum

from .idle_connections import IdleConnections
from .worker_connection import WorkerConnection
from .worker_process import WorkerProcess


class State(enum.Enum):
    #: The process runs, but has not yet said that it takes requests.
    STARTING = "starting"
    READY = "ready"
    #: The worker finishes its requests and gets no new ones.
    DRAINING = "draining"
    #: Its socket is closed or about to be; the process is about to exit.
    STOPPING = "stopping"
    EXITED = "exited"


class Event(enum.Enum):
    BECOME_READY = "become ready"
    DRAIN = "drain"
    STOP = "stop"
    EXIT = "exit"


class Cause(enum.Enum):
    """The reason for which a worker stops."""

    #: The pool no longer needs it.
    RELEASED = "released"
    CRASHED = "crashed"
    HUNG = "hung"
    BROKE_PROTOCOL = "broke the protocol"


TRANSITIONS = {
    (State.STARTING, Event.BECOME_READY): State.READY,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.STOP): State.STOPPING,
    (State.DRAINING, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.EXIT): State.EXITED,
}


class Worker:
    """A worker as the pool sees it.

    Args:
        slot: its number; a worker that replaces another takes over its number.
        process: its process.
        in_quarantine: whether it takes one request at a time.
        was_prewarmed: whether its process was started ahead of its use.

    Attributes:
        connection: to its process; set by whoever starts the worker.
        idle: an estimate of its idle connections.
        state: the current state of its life.
        cause: why it stops; None before that.
        was_ready: whether it ever took requests.
        served: requests given to it so far.
        max_descriptors: descriptors it may have open without being replaced.
    """

    connection: WorkerConnection

    def __init__(
        self,
        slot: int,
        process: WorkerProcess,
        *,
        in_quarantine: bool,
        was_prewarmed: bool = False,
    ) -> None:
        self.slot = slot
        self.process = process
        self.in_quarantine = in_quarantine
        self.was_prewarmed = was_prewarmed
        self.idle = IdleConnections()
        self.state = State.STARTING
        self.cause: Cause | None = None
        self.was_ready = False
        self.served = 0
        self.max_descriptors = 0

    def __repr__(self) -> str:
        cause = f" ({self.cause.value})" if self.cause is not None else ""
        kind = " in quarantine" if self.in_quarantine else ""
        return (
            f"<Worker {self.slot}{kind} (pid {self.process.pid}) {self.state.value}{cause}, "
            f"{self.in_flight} in flight, {self.served} served>"
        )

    @property
    def in_flight(self) -> int:
        return self.connection.in_flight

    def transition(self, event: Event, cause: Cause | None = None) -> None:
        """Move to the next state.

        Args:
            cause: of a STOP.

        Raises:
            KeyError: the event cannot happen in this state.
        """
        self.state = TRANSITIONS[self.state, event]
        if self.state is State.READY:
            self.was_ready = True
        if cause is not None:
            self.cause = cause
