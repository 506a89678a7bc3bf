"""Every type of line: what a script sends, what the board gets, and what comes back."""

from __future__ import annotations

import pytest

from mlink.errors import DeviceError
from mlink.types import LineCommandKind, LineModeFlags
from mlink_drivers.firmata import extra
from mlink_drivers.firmata.wire.protocol import PinMode
from tests.support.boards.firmata_bench import Bench
from tests.support.boards.scripted_board import UNO_PINS, ScriptedBoard, sysex

Kind = LineCommandKind
OUTPUT = LineModeFlags.IS_OUTPUT
WITH_I2C = (*UNO_PINS[:18], *({**UNO_PINS[18], 6: 1} for _ in range(2)))
NANO_PINS = (*UNO_PINS, {2: 10}, {2: 10})


@pytest.fixture
def scripted():
    with ScriptedBoard(pins=WITH_I2C) as scripted:
        yield scripted


@pytest.fixture
def bench(tmp_path, scripted):
    with Bench(tmp_path, scripted, analog_lines=(14, 15), decimation={"15": 3}) as bench:
        yield bench


# -- analog inputs -------------------------------------------------------------------------------


def test_a_line_named_as_analog_is_sampled(bench, scripted):
    bench.set_input(14)
    scripted.wait_for(b"\xc0\x01")
    assert scripted.received[-2] == b"\xf4\x0e\x02"  # the mode first: not all boards sample without
    scripted.send(b"\xe0\x05\x03\xe0\x05\x03\xe0\x00\x00")
    bench.wait_for_readings((14, 389), (14, 389), (14, 0))


def test_the_sampling_interval_is_the_benchs(tmp_path, scripted):
    with Bench(tmp_path, scripted, sampling_interval_msec=200):
        scripted.wait_for(sysex(0x7A, (200 & 127, 200 >> 7)))


def test_a_script_may_set_analog_mode_against_the_settings(bench, scripted):
    bench.ask(extra.pin_mode(PinMode.ANALOG), line=19)
    scripted.wait_for(b"\xc5\x01")
    scripted.send(b"\xe5\x01\x00")
    bench.wait_for_readings((19, 1))


def test_a_pin_that_is_only_analog_needs_no_setting(tmp_path):
    with ScriptedBoard(pins=NANO_PINS) as scripted, Bench(tmp_path, scripted) as bench:
        bench.set_input(21)
        scripted.wait_for(b"\xc7\x01")
        scripted.send(b"\xe7\x02\x00")
        bench.wait_for_readings((21, 2))


def test_a_channel_above_15_uses_the_extended_messages(tmp_path):
    pins = ({},) * 2 + ({2: 10},) * 17
    with ScriptedBoard(pins=pins) as scripted, Bench(tmp_path, scripted) as bench:
        bench.set_input(18)
        scripted.wait_for(sysex(0x64, (16, 1)))
        scripted.send(sysex(0x6F, (16, 0x05, 0x03)))
        bench.wait_for_readings((18, 389))


def test_of_a_decimated_line_the_first_and_then_every_nth_sample_is_sent(bench, scripted):
    bench.set_input(15)
    bench.set_input(14)
    scripted.wait_for(b"\xc0\x01")
    scripted.send(b"".join(bytes((0xE1, n, 0)) for n in range(7)) + b"\xe0\x09\x00")
    bench.wait_for_readings((15, 0), (15, 3), (15, 6), (14, 9))
    bench.module.halt()
    bench.module.drained()
    assert bench.context.reports["samples_decimated"] == 4


def test_a_line_that_is_sampled_no_more_falls_silent(bench, scripted):
    bench.set_input(14)
    bench.send(Kind.SET_MODE, 14, flags=OUTPUT)
    scripted.wait_for(b"\xc0\x00")


