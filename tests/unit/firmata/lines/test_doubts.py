"""Readings without check values, while bytes changed on the line, are stated and counted."""

from __future__ import annotations

from typing import Any

import pytest

from mlink.clock import MasterClock
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.firmata.lines.doubts import AROUND_S, Doubts
from tests.support.fake_context import FakeContext
from tests.support.manual_waiting import ManualWaiting


class Bench:
    """A board that sends ten readings per second; it is its own session and readings."""

    name = "uno"

    def __init__(self, tmp_path: Any) -> None:
        self.waiting = ManualWaiting()
        self.context = FakeContext(
            firmata_io,
            FirmataSettings(),
            tmp_path,
            name="board",
            clock=MasterClock(self.waiting.now_ns()),
        )
        self.sent = self.checked = self.rows_sent = 0
        self.is_checked = False
        self.is_noisy = False
        self.rows: list[tuple[str, str]] = []
        self.doubts = Doubts(
            self.context,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            note=lambda event, detail: self.rows.append((event, detail)),
            count_rows=lambda: self.rows_sent,
        )

    def expect_noise(self, is_noisy: bool) -> None:
        self.is_noisy = is_noisy

    def go(self, seconds: int, *, noise: bool = False) -> None:
        for _ in range(seconds):
            if noise:
                self.doubts.notice()
            self.waiting.advance(1)
            self.sent += 10
            self.checked += 10 * self.is_checked
            self.doubts.look(self.waiting.now_ns())


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    return Bench(tmp_path)


def test_the_readings_before_and_after_a_change_are_in_doubt_and_the_others_are_not(
    bench: Bench,
) -> None:
    bench.go(30)
    assert bench.rows == []
    bench.go(1, noise=True)
    assert bench.is_noisy
    bench.go(30)
    assert not bench.is_noisy
    begin, count = 31 - AROUND_S, 10 * (2 * AROUND_S + 1)  # the looks are 1 s apart
    assert bench.rows == [
        ("line-noisy", f"readings from {begin}000000 µs on may be wrong"),
        ("line-quiet", f"{count} readings until now may be wrong"),
    ]
    bench.doubts.finish()
    bench.doubts.report()
    assert bench.context.reports["readings_in_doubt"] == count
    assert len(bench.context.losses) == 1


def test_noise_that_goes_on_is_one_doubt_and_one_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        bench.go(1, noise=True)
        bench.go(AROUND_S - 1)
    assert [event for event, _ in bench.rows] == ["line-noisy"]
    assert bench.doubts.count == bench.sent
    bench.go(40)
    bench.go(1, noise=True)
    bench.doubts.finish()
    bench.doubts.report()
    assert [event for event, _ in bench.rows] == ["line-noisy", "line-quiet"] * 2
    warnings = [text for text in caplog.messages if "have no check value" in text]
    assert len(warnings) == 1
    assert "mlink flash" in warnings[0]


def test_readings_with_check_values_are_never_in_doubt(bench: Bench) -> None:
    bench.is_checked = True
    bench.go(5)
    bench.go(5, noise=True)
    bench.doubts.finish()
    bench.doubts.report()
    assert bench.rows == []
    assert bench.context.reports == {}


def test_rows_of_tables_are_in_doubt_as_readings_are(bench: Bench) -> None:
    bench.go(5)
    bench.rows_sent += 3
    bench.go(1, noise=True)
    bench.rows_sent += 4
    bench.doubts.finish()
    bench.doubts.report()
    assert bench.rows[-1] == ("line-quiet", "60 readings and 7 rows until now may be wrong")
    assert bench.context.reports == {"readings_in_doubt": 60, "rows_in_doubt": 7}


def test_rows_alone_are_in_doubt_too(bench: Bench) -> None:
    bench.is_checked = True
    bench.go(2)
    bench.rows_sent += 1
    bench.go(1, noise=True)
    bench.doubts.finish()
    bench.doubts.report()
    assert [event for event, _ in bench.rows] == ["line-noisy", "line-quiet"]
    assert bench.context.reports == {"rows_in_doubt": 1}
