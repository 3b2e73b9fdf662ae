"""Tells which descriptors are ready, by epoll(7), or poll(2) if the system lacks or refuses it."""

from __future__ import annotations

import select
from typing import Protocol

from .refusals import Facility, note_refusal

# epoll uses the same numbers as poll.
READABLE = select.POLLIN
WRITABLE = select.POLLOUT


class Poller(Protocol):
    """The common part of `select.epoll` and `select.poll`."""

    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]: ...


def create_poller() -> tuple[Poller, int]:
    """Return a poller, and the number of its timeout's units in a second."""
    try:
        return select.epoll(), 1
    except AttributeError:  # not Linux
        pass
    except OSError as error:
        note_refusal(Facility.EPOLL, error)
    return select.poll(), 1000
