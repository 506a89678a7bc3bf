"""Companions begin before the run and end after it; one that hangs or fails cannot hold it up."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from contextlib import contextmanager

import pytest

from mlink.devices import DeviceEndpoint
from mlink.engine import companions
from mlink.engine.companions import LiveRun, accompanied
from mlink.engine.guests import Hosting
from mlink.errors import ControlError, MlinkError
from tests.support.engine_fakes import bench_of

HOSTING = Hosting(lambda _: time.sleep(0.001), lambda: None, lambda: False, lambda: False)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run whose companions are functions of the test, by key."""
    entries: dict = {}

    def companion(name):
        return type("Entry", (), {"accompany": staticmethod(entries[name])})

    monkeypatch.setattr(companions, "companion", companion)
    live = LiveRun(bench_of(), tmp_path, None, bytes(16), {})

    def make(**given):
        entries.update(given)
        live.bench = dataclasses.replace(live.bench, companions=dict.fromkeys(given, 7))
        return live

    return make


def test_a_companion_lasts_as_long_as_the_block(run):
    events = []

    @contextmanager
    def accompany(given, live):
        events.append(("begin", given, live))
        yield
        events.append("end")

    live = run(faults=accompany)
    with accompanied(live, HOSTING):
        events.append("block")
    assert events == [("begin", 7, live), "block", "end"]
    with accompanied(live, HOSTING, replay=True):
        pass
    assert len(events) == 3


@pytest.mark.parametrize("at_the_end", [False, True])
def test_its_error_is_raised_in_the_thread_of_the_run(run, at_the_end):
    @contextmanager
    def accompany(given, live):
        if at_the_end:
            yield
        raise MlinkError("no such fault")

    with (
        pytest.raises(MlinkError, match="no such fault"),
        accompanied(run(faults=accompany), HOSTING),
    ):
        assert at_the_end


def test_one_that_does_not_begin_is_named(run, monkeypatch):
    monkeypatch.setattr(companions, "LIMIT_S", 0.05)
    end = threading.Event()

    @contextmanager
    def accompany(given, live):
        end.wait()
        yield

    hangs = accompanied(run(faults=accompany), HOSTING)
    with pytest.raises(ControlError, match=r"\[faults\].*is not ready"), hangs:
        pytest.fail("ran")
    end.set()


def test_one_that_does_not_end_is_named_and_the_run_goes_on(run, monkeypatch, caplog):
    monkeypatch.setattr(companions, "LIMIT_S", 0.05)
    end = threading.Event()

    @contextmanager
    def accompany(given, live):
        yield
        end.wait()

    with caplog.at_level(logging.WARNING), accompanied(run(faults=accompany), HOSTING):
        pass
    assert "[faults] of the bench: its companion has not ended" in caplog.text
    end.set()


class Watched:
    """A provider that watches its devices."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @contextmanager
    def watch(self, endpoints, live):
        self.seen.append(sorted(endpoints))
        yield
        live.hint("uno", "was slow")


@pytest.mark.parametrize(("virtual", "seen"), [(None, [["uno", "zero"]]), (object(), [])])
def test_a_provider_watches_its_devices_in_real_time(monkeypatch, tmp_path, virtual, seen):
    providers = {"virtual": Watched(), "other": object()}
    monkeypatch.setattr(companions, "device_provider", providers.get)
    specs = {"uno": "virtual:uno", "zero": "virtual:uno?x=1", "b": "other:1", "c": "/dev/tty0"}
    devices = {key: DeviceEndpoint(key, spec, "") for key, spec in specs.items()}
    hints = []
    live = LiveRun(
        bench_of(),
        tmp_path,
        None,
        bytes(16),
        {},
        devices=devices,
        virtual=virtual,
        hint=lambda *given: hints.append(given),
    )
    with accompanied(live, HOSTING):
        assert hints == []
    assert providers["virtual"].seen == seen
    assert len(hints) == len(seen)


def test_the_zero_of_a_led_host_is_that_of_its_steered_clock(tmp_path) -> None:
    class Fast:
        """A controller's clock that runs at the double rate since this machine's 1,000 s."""

        def now_usec(self) -> int:
            return self.from_monotonic_ns(time.monotonic_ns())

        def from_monotonic_ns(self, monotonic_ns: int) -> int:
            return (monotonic_ns - 1_000 * 10**9) * 2 // 1000

    live = LiveRun(bench_of(), tmp_path, None, bytes(16), {})
    assert live.t0_ns == 0
    live.begin(7, Fast())
    clock = Fast()
    for _ in range(3):
        before_usec = clock.now_usec()
        by_zero_usec = (time.monotonic_ns() - live.t0_ns) // 1000
        # companions reckon from the zero: it has to give the master time of now
        assert by_zero_usec <= clock.now_usec() + 1
        assert by_zero_usec >= before_usec - 20_000_000
