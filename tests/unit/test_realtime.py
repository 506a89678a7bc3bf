"""What the system grants to a thread, and the sentence that reports it."""

from __future__ import annotations

import gc
import os
import subprocess
import threading
from pathlib import Path

import pytest

from mlink import realtime
from mlink.errors import ModuleError
from mlink.realtime import (
    SystemCalls,
    locked_memory,
    may_lock_memory,
    pin_to_cpus,
    quiet_gc,
    request_priority,
    scheduling_kept,
)


class FakeSystem:
    """Grants as configured and records what was requested."""

    def __init__(self, *, fifo=False, rtkit=0, nice=False, nice_now=0):
        self.allowed = {"fifo": fifo, "rtkit": rtkit, "nice": nice}
        self.nice_now = nice_now
        self.asked = []
        self.calls = SystemCalls(self._scheduler, self._rtkit, self._set_nice, self._get_nice)

    def _scheduler(self, thread_id, policy, param):
        self.asked.append(("fifo", thread_id, policy, param.sched_priority))
        if not self.allowed["fifo"]:
            raise PermissionError(1, "Operation not permitted")

    def _rtkit(self, thread_id, priority):
        self.asked.append(("rtkit", thread_id, priority))
        return self.allowed["rtkit"]

    def _set_nice(self, which, thread_id, value):
        self.asked.append(("nice", which, thread_id, value))
        if not self.allowed["nice"]:
            raise PermissionError(13, "Permission denied")
        self.nice_now = value

    def _get_nice(self, which, thread_id):
        return self.nice_now

    def names(self):
        return [call[0] for call in self.asked]


def test_real_time_priority_is_asked_for_first():
    system = FakeSystem(fifo=True)
    granted = request_priority(12, system=system.calls)
    assert (granted.policy, granted.priority) == ("fifo", 12)
    assert granted.detail == "real-time priority 12 (SCHED_FIFO)"
    assert system.asked == [
        ("fifo", threading.get_native_id(), os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 12)
    ]


def test_rtkit_is_asked_when_the_system_refuses():
    system = FakeSystem(rtkit=10, nice=True)
    granted = request_priority(12, system=system.calls)
    assert (granted.policy, granted.priority) == ("rtkit", 10)  # rtkit has a limit of its own
    assert system.names() == ["fifo", "rtkit"]


def test_a_better_nice_value_comes_next_and_names_what_to_change():
    system = FakeSystem(nice=True)
    granted = request_priority(system=system.calls)
    assert (granted.policy, granted.priority, granted.nice) == ("nice", 0, -10)
    assert system.asked[-2] == ("nice", os.PRIO_PROCESS, threading.get_native_id(), -10)
    assert system.asked[-1][2:] == (os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, 0)
    assert "Operation not permitted" in granted.detail
    assert "mlink doctor --fix" in granted.detail


def test_a_nice_value_that_is_better_already_is_kept():
    system = FakeSystem(nice=True, nice_now=-15)
    granted = request_priority(system=system.calls)
    assert (granted.policy, granted.nice) == ("nice", -15)
    assert "nice" not in system.names()


def test_without_any_grant_the_thread_stays_as_it_is():
    granted = request_priority(system=FakeSystem(nice_now=5).calls)
    assert (granted.policy, granted.priority, granted.nice) == ("normal", 0, 5)
    assert "mlink doctor --fix" in granted.detail


def test_the_real_system_answers_truthfully():
    seen = []
    ours = os.sched_getscheduler(threading.get_native_id())

    def ask():
        granted = request_priority(10)
        seen.append((granted, os.sched_getscheduler(threading.get_native_id())))

    thread = threading.Thread(target=ask)  # a thread of its own: the priority ends with it
    thread.start()
    thread.join()
    granted, policy = seen[0]
    is_fifo = policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert is_fifo == (granted.policy == "fifo")
    assert os.sched_getscheduler(threading.get_native_id()) == ours


def test_the_collector_is_off_inside_and_on_again_after():
    assert gc.isenabled()
    with quiet_gc():
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_the_collector_is_on_again_after_an_error():
    with pytest.raises(KeyError), quiet_gc():
        raise KeyError
    assert gc.isenabled()


def test_a_thread_can_be_pinned_to_one_processor():
    pinned = []
    cpu = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    thread = threading.Thread(target=lambda: pinned.append(pin_to_cpus([cpu])))
    thread.start()
    thread.join()
    assert pinned == [frozenset({cpu})]
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("cpus", [[100_000], [], [-1]])
def test_a_processor_that_does_not_exist_is_refused_with_the_usable_ones(cpus):
    with pytest.raises(ModuleError, match=r"Choose among \d"):
        pin_to_cpus(cpus)


def locked_kib():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmLck")).split()[1])


def test_memory_is_locked_inside_where_that_is_allowed_and_free_again_after():
    with locked_memory() as detail:
        if may_lock_memory():
            assert "memory is not locked" in detail
            assert "mlink doctor --fix" in detail
        else:
            assert detail == "memory is locked"
            assert locked_kib() > 0
    assert locked_kib() == 0


def test_a_finite_limit_is_never_used_since_later_allocations_would_fail(monkeypatch):
    monkeypatch.setattr(realtime, "_has_capability", lambda number: False)
    monkeypatch.setattr(realtime.resource, "getrlimit", lambda which: (8 << 20, 8 << 20))
    with locked_memory() as detail:
        assert "only 8192 KB may be locked" in detail
        assert locked_kib() == 0


def test_what_a_library_does_to_the_scheduling_of_its_threads_is_undone():
    ours = os.sched_getscheduler(0)
    over = threading.Event()
    seen = []

    def work():
        request_priority(10)  # as SVT-AV1 does, without asking
        seen.append(threading.get_native_id())
        started.set()
        over.wait()

    started = threading.Event()
    thread = threading.Thread(target=work)
    with scheduling_kept():
        thread.start()
        started.wait()
    policy = os.sched_getscheduler(seen[0])
    over.set()
    thread.join()
    assert policy in (os.SCHED_OTHER, ours)  # ours: where real-time priority was refused
    assert os.sched_getscheduler(0) == ours


def test_new_threads_of_an_idle_process_stay_idle_since_to_raise_them_may_be_refused():
    seen = []

    def start_one():
        """Start a thread below SCHED_OTHER, which one may always go down to."""
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        over = threading.Event()
        thread = threading.Thread(target=over.wait)
        with scheduling_kept():
            thread.start()
        seen.append(os.sched_getscheduler(thread.native_id or 0))
        over.set()
        thread.join()

    below = threading.Thread(target=start_one)
    below.start()
    below.join()
    assert seen == [os.SCHED_IDLE]


@pytest.mark.skipif(os.geteuid() != 0, reason="a nice value below 0 needs a privilege")
def test_what_a_thread_with_a_better_nice_value_starts_has_an_ordinary_one():
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    seen = []

    def run():
        system = SystemCalls(
            lambda thread, policy, param: (
                refused()
                if policy & os.SCHED_FIFO
                else os.sched_setscheduler(thread, policy, param)
            ),
            lambda *_: 0,
        )
        seen.append(request_priority(nice=-5, system=system).nice)
        child = subprocess.run(["nice"], capture_output=True, text=True, check=True)
        seen.append(int(child.stdout))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [-5, 0]
