"""The life of a worker: every event in every state."""

from __future__ import annotations

from typing import Any, cast

import pytest

from scrapy_curl_safe._pool.worker import TRANSITIONS, Cause, Event, State, Worker
from scrapy_curl_safe._pool.worker_process import WorkerProcess

NEXT = {
    State.STARTING: {Event.BECOME_READY: State.READY, Event.STOP: State.STOPPING},
    State.READY: {Event.DRAIN: State.DRAINING, Event.STOP: State.STOPPING},
    State.DRAINING: {Event.STOP: State.STOPPING},
    State.STOPPING: {Event.EXIT: State.EXITED},
    State.EXITED: {},
}
#: What leads to each state.
WAYS: dict[State, list[Event]] = {
    State.STARTING: [],
    State.READY: [Event.BECOME_READY],
    State.DRAINING: [Event.BECOME_READY, Event.DRAIN],
    State.STOPPING: [Event.STOP],
    State.EXITED: [Event.STOP, Event.EXIT],
}


class StubConnection:
    in_flight = 2


def worker_in(state: State, *, in_quarantine: bool = False) -> Worker:
    process = cast("WorkerProcess", type("StubProcess", (), {"pid": 7})())
    worker = Worker(3, process, in_quarantine=in_quarantine)
    worker.connection = cast("Any", StubConnection())
    for event in WAYS[state]:
        worker.transition(event)
    assert worker.state is state
    return worker


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_event_in_each_state(state: State, event: Event) -> None:
    worker = worker_in(state)
    if event in NEXT[state]:
        worker.transition(event)
        assert worker.state is NEXT[state][event]
    else:
        with pytest.raises(KeyError):
            worker.transition(event)
        assert worker.state is state


def test_the_table_has_no_more() -> None:
    assert {
        (state, event): after for state, events in NEXT.items() for event, after in events.items()
    } == TRANSITIONS


def test_no_state_comes_back() -> None:
    order = list(State)
    assert all(order.index(after) > order.index(state) for (state, _), after in TRANSITIONS.items())


@pytest.mark.parametrize("state", State)
def test_a_worker_remembers_whether_it_was_ready(state: State) -> None:
    came_by_ready = Event.BECOME_READY in WAYS[state]
    assert worker_in(state).was_ready == came_by_ready


@pytest.mark.parametrize("cause", Cause)
def test_the_cause_of_a_stop_stays(cause: Cause) -> None:
    worker = worker_in(State.READY)
    assert worker.cause is None
    worker.transition(Event.STOP, cause)
    worker.transition(Event.EXIT)
    assert worker.cause is cause


def test_a_worker_says_what_it_is_and_has() -> None:
    worker = worker_in(State.DRAINING)
    worker.served = 5
    assert repr(worker) == "<Worker 3 (pid 7) draining, 2 in flight, 5 served>"
    alone = worker_in(State.READY, in_quarantine=True)
    alone.transition(Event.STOP, Cause.HUNG)
    assert repr(alone) == (
        "<Worker 3 in quarantine (pid 7) stopping (hung), 2 in flight, 0 served>"
    )
