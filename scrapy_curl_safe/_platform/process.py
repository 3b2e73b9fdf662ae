"""A process's ties to its parent, signals, and precedence over other processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

from .c_library import call
from .refusals import Facility, note_refusal

_PR_SET_PDEATHSIG = 1
# Signals that end a whole service or terminal: systemd, `docker stop` and Ctrl-C send them to all
# processes. Windows has no SIGHUP.
_FOR_THE_PARENT = {
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
}


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold back the signals of `leave_signals_to_parent` from this thread and the processes that it
    starts. A new process has no other protection until it runs its own code.

    Signals that arrive meanwhile are delivered at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Ignore the signals that end a whole service or terminal, since the parent decides when this
    process ends. Signals that were held back since the process started are dropped."""
    for number in _FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_PARENT)


def die_with_parent() -> None:
    """Let the system kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    A worker also notices the end of its crawler on their socket, unless the worker is stopped or
    its loop is blocked.
    """
    if sys.platform == "linux" and call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL) < 0:
        note_refusal(Facility.PARENT_DEATH_SIGNAL, ctypes.get_errno())


def use_batch_scheduling() -> None:
    """Keep this process from interrupting others when it wakes up (sched(7), SCHED_BATCH).

    The crawler is the bottleneck of a crawl. A niceness would also let everything else on the
    machine interrupt this process.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except AttributeError:  # not Linux
        pass
    except OSError as error:
        note_refusal(Facility.BATCH_SCHEDULING, error)
