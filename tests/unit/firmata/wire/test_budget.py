"""Whether what is reported fits onto the serial line."""

from __future__ import annotations

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.wire.budget import ByteBudget, analog_bytes, i2c_reply_bytes


def budget(lines, interval_msec, baud_rate=57600):
    made = ByteBudget(baud_rate, interval_msec)
    for line in range(lines):
        made.add(line, analog_bytes(line))
    return made


@pytest.mark.parametrize(
    ("lines", "interval_msec", "share"),
    [(1, 1, 0.52), (6, 5, 0.62), (6, 4, 0.78), (3, 2, 0.78), (1, 19, 0.03), (0, 1, 0)],
)
def test_what_fits_is_no_cause_for_words(lines, interval_msec, share):
    made = budget(lines, interval_msec)
    assert made.share == pytest.approx(share, abs=0.01)
    assert made.check("uno") == ""


def test_above_80_percent_is_a_warning():
    warning = budget(5, 3).check("uno")
    assert "5 reported lines take 15 bytes every 3 ms: 87% of what uno can send" in warning
    assert "at 57600 baud" in warning


def test_above_100_percent_is_an_error_with_an_interval_that_fits():
    with pytest.raises(DeviceError, match="104% of what uno can send") as caught:
        budget(2, 1).check("uno")
    assert "sampling_interval_msec = 2 or more" in caught.value.remedy
    assert budget(2, 2).check("uno") == ""


def test_a_faster_line_carries_more():
    assert budget(6, 1, baud_rate=1_000_000).check("uno") == ""


def test_a_line_counts_once_and_no_more_when_it_is_removed():
    made = budget(1, 1)
    made.add(0, 3)
    assert made.share == pytest.approx(0.52, abs=0.01)
    made.remove(0)
    made.remove("never added")
    assert made.share == 0


def test_extended_and_i2c_messages_are_longer():
    assert (analog_bytes(15), analog_bytes(16), i2c_reply_bytes(6)) == (3, 6, 19)


def test_a_bench_is_checked_without_its_board(tmp_path):
    settings = FirmataSettings(analog_lines=(14, 15), sampling_interval_msec=1, fast_baud_rate=0)
    (problem,) = settings.check(tmp_path)
    assert problem.startswith("analog_lines: 2 reported lines take 6 bytes every 1 ms: 104%")
    for fits in (
        FirmataSettings(analog_lines=(14, 15), sampling_interval_msec=2, fast_baud_rate=0),
        FirmataSettings(analog_lines=(14, 15), sampling_interval_msec=1),  # with our firmware
    ):
        assert fits.check(tmp_path) == []


def test_a_line_of_a_table_that_is_no_number_is_named(tmp_path):
    settings = FirmataSettings(decimation={"A0": 5}, safe_values={"13": 0})
    (problem,) = settings.check(tmp_path)
    assert 'decimation: "A0" is not a line number' in problem
