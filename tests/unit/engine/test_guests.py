"""Guests begin and end while the engine goes on; one that hangs is named and left behind."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager

import pytest

from mlink.engine import guests
from mlink.engine.guests import Guest, Hosting
from mlink.errors import ControlError, DeviceError


class Engine:
    """Counts its pumps; the test sets whether the run ends, and whether anybody waits."""

    def __init__(self) -> None:
        self.pumps = 0
        self.ending = self.hurried = False
        self.hosting = Hosting(self.pump, lambda: None, lambda: self.ending, lambda: self.hurried)

    def pump(self, timeout_s: float) -> None:
        self.pumps += 1
        time.sleep(min(timeout_s, 0.001))


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def guest(make, engine, limit_s=60.0):
    return Guest("device 'uno'", make, engine.hosting, limit_s=limit_s, remedy="plug it in")


def test_it_gives_what_its_context_gives_and_is_left_in_its_own_thread(engine):
    threads = []

    @contextmanager
    def make():
        threads.append(threading.current_thread())
        yield 7
        threads.append(threading.current_thread())

    with guest(make, engine) as value:
        assert value == 7
    assert len({*threads, threading.current_thread()}) == 2


def test_the_engine_goes_on_while_it_begins_and_ends(engine, gate):
    @contextmanager
    def make():
        gate.wait(60)
        yield
        while engine.pumps < 20:
            time.sleep(0.001)

    original = engine.pump

    def pump(timeout_s):
        original(timeout_s)
        if engine.pumps == 10:
            gate.set()

    object.__setattr__(engine.hosting, "pump", pump)
    with guest(make, engine):
        assert engine.pumps >= 10
    assert engine.pumps >= 20


def test_a_late_one_is_named(engine, gate, monkeypatch, caplog):
    monkeypatch.setattr(guests, "_SHOWN_AFTER_S", 0.0)

    @contextmanager
    def make():
        gate.wait(60)
        yield

    late = guest(make, engine, limit_s=0.05)
    with pytest.raises(ControlError, match=r"'uno' is not ready after 0\.05 s"), late:
        pytest.fail("entered")
    assert "device 'uno' is not ready after 0 s" in caplog.text


def test_when_the_run_ends_nobody_waits_for_its_beginning(engine, gate, caplog):
    left = threading.Event()

    @contextmanager
    def make():
        gate.wait(60)
        yield
        left.set()

    engine.ending = engine.hurried = True
    with guest(make, engine) as value:
        assert value is None
    assert "the run does not wait for it" in caplog.text
    gate.set()
    assert left.wait(60)  # it is left as soon as it has begun


def test_a_second_interrupt_ends_the_wait_for_its_end(engine, gate, caplog):
    @contextmanager
    def make():
        yield
        engine.hurried = True
        gate.wait(60)

    with caplog.at_level(logging.WARNING), guest(make, engine):
        pass
    assert "device 'uno' has not ended; the run does not wait for it" in caplog.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DeviceError("no such board"), "no such board"),
        (KeyError("x"), "device 'uno' has failed: KeyError: 'x'"),
    ],
)
@pytest.mark.parametrize("at_the_end", [False, True])
def test_its_error_is_raised_in_the_engines_thread(engine, error, text, at_the_end):
    @contextmanager
    def make():
        if at_the_end:
            yield
        raise error

    with pytest.raises((DeviceError, ControlError), match=text), guest(make, engine):
        assert at_the_end
