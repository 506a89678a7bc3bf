"""Time that a simulation in real time has skipped is stated, with figures and what to do."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import msgspec
import pytest

from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_hil.control import pace
from mlink_hil.control.messages import StatsReply
from mlink_hil.control.pace import lapse, watch_pace

START = StatsReply(
    simulator="yasimavr",
    firmware="",
    frequency_hz=16_000_000,
    cycle=0,
    time_ns=0,
    slices=0,
    late_slices=0,
    late_percent=0.0,
    slip_usec=7000.0,  # before the run
    uart_bytes_in=0,
    uart_bytes_out=0,
    overruns=0,
    bytes_dropped=0,
    bytes_corrupted=0,
    cpu_sec=0.0,
    scheduling="",
    edges=[0] * 20,
)


def later(skipped_usec: float, **edges: int) -> StatsReply:
    counts = [edges.get(f"line{n}", 0) for n in range(20)]
    return msgspec.structs.replace(START, slip_usec=7000 + skipped_usec, edges=counts)


def test_a_simulation_that_kept_real_time_says_nothing():
    assert lapse(START, later(0, line7=500_000), 5) == ""
    assert lapse(START, later(999), 5) == ""


@pytest.mark.parametrize(
    ("skipped_usec", "shown"),
    [
        (1_844_000, "1844 ms of 4.0 s (46 %)"),
        (8_000, "8 ms of 4.0 s (0.20 %)"),
        (9e6, "9000 ms of 4.0 s (100 %)"),
    ],
)
def test_skipped_time_is_stated_with_its_share(skipped_usec, shown):
    text = lapse(START, later(skipped_usec, line7=400), 4)
    assert shown in text
    assert "times of its edges" in text
    assert "--time virtual" in text
    assert "Line" not in text


def test_a_line_that_costs_the_time_is_named():
    text = lapse(START, later(1_000_000, line4=9, line7=800_000), 4)
    assert "Line 7 had 200,000 edges/s" in text


class Boards:
    """Boards whose counters a test sets, in the place of the control sockets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stats = {"uno.sock": START, "mega.sock": START}
        monkeypatch.setattr(pace, "VirtualBoard", SimpleNamespace(connect=self._connect))

    def _connect(self, path: str) -> Boards:
        if path not in self.stats:
            raise DeviceError(f"nothing listens at {path}")
        self._path = path
        return self

    def __enter__(self) -> SimpleNamespace:
        return SimpleNamespace(stats=lambda: self.stats[self._path])

    def __exit__(self, *_: object) -> None:
        pass


class Run:
    """A run that begins when the test says so, and keeps what is reported."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.figures: list[tuple[str, str, float]] = []
        self.hints: list[str] = []

    def begin(self) -> None:
        """Begin, and wait until the counters of the start have been taken."""
        self.running.set()
        for thread in threading.enumerate():
            if thread.name == "pace":
                thread.join()

    def wait_running(self, timeout_s: float) -> bool:
        return self.running.wait(timeout_s)

    def report(self, source: str, key: str, value: float) -> None:
        self.figures.append((source, key, value))

    def hint(self, source: str, text: str) -> None:
        self.hints.append(f"{source}: {text}")


def endpoints() -> dict[str, DeviceEndpoint]:
    made = {
        name: DeviceEndpoint(name, f"virtual:{name}", "tty", f"{name}.sock")
        for name in ("uno", "mega")
    }
    return made | {"eye": DeviceEndpoint("eye", "virtual:scene", "virtual:scene")}


def test_the_run_has_a_figure_and_a_hint_of_each_board_that_skipped_time(monkeypatch, caplog):
    boards, run = Boards(monkeypatch), Run()
    with watch_pace(endpoints(), run):
        boards.stats["uno.sock"] = later(-6000)
        run.begin()
        boards.stats["uno.sock"] = later(44_000)
    assert run.figures == [("uno", "simulation_skipped_ms", 50.0)]
    (hint,) = run.hints
    assert hint.startswith("uno: this machine was too slow")
    assert "50 ms" in hint
    assert [each.levelname for each in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("began", [False, True])
def test_a_run_that_ends_before_its_start_or_whose_boards_are_gone_says_nothing(monkeypatch, began):
    boards, run = Boards(monkeypatch), Run()
    with watch_pace(endpoints(), run):
        if began:
            run.begin()
        boards.stats.clear()
    assert (run.figures, run.hints) == ([], [])