def test_analog_lines_that_the_board_has_not_are_refused_before_the_run(tmp_path, scripted):
    bench = Bench(tmp_path, scripted, analog_lines=(5,))
    with pytest.raises(DeviceError, match="analog_lines: line 5 of StandardFirmata") as caught:
        bench.module.prepare()
    assert "pin 5 can do: digital input, pull-up, digital output, PWM (8 bits)" in str(caught.value)
    bench.module.close()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"decimation": {"5": 3}}, "decimation: line 5 of .* cannot be used as analog input"),
        ({"safe_values": {"99": 1}}, "safe_values: line 99 of .* cannot be used as digital output"),
        ({"safe_values": {"9": 256}}, "value 256 is out of range for line 9"),
        (  # a heater at a quarter of its power would be switched on
            {"safe_values": {"9": 64}, "safe_state_msec": 500},
            "line 9 cannot have the value 64 with safe_state_msec: .* sets lines low or high",
        ),
        (
            {"safe_values": {"9": 90}, "servo_lines": (9,), "safe_state_msec": 500},
            "line 9 cannot have the value 90 with safe_state_msec",
        ),
    ],
)
def test_values_that_the_board_would_not_take_are_refused_before_the_run(
    tmp_path, scripted, settings, problem
):
    bench = Bench(tmp_path, scripted, **settings)
    with pytest.raises(DeviceError, match=problem):
        bench.module.prepare()
    bench.module.close()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_levels_are_safe_values(tmp_path, scripted, value):
    with Bench(tmp_path, scripted, safe_values={"9": value}, safe_state_msec=500):
        pass


def test_sampling_that_fills_the_line_is_a_warning_before_the_run(tmp_path, scripted, caplog):
    lines = (14, 15, 16, 17, 18)
    with Bench(tmp_path, scripted, analog_lines=lines, sampling_interval_msec=3):
        assert "5 reported lines take 15 bytes every 3 ms: 87%" in caplog.text


def test_sampling_that_does_not_fit_is_refused_before_the_run(tmp_path, scripted):
    bench = Bench(tmp_path, scripted, analog_lines=(14, 15), sampling_interval_msec=1)
    with pytest.raises(DeviceError, match="104% of what StandardFirmata"):
        bench.module.prepare()
    bench.module.close()


@pytest.mark.parametrize(("version", "warns"), [((2, 3), True), ((2, 5), False)])
def test_an_interval_that_the_firmware_does_not_take_is_a_warning(tmp_path, caplog, version, warns):
    with (
        ScriptedBoard(version=version) as scripted,
        Bench(tmp_path, scripted, sampling_interval_msec=5),
    ):
        pass
    assert ("samples every 10 ms at best, not every 5 ms" in caplog.text) is warns


def test_a_line_too_many_during_the_run_is_refused(tmp_path, scripted):
    settings = {"analog_lines": (14,), "sampling_interval_msec": 1}
    with Bench(tmp_path, scripted, **settings) as bench:
        bench.set_input(14)
        bench.ask(extra.pin_mode(PinMode.ANALOG), line=15)
        assert "2 reported lines take 6 bytes every 1 ms: 104%" in bench.failure()


# -- PWM, servo, pulses --------------------------------------------------------------------------


def test_an_analog_pulse_goes_back_to_zero(bench, scripted):
    bench.send(Kind.WRITE_ANALOG_PULSE, 9, value=255, duration_usec=5000)
    scripted.wait_for(b"\xe9\x7f\x01")
    scripted.wait_for(b"\xe9\x00\x00")


def test_a_servos_pulse_widths_are_set_by_a_script(bench, scripted):
    bench.ask(extra.servo_config(1000, 2000), line=3)
    bench.send(Kind.WRITE_ANALOG, 3, value=90)
    scripted.wait_for(b"\xe3\x5a\x00")
    config = sysex(0x70, (3, 1000 & 127, 1000 >> 7, 2000 & 127, 2000 >> 7))
    assert config in scripted.received
    assert b"\xf4\x03\x03" not in scripted.received  # never made a PWM pin


