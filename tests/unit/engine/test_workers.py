"""The engine's handle of a worker: its channel, its state, its signals."""

from __future__ import annotations

import os
import signal

import pytest

from mlink.control import Close, Loaded, Start, StreamEnded
from mlink.engine import workers
from mlink.engine.workers import State
from tests.support.engine_fakes import FakeClock, FakeWorker


@pytest.fixture
def worker():
    worker = FakeWorker("cam")
    yield worker
    worker.close()


@pytest.fixture
def signals(monkeypatch):
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
    return sent


def test_messages_go_both_ways(worker):
    worker.handle.send(Start(5))
    assert worker.received() == [Start(5)]
    worker.send(Loaded(-3))
    assert worker.handle.channel.receive() == Loaded(-3)


def test_a_worker_that_reads_nothing_delays_nobody_and_gets_everything_later(worker):
    sent = [StreamEnded("x" * 1000, number) for number in range(2000)]  # more than a socket holds
    for message in sent:
        worker.handle.send(message)
    received = worker.received()
    assert 0 < len(received) < len(sent)
    while len(received) < len(sent):
        worker.handle.flush()
        more = worker.received()
        assert more
        received += more
    assert received == sent


@pytest.mark.parametrize("state", [State.CLOSED, State.GONE])
def test_a_worker_that_has_closed_is_sent_nothing(worker, state):
    worker.handle.advance(state)
    worker.handle.send(Close())
    assert worker.received() == []


def test_a_worker_that_has_finished_is_still_sent_messages(worker):
    worker.handle.advance(State.FINISHED)
    worker.handle.send(Close())
    assert worker.received() == [Close()]


def test_a_worker_that_has_exited_is_sent_nothing(worker):
    worker.handle.exit_code = 0
    worker.handle.send(Close())
    assert worker.received() == []


def test_sending_to_a_worker_that_has_just_died_is_no_error(worker):
    worker.handle.worker_sock.close()
    worker.channel.close()
    worker.handle.send(Close())


def test_states_never_go_back(worker):
    worker.handle.advance(State.STARTED)
    worker.handle.advance(State.PREPARED)
    assert worker.handle.state is State.STARTED


def test_a_deadline_counts_from_now(worker, monkeypatch):
    monkeypatch.setattr(workers, "time", FakeClock(100.0))
    worker.handle.allow(2.5)
    assert worker.handle.deadline == 102.5


def test_only_a_process_that_runs_is_signalled(worker, signals):
    worker.handle.signal(signal.SIGINT)  # not forked yet
    assert signals == []
    worker.handle.pid = 77
    worker.handle.signal(signal.SIGINT)
    assert signals == [(77, signal.SIGINT)]
    worker.handle.exit_code = -2
    worker.handle.signal(signal.SIGKILL)  # its number may be another process by now
    assert signals == [(77, signal.SIGINT)]


def test_a_process_that_ends_before_its_signal_is_no_error(worker, monkeypatch):
    def refuse(_pid: int, _number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", refuse)
    worker.handle.pid = 77
    worker.handle.signal(signal.SIGTERM)


def test_a_worker_is_alive_until_its_exit_code_is_known(worker):
    assert worker.handle.alive
    worker.handle.exit_code = 0
    assert not worker.handle.alive


def test_closing_gives_all_descriptors_back(worker):
    handle = worker.handle
    handle.close()
    assert handle.channel.fileno() == handle.worker_sock.fileno() == handle.doorbell.fileno() == -1
