"""Real-time priority for a script's main thread, so that it runs ahead of the script's threads.

The main thread handles data; all threads of a script share one interpreter lock. A thread that
waits for the lock receives it within the switch interval only if the kernel also schedules that
thread at once; among threads of equal priority this may take tens of ms. With a real-time priority
the main thread is scheduled first.

A main thread that computes without a pause would keep others off the processor. The kernel sends
it SIGXCPU after RLIMIT_RTTIME of CPU time, and it returns to normal scheduling for good.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

PRIORITY = 5
"""SCHED_FIFO priority: below capture threads (15) and simulated boards (10)."""
LONGEST_USEC = 200_000
"""CPU time in µs that the main thread may use at this priority without waiting."""


@contextmanager
def ahead_of_own_threads(log: logging.Logger, longest_usec: int = LONGEST_USEC) -> Iterator[bool]:
    """Run the block at a real-time priority; call it in the main thread.

    Threads and programs that are started in the block have normal priority.

    Args:
        log: Receives a warning when the thread has computed for too long.
        longest_usec: CPU time in µs without a wait after which the priority is given up.

    Yields:
        Whether the priority was granted. A refusal is not logged here: the engine logs refused
        priorities at the start of the run.
    """
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)

    def step_back(_number: int, _frame: object) -> None:
        if os.sched_getscheduler(0) == policy:
            return
        os.sched_setscheduler(0, policy, param)
        log.warning(
            "it computed for %d ms without waiting: its main thread loses its real-time priority"
            " over its other threads",
            longest_usec // 1000,
        )

    previous = signal.signal(signal.SIGXCPU, step_back)
    try:
        granted = _request(longest_usec, hard)
        yield granted
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, param)
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
        signal.signal(signal.SIGXCPU, previous)


def _request(longest_usec: int, hard: int) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (longest_usec, hard))
        # RESET_ON_FORK: threads and processes that it starts have normal priority.
        flags = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, flags, os.sched_param(PRIORITY))
    except (OSError, ValueError):  # no privilege; a limit that is lower already
        return False
    return True
