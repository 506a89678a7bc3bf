"""A script's main thread goes ahead of the script's own threads, but not at any price."""

import logging
import os
import resource
import signal
import threading
import time

import pytest

from mlink.worker.ahead import PRIORITY, ahead_of_own_threads

log = logging.getLogger("test.ahead")


def may_be_real_time() -> bool:
    granted = []

    def ask():
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except OSError:
            return
        granted.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(granted)


needs_real_time = pytest.mark.skipif(
    not may_be_real_time(), reason="real-time priority is refused here (see mlink doctor)"
)


@needs_real_time
def test_the_main_thread_is_real_time_and_the_threads_it_makes_are_not():
    seen = []
    with ahead_of_own_threads(log) as granted:
        policy, priority = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
        thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
    assert granted
    assert (policy & ~os.SCHED_RESET_ON_FORK, priority) == (os.SCHED_FIFO, PRIORITY)
    assert seen == [os.SCHED_OTHER]


@needs_real_time
def test_a_script_that_computes_without_a_pause_shares_the_processor_and_it_is_logged(caplog):
    with ahead_of_own_threads(log, longest_usec=20_000):
        deadline = time.monotonic() + 60
        while os.sched_getscheduler(0) != os.SCHED_OTHER and time.monotonic() < deadline:
            pass
        after = os.sched_getscheduler(0)
    assert after == os.SCHED_OTHER
    assert "computed for 20 ms without waiting" in caplog.text


def test_everything_is_as_before_at_the_end():
    def state():
        limits = resource.getrlimit(resource.RLIMIT_RTTIME)
        return os.sched_getscheduler(0), limits, signal.getsignal(signal.SIGXCPU)

    before = state()
    with pytest.raises(RuntimeError), ahead_of_own_threads(log):
        raise RuntimeError
    assert state() == before


def test_where_real_time_is_refused_all_stays_as_it_is(monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    policy = os.sched_getscheduler(0)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with ahead_of_own_threads(log) as granted:
        assert not granted
        assert os.sched_getscheduler(0) == policy
