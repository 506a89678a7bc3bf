"""Driving lines: of virtual boards directly, of real ones through a tester."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlink.errors import DeviceError
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.stimulus import Stimulus


class Bench:
    """A stimulus with a virtual board "uno" and a real board "due", whose line 7 is wired."""

    def __init__(self) -> None:
        self.driven: list = []
        self.marks = 0
        self.history = History()
        self.boards = {"uno": SimpleNamespace(drive=self._drive, read=self._read, close=list)}
        names = SimpleNamespace(
            wires={"due.7": "tester.4"},
            reading_channel=lambda line, tester: f"{tester}.fmdata.{line}",
            line_channel=lambda line, device: f"{device}.fmdata.{line}",
        )
        tap = SimpleNamespace(
            drive=lambda *order: self.driven.append(order),
            uncertainty_usec={"tester.fmdata": 400}.__getitem__,
            to_usec=lambda ns: ns // 1000,
        )
        starvation = SimpleNamespace(mark=self._mark)
        self.stimulus = Stimulus(self.boards, names, self.history, tap, starvation)

    def _drive(self, pin, level):
        self.driven.append((pin, level))
        return SimpleNamespace(level=level is not False, time_ns=5_000_000)

    def _read(self, _pin):
        return SimpleNamespace(level=True)

    def _mark(self) -> None:
        self.marks += 1


@pytest.fixture
def bench():
    return Bench()


def test_a_pin_of_a_virtual_board_changes_at_the_time_of_the_boards_answer(bench):
    pressed = bench.stimulus.drive("uno", 7, False)
    assert bench.driven == [(7, False)]
    assert pressed == Event(
        "uno.7", 5000, 0, early_usec=1, late_usec=1, caused=True, previous=1,
        noted_ns=pressed.noted_ns,
    )  # fmt: skip
    assert pressed.previous == 1  # which events do not compare
    assert pressed.noted_ns > 0


@pytest.mark.parametrize(("level", "value"), [(True, 1), (False, 0), (None, 1)])
def test_a_tester_drives_within_three_times_its_uncertainty(bench, level, value):
    driven = bench.stimulus.drive("due", 7, level)
    assert bench.driven == [("tester", 4, level)]
    assert (driven.channel, driven.value, driven.caused) == ("due.7", value, True)
    assert (driven.early_usec, driven.late_usec) == (0, 1200)
    assert driven.time_usec == driven.noted_ns // 1000


def test_a_line_of_a_real_board_that_is_not_wired_cannot_be_driven(bench):
    with pytest.raises(DeviceError, match="line 8 of 'due' is not wired to a tester") as error:
        bench.stimulus.drive("due", 8, True)
    assert 'add "due.8" to [wiring]' in error.value.remedy


def test_only_lines_of_virtual_boards_and_wired_ones_can_be_driven(bench):
    drives = bench.stimulus.drives
    assert (drives("uno", 3), drives("due", 7), drives("due", 8)) == (True, True, False)


def test_the_hosts_delays_are_counted_from_each_stimulus_on(bench):
    bench.stimulus.drive("uno", 7, False)
    bench.stimulus.drive("due", 7, False)
    assert bench.marks == 2


def test_a_level_is_the_pins_own_or_what_was_last_reported(bench):
    assert bench.stimulus.level("uno", 3) is True
    assert bench.stimulus.level("due", 3) is False
    bench.history.add([Event("due.fmdata.3", 10, 1)])
    assert bench.stimulus.level("due", 3) is True


def test_at_the_start_wired_lines_are_released_and_devices_without_a_socket_are_left_out(
    bench, tmp_path
):
    bench.stimulus.connect(tmp_path, ["due", "eye"], {})
    assert bench.driven == [("tester", 4, None)]
    bench.stimulus.close()
    assert bench.boards == {}
