"""Chooses the worker for each request, and queues requests that have to wait for one."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

from .idle_connections import IdleConnections
from .request import PoolRequest, RequestState
from .worker import Worker

# How much busier than the least busy worker a worker may be and still be preferred for its idle
# connection. A handshake costs about as much as serving a few small pages.
_BUSIER_FOR_IDLE = 4


class Candidate(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def idle(self) -> IdleConnections: ...


_C = TypeVar("_C", bound=Candidate)


def choose_worker(candidates: Iterable[_C], key: Hashable, avoid: int | None = None) -> _C | None:
    """Choose the worker for a request: a worker with an idle connection for it, unless that worker
    is much busier than the least busy one.

    Args:
        candidates: workers that take requests.
        key: what a connection must match to serve the request.
        avoid: slot of the worker that failed the request, which is chosen only if it is the only
            one.

    Returns:
        None if there is no worker.
    """
    avoided = least_busy = idle = None
    least = least_of_idle = 0
    for worker in candidates:
        if worker.slot == avoid:
            avoided = worker
            continue
        load = worker.in_flight
        if least_busy is None or load < least:
            least_busy, least = worker, load
        if (idle is None or load < least_of_idle) and worker.idle.has(key):
            idle, least_of_idle = worker, load
    if idle is not None and least_of_idle <= 2 * least + _BUSIER_FOR_IDLE:
        return idle
    return least_busy or avoided


class Workers(Protocol):
    """The workers that the supervisor keeps."""

    @property
    def ready(self) -> list[Worker]:
        """Workers that take any request."""

    @property
    def quarantine(self) -> list[Worker]:
        """Workers that take one request at a time."""

    @property
    def is_starting(self) -> bool:
        """True while one of the first workers is neither up nor known to have failed."""

    def extend_quarantine(self, wanted: int) -> None:
        """Start workers for quarantined requests, up to the number wanted or allowed."""


class Scheduler:
    """Chooses workers, and queues requests for which there is none yet.

    Args:
        workers: to choose from.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._waiting: deque[PoolRequest] = deque()
        self._quarantined: deque[PoolRequest] = deque()

    def __repr__(self) -> str:
        return f"<Scheduler {len(self._waiting)} waiting, {len(self._quarantined)} quarantined>"

    def checkout(self, request: PoolRequest) -> Worker | None:
        """Choose the worker for a request.

        Returns:
            None if the request was queued.
        """
        if request.in_quarantine:
            return self._checkout_quarantined(request)
        worker = choose_worker(self._workers.ready, request.key, request.avoid)
        if worker is None or self._must_wait(worker):
            request.state = RequestState.WAITING_FOR_WORKER
            self._waiting.append(request)
            return None
        return worker

    def _must_wait(self, worker: Worker) -> bool:
        """Give each worker only one request while the first workers start. Otherwise the first
        worker to come up would get all the work and all the connections. This also helps Scrapy,
        which spends a third less time on each request once CONCURRENT_REQUESTS have been in flight,
        since its queue then has all requests of `start()`."""
        return self._workers.is_starting and worker.in_flight > 0

    def _checkout_quarantined(self, request: PoolRequest) -> Worker | None:
        free = next((w for w in self._workers.quarantine if not w.in_flight), None)
        if free is None:
            request.state = RequestState.QUARANTINED
            self._quarantined.append(request)
            self._workers.extend_quarantine(len(self._quarantined))
        return free

    def take_waiting(self) -> deque[PoolRequest]:
        """Remove the requests that wait for a worker from the queue and return them."""
        waiting, self._waiting = self._waiting, deque()
        return waiting

    def take_quarantined(self) -> deque[PoolRequest]:
        """Remove the quarantined requests from the queue and return them."""
        quarantined, self._quarantined = self._quarantined, deque()
        return quarantined

    def take_all(self) -> list[PoolRequest]:
        """Remove all queued requests and return them, the quarantined ones first."""
        return [*self.take_quarantined(), *self.take_waiting()]

    def cancel(self, request: PoolRequest) -> None:
        """Remove a request, if it is queued."""
        queue = self._quarantined if request.in_quarantine else self._waiting
        with contextlib.suppress(ValueError):  # taken out, to be dispatched in this turn
            queue.remove(request)
