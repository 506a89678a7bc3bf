"""Let a script's main thread, which answers to data, run ahead of the script's own threads.

All of them share one interpreter. A thread that waits for it gets it within the switch interval
only if the system also runs that thread at once, and among threads of one priority it may not for
tens of ms. At a real-time priority the main thread is woken first, and runs at once.

A main thread that computes without a pause must not keep others from the processor: the kernel
tells it so by SIGXCPU (RLIMIT_RTTIME), and it goes back to ordinary scheduling for the rest.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

PRIORITY = 5
"""Below capture threads (15) and simulated boards (10)."""
LONGEST_USEC = 200_000
"""CPU time that the main thread may take at this priority without waiting for anything."""


@contextmanager
def ahead_of_own_threads(log: logging.Logger, longest_usec: int = LONGEST_USEC) -> Iterator[bool]:
    """Give the calling main thread a real-time priority in the block; yields whether it was given.

    Threads that it makes meanwhile, and programs, are ordinary ones. Where the system refuses, all
    stays as it is: the run's start has told of priorities that were refused.
    """
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)

    def step_back(_number: int, _frame: object) -> None:
        if os.sched_getscheduler(0) == policy:
            return
        os.sched_setscheduler(0, policy, param)
        log.warning(
            "the script computed for %d ms on end: from now on its main thread shares the"
            " processor evenly, also with its own threads",
            longest_usec // 1000,
        )

    previous = signal.signal(signal.SIGXCPU, step_back)
    try:
        granted = _ask(longest_usec, hard)
        yield granted
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, param)
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
        signal.signal(signal.SIGXCPU, previous)


def _ask(longest_usec: int, hard: int) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (longest_usec, hard))
        # Children of this thread start as ordinary ones.
        flags = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, flags, os.sched_param(PRIORITY))
    except (OSError, ValueError):  # no privilege; a limit that is lower already
        return False
    return True
