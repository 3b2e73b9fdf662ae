"""A process's ties to its parent, and its precedence over other processes."""

from __future__ import annotations

import contextlib
import os
import signal

from .c_library import call

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    A worker also sees the end of its crawler on their socket, unless the worker is stopped or its
    loop is blocked.
    """
    call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)


def use_batch_scheduling() -> None:
    """Keep this process from interrupting others when it wakes up (sched(7), SCHED_BATCH).

    What a crawl waits for is the crawler. A niceness would also let everything else on the machine
    interrupt this process.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
