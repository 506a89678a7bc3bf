"""Processes that wait for a processor."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from mlink_hil.testing.host.starvation import Starvation


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_processes_that_wait_for_a_processor_are_seen():
    spinners = [
        multiprocessing.get_context("spawn").Process(target=_spin, args=(30,)) for _ in range(2)
    ]
    for spinner in spinners:
        spinner.start()
    try:
        cpu = min(os.sched_getaffinity(0))
        for spinner in spinners:
            assert spinner.pid is not None
            os.sched_setaffinity(spinner.pid, {cpu})
        starvation = Starvation()
        deadline = time.monotonic() + 60
        while max(starvation.waits_usec().values(), default=0) < 20_000:
            if time.monotonic() > deadline:
                pytest.fail("two processes on one processor, and neither waited")
            if not starvation.waits_usec():
                starvation.find()
            time.sleep(0.05)
        starvation.find(without=list(starvation.waits_usec()))
        assert starvation.waits_usec() == {}
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()
            spinner.close()


def test_a_wait_that_is_not_over_counts_when_those_who_wait_have_run():
    spawn = multiprocessing.get_context("spawn")
    busy, starved = (spawn.Process(target=_spin, args=(30,)) for _ in range(2))
    busy.start()
    starved.start()
    try:
        cpu = {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(busy.pid, cpu)
        os.sched_setaffinity(starved.pid, cpu)
        os.sched_setscheduler(starved.pid, os.SCHED_IDLE, os.sched_param(0))
        starvation = Starvation()
        starvation.find()
        time.sleep(0.3)  # it hardly runs meanwhile, and what it waits is not counted yet
        starvation.mark()
        time.sleep(0.05)
        starvation.let_run(10)
        assert sum(starvation.waits_usec().values()) > 0
    finally:
        for spinner in (busy, starved):
            spinner.kill()
            spinner.join()
            spinner.close()