def test_a_servo_line_is_not_moved_by_its_mode(tmp_path, scripted):
    with Bench(tmp_path, scripted, servo_lines=(9,)) as bench:
        bench.send(Kind.SET_MODE, 9, flags=OUTPUT)
        scripted.wait_for(b"\xf4\x09\x04")
        bench.send(Kind.WRITE_DIGITAL, 13, value=1)
        scripted.wait_for(b"\xf5\x0d\x01")
        assert not [message for message in scripted.received if message[0] == 0xE9]


def test_pulses_are_recorded_as_commanded_and_as_sent(bench, scripted):
    before = bench.context.clock.now_usec()
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=20_000)
    row = bench.wait_for_row("pulses", lambda row: row[0] == "13")
    _, asked, commanded, started, ended = map(int, row[:5])
    assert row[5:] == ["host", "", ""]
    assert asked == 20_000
    assert before <= commanded <= started < ended
    assert 20_000 <= ended - started < 200_000
    header = bench.context.outputs["pulses"].metadata["table_header"]
    assert header[:5] == [
        "line",
        "asked_usec",
        "commanded_usec",
        "start_sent_usec",
        "end_sent_usec",
    ]
    assert header[5:] == ["timed_by", "first_edge_usec", "last_edge_usec"]


def test_pulses_that_flow_together_end_together_and_are_recorded_each(bench):
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=30_000)
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=40_000)
    bench.wait_for_row("pulses", lambda row: row[1] == "40000")
    first, second = bench.rows("pulses")
    assert first[1] == "30000"
    assert first[4] == second[4]


def test_a_pulse_cut_short_by_a_write_ends_with_it(bench):
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=60_000_000)
    bench.send(Kind.WRITE_DIGITAL, 13, value=0)
    (row,) = bench.rows("pulses")
    assert int(row[4]) - int(row[3]) < 1_000_000


def test_a_pulse_that_outlasts_the_run_has_no_end(bench):
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=60_000_000)
    bench.module.halt()
    bench.module.stop()
    (row,) = bench.rows("pulses")
    assert row[4] == ""
    bench.module.drained()
    assert len(bench.rows("pulses")) == 1


def test_without_a_listener_no_pulse_is_recorded(tmp_path, scripted):
    bench = Bench(tmp_path, scripted)
    bench.context.outputs["pulses"].connected = False
    with bench:
        bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=1000)
        scripted.wait_for(b"\xf5\x0d\x00")
    assert bench.rows("pulses") == []


def test_a_line_that_becomes_an_input_in_its_pulse_is_not_written_to(bench, scripted):
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=20_000)
    bench.set_input(13)
    bench.send(Kind.WRITE_DIGITAL_PULSE, 12, duration_usec=20_000)
    scripted.wait_for(b"\xf5\x0c\x00")  # ends after the other would have: it began later
    assert b"\xf5\x0d\x00" not in scripted.received


# -- I2C and sysex -------------------------------------------------------------------------------


def test_an_i2c_register_is_read(bench, scripted):
    bench.ask(extra.i2c_read(0x68, 2, 0x3B))
    scripted.wait_for(sysex(0x76, (0x68, 0b01000, 0x3B, 0, 2, 0)))
    assert sysex(0x78, (0, 0)) in scripted.received  # I2C is switched on by itself
    scripted.send(sysex(0x77, (0x68, 0, 0x3B, 0, 0x7F, 0x01, 0x01, 0)))
    row = bench.wait_for_row("replies", lambda row: row[1] == "i2c")
    assert row[1:] == ["i2c", "104", "59", "ff 01"]
    assert int(row[0]) <= bench.context.clock.now_usec()


def test_i2c_is_written_and_read_continuously_and_stopped(bench, scripted):
    bench.ask(extra.i2c_config(300))
    scripted.wait_for(sysex(0x78, (300 & 127, 300 >> 7)))
    bench.ask(extra.i2c_write(0x68, b"\x6b\xff"))
    scripted.wait_for(sysex(0x76, (0x68, 0, 0x6B, 0, 0x7F, 1)))
    bench.ask(extra.i2c_read(0x68, 6, 0x3B, continuously=True))
    scripted.wait_for(sysex(0x76, (0x68, 0b10000, 0x3B, 0, 6, 0)))
    bench.ask(extra.i2c_stop(0x68))
    scripted.wait_for(sysex(0x76, (0x68, 0b11000)))
    assert scripted.received.count(sysex(0x78, (0, 0))) == 0


