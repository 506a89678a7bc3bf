"""Scheduling of threads and processes: real-time priority, processor affinity, locked memory.

`request_priority` tries in this order:

    SCHED_FIFO              runs before all ordinary threads; needs a privilege or an rtprio limit
    rtkit                   the desktop's service that grants real-time priority (D-Bus)
    nice −10                a larger share of the processor; needs a privilege or a nice limit
    unchanged               nothing was granted

A missing privilege is no error: the run goes on, and `Granted.detail` has the command that grants
more. The priorities are low real-time ones (of 1 to 99), below the kernel's own threads.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import resource
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlink.errors import ModuleError

DEFAULT_PRIORITY = 15
"""Real-time priority of capture threads."""
IO_PRIORITY = 14
"""Real-time priority of threads that read a board or time pulses; above scripts (worker.ahead)."""
DEFAULT_NICE = -10

RIGHTS_REMEDY = "mlink doctor --fix"
"""The command that gives this user the rights which runs ask for."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the system granted to one thread.

    Attributes:
        policy: How it is scheduled; "normal" when nothing was granted.
        detail: A sentence for people, with what to change to be granted more.
    """

    policy: Literal["fifo", "rtkit", "nice", "normal"]
    priority: int
    """Real-time priority, 1 to 99; 0 when the policy is not a real-time one."""
    nice: int
    detail: str

    @property
    def brief(self) -> str:
        """`detail` without the advice."""
        return self.detail.partition(";")[0]


def _ask_rtkit(thread_id: int, priority: int) -> int:
    """Return the priority that rtkit granted; 0 when it refused or does not run."""
    from mlink import rtkit  # imported here: D-Bus is needed only where the kernel has refused

    try:
        return rtkit.make_thread_realtime(thread_id, priority)
    except rtkit.RtkitUnavailableError:
        return 0


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """The system calls used here; tests pass other ones."""

    set_scheduler: Callable[[int, int, os.sched_param], None] = os.sched_setscheduler
    ask_rtkit: Callable[[int, int], int] = _ask_rtkit
    """Called with (thread id, priority); returns the priority that rtkit granted, or 0."""
    set_nice: Callable[[int, int, int], None] = os.setpriority
    get_nice: Callable[[int, int], int] = os.getpriority


LINUX = SystemCalls()


def request_priority(
    priority: int = DEFAULT_PRIORITY, nice: int = DEFAULT_NICE, *, system: SystemCalls = LINUX
) -> Granted:
    """Request the best scheduling that the system grants to the calling thread. Never fails.

    Threads and programs that the thread starts afterwards have ordinary priority.

    Args:
        priority: Wanted real-time priority, 1 to 99.
        nice: Wanted nice value, where a real-time priority is refused.
        system: The system calls to use.
    """
    thread_id = threading.get_native_id()
    try:
        # Reset on fork: a helper program of this thread must not be real-time.
        system.set_scheduler(
            thread_id, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority)
        )
    except OSError as error:
        refusal = error.strerror or str(error)
    else:
        return Granted(
            "fifo",
            priority,
            system.get_nice(os.PRIO_PROCESS, thread_id),
            f"real-time priority {priority} (SCHED_FIFO)",
        )
    if given := system.ask_rtkit(thread_id, priority):
        return Granted(
            "rtkit",
            given,
            system.get_nice(os.PRIO_PROCESS, thread_id),
            f"real-time priority {given}, through rtkit",
        )
    return _request_nice(thread_id, nice, refusal, system)


def _request_nice(thread_id: int, nice: int, refusal: str, system: SystemCalls) -> Granted:
    """Request a better nice value; where that is refused too, leave the thread as it is."""
    before = system.get_nice(os.PRIO_PROCESS, thread_id)
    advice = f"real-time priority was refused ({refusal}); to allow it: {RIGHTS_REMEDY}"
    if before <= nice:
        return Granted("nice", 0, before, f"nice {before}, as it was; {advice}")
    try:
        # On Linux a nice value belongs to the thread, and its id is accepted in place of a pid.
        system.set_nice(os.PRIO_PROCESS, thread_id, nice)
    except OSError:
        return Granted("normal", 0, before, f"ordinary priority (nice {before}); {advice}")
    reset_on_fork(system)
    return Granted("nice", 0, nice, f"nice {nice}; {advice}")


def reset_on_fork(system: SystemCalls = LINUX) -> None:
    """Let what this thread of ordinary scheduling starts begin with nice 0, if its own is lower."""
    with suppress(OSError):
        flags = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
        system.set_scheduler(threading.get_native_id(), flags, os.sched_param(0))


def wake_on_time() -> None:
    """Let timed waits of the calling thread, and of those it starts, end at most 1 µs late.

    The default of ordinary threads is 50 µs (PR_SET_TIMERSLACK, in ns); real-time ones have none.
    """
    ctypes.CDLL(None).prctl(29, 1000, 0, 0, 0)


def pin_to_cpus(cpus: Collection[int]) -> frozenset[int]:
    """Restrict the calling thread to these processors.

    Args:
        cpus: Numbers of processors, from 0.

    Returns:
        The processors that it may use now.

    Raises:
        ModuleError: None of them exists, or this process may not use them.
    """
    thread_id = threading.get_native_id()
    try:
        os.sched_setaffinity(thread_id, cpus)
    except (OSError, ValueError) as error:
        usable = ", ".join(str(cpu) for cpu in sorted(os.sched_getaffinity(thread_id)))
        asked = ", ".join(str(cpu) for cpu in sorted(cpus)) or "none"
        raise ModuleError(
            f"this thread cannot be pinned to processors {asked}: {error}",
            remedy=f"Choose among {usable}.",
        ) from error
    return frozenset(os.sched_getaffinity(thread_id))


_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def may_lock_memory() -> str:
    """Return why this process may not lock all its memory; an empty text when it may."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    # Under a finite limit mlockall may succeed, and a later allocation fail.
    if soft == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK):
        return ""
    return f"only {soft >> 10} KB may be locked"


