"""A worker's printed lines and log records: sent in order, within a limit that is counted."""

from __future__ import annotations

import logging
import socket

import pytest

from mlink import control
from mlink.channel import EngineChannel, worker_channel
from mlink.worker import output
from mlink.worker.output import BURST_LINES, LINES_PER_S, ChannelLogHandler, LineLimit, LineSender


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(output, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def channels():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    engine, worker = EngineChannel(ours), worker_channel(theirs)
    yield engine, worker
    engine.close()
    worker.close()


def test_all_lines_are_sent_or_counted_and_every_count_is_noted(clock):
    notes: list[str] = []
    limit = LineLimit(notes.append, off=False)
    passed = 0
    for _ in range(50_000):
        passed += limit.passes("value")
        clock.now += 0.0001
    left_out = limit.finish()
    assert passed + left_out == 50_000
    assert BURST_LINES <= passed <= BURST_LINES + 6 * LINES_PER_S
    assert "lines are left out" in notes[0]
    counts = [int(text.split()[1].replace(",", "")) for text in notes[1:]]
    assert sum(counts) == left_out
    assert len(notes) <= 10


def test_a_burst_and_then_a_moderate_rate_pass(clock):
    limit = LineLimit(lambda text: pytest.fail(text), off=False)
    assert all(limit.passes("value") for _ in range(BURST_LINES - 100))
    for _ in range(10 * LINES_PER_S):
        clock.now += 1 / LINES_PER_S
        assert limit.passes("value")
    assert limit.finish() == 0


def test_long_lines_count_for_more(clock):
    limit = LineLimit(lambda _: None, off=False)
    passed = sum(limit.passes("x" * 16_000) for _ in range(BURST_LINES))
    assert 0 < passed < BURST_LINES / 30


def test_in_virtual_time_all_lines_pass(clock):
    limit = LineLimit(lambda text: pytest.fail(text), off=True)
    assert all(limit.passes("value") for _ in range(10 * BURST_LINES))


def test_printed_lines_arrive_and_the_rest_is_reported_at_the_end(channels, clock, monkeypatch):
    monkeypatch.setattr(output, "BURST_LINES", 3)
    engine, worker = channels
    sender = LineSender(worker)
    print("a\nb\nc\nd\nincomplete", end="", file=sender)
    sender.finish()
    got = list(iter(engine.receive, None))
    assert [message.text for message in got if isinstance(message, control.Output)] == [
        "a",
        "b",
        f"… more than {LINES_PER_S} lines per second: lines are left out",
        "… 3 lines left out",
    ]
    assert got[-1] == control.Report("printed lines left out", 3)


def test_log_records_have_a_limit_of_their_own(channels, clock, monkeypatch):
    monkeypatch.setattr(output, "BURST_LINES", 2)
    engine, worker = channels
    handler = ChannelLogHandler(worker)
    for number in range(5):
        handler.handle(logging.makeLogRecord({"levelno": logging.ERROR, "msg": f"e{number}"}))
    handler.flush()
    got = list(iter(engine.receive, None))
    assert got[0] == control.Log(logging.ERROR, "e0")
    assert got[-2:] == [
        control.Log(logging.WARNING, "… 4 lines left out"),
        control.Report("log lines left out", 4),
    ]