def test_continuous_i2c_counts_in_the_byte_budget(tmp_path, scripted):
    with Bench(tmp_path, scripted, sampling_interval_msec=5) as bench:
        bench.ask(extra.i2c_read(0x68, 14, 0x3B, continuously=True))
        assert "35 bytes every 5 ms: 122%" in bench.failure()


def test_i2c_on_a_board_without_it_is_an_error(tmp_path):
    with ScriptedBoard() as scripted, Bench(tmp_path, scripted) as bench:
        bench.ask(extra.i2c_read(0x68, 1))
        assert "has no pin with I2C" in bench.failure()


def test_sysex_of_ones_own_firmware_goes_through_both_ways(bench, scripted):
    bench.ask(extra.sysex(0x0A, b"\x01\x7f"))
    scripted.wait_for(sysex(0x0A, (1, 0x7F)))
    scripted.send(sysex(0x0B, (2, 3)))
    row = bench.wait_for_row("replies", lambda row: row[1] == "sysex")
    assert row[2:] == ["11", "", "02 03"]


def test_a_pins_state_is_answered(bench, scripted):
    bench.ask(extra.pin_state(), line=9)
    scripted.wait_for(sysex(0x6D, (9,)))
    scripted.send(sysex(0x6E, (9, 3, 0x48, 1)))
    row = bench.wait_for_row("replies", lambda row: row[1] == "pin-state")
    assert row[2:] == ["9", "3", "200"]


def test_a_text_of_the_board_is_logged_as_its_own_and_noted(bench, scripted, caplog):
    scripted.send(sysex(0x71, b"N\0o\0"))
    bench.wait_for_event("says")
    assert "uno (virtual:uno) reports: No" in caplog.text
    assert bench.wait_for_row("replies", lambda row: row[1] == "string")[4] == "No"


@pytest.mark.parametrize(
    ("request_", "line", "expected"),
    [
        (b"", 9, "extra bytes '' of a DEVICE_SPECIFIC command for StandardFirmata.ino"),
        (b"\x99", 9, "byte 0 is 0x99"),
        (extra.pin_mode(PinMode.PWM), 2, "line 2 of StandardFirmata.ino 2.5 at /dev/pts/"),
        (extra.pin_mode(PinMode.PWM), 2, "cannot be used as PWM"),
        (extra.servo_config(), 0, "cannot be used as servo"),
        (extra.pin_state(), 99, "has no line 99"),
    ],
)
def test_what_cannot_be_done_is_explained(bench, request_, line, expected):
    bench.ask(request_, line)
    assert expected in bench.failure()


def test_each_table_has_a_header(bench):
    headers = {
        port: bench.context.outputs[port].metadata["table_header"]
        for port in ("events", "replies", "pulses")
    }
    assert headers["events"] == ["time_usec", "event", "detail"]
    assert headers["replies"] == ["time_usec", "kind", "source", "register", "data"]


# -- lines of the I2C bus ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [PinMode.INPUT, PinMode.ANALOG, PinMode.OUTPUT])
def test_a_line_in_use_is_not_taken_by_i2c_without_a_word(bench, scripted, mode):
    bench.ask(extra.pin_mode(mode), line=18)
    bench.ask(extra.i2c_read(0x48, 2))
    failure = bench.failure()
    assert "line 18" in failure
    assert "I2C needs it" in failure
    assert not any(message[:2] == b"\xf0\x78" for message in scripted.received)


@pytest.mark.parametrize("kind", [Kind.SET_MODE, Kind.WRITE_DIGITAL])
def test_a_line_of_a_bus_in_use_is_not_taken_from_it(bench, kind):
    bench.ask(extra.i2c_read(0x48, 2, continuously=True))
    bench.send(kind, 19, flags=LineModeFlags.IS_INPUT)
    assert "is SDA or SCL of the I2C bus" in bench.failure()