@contextmanager
def locked_memory() -> Iterator[str]:
    """Lock the memory of this process within the block, so that it is not swapped out.

    Never fails. Pages are locked when they are first used, so that reserved memory costs nothing.

    Yields:
        A sentence about the result, with what to change where it was refused.
    """
    refusal = may_lock_memory()
    libc = ctypes.CDLL(None, use_errno=True)
    if not refusal and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        refusal = errno.errorcode.get(ctypes.get_errno(), "refused")
    if refusal:
        yield f"memory is not locked ({refusal}); to allow it: {RIGHTS_REMEDY}"
        return
    try:
        yield "memory is locked"
    finally:
        libc.munlockall()


_CAP_IPC_LOCK = 14


def _has_capability(number: int) -> bool:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("CapEff:"))
        return bool(int(line.split()[1], 16) >> number & 1)
    except (OSError, StopIteration, ValueError):
        return False


@contextmanager
def scheduling_kept() -> Iterator[set[int]]:
    """Undo changes that a library makes to the scheduling of this process within the block.

    SVT-AV1, when run as root, sets the thread that opens it and all of its own threads to
    SCHED_FIFO 99: above capture threads, and above everything else on the machine. At the end the
    calling thread has its old scheduling again, and new real-time threads become ordinary ones.
    Other new threads keep what they inherited: raising them from SCHED_IDLE may need a privilege.

    Yields:
        A set that after the block has the kernel's numbers of the new threads.
    """
    caller = threading.get_native_id()
    own, param = os.sched_getscheduler(caller), os.sched_getparam(caller)
    before = _thread_ids()
    started: set[int] = set()
    try:
        yield started
    finally:
        if os.sched_getscheduler(caller) != own or os.sched_getparam(caller) != param:
            os.sched_setscheduler(caller, own, param)
        started |= _thread_ids() - before
        for thread_id in started:
            try:
                policy = os.sched_getscheduler(thread_id) & ~os.SCHED_RESET_ON_FORK
                if policy in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(thread_id, os.SCHED_OTHER, os.sched_param(0))
            except ProcessLookupError:
                continue  # it has just ended


def _thread_ids() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/task").iterdir()}


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Switch the garbage collector of this process off within the block, as it pauses all threads.

    Objects that exist now are frozen until the end; cycles made meanwhile are collected after it.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
