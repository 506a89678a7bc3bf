"""The module firmata-io: commands in, readings out, and every way its run can end."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mlink.errors import DeviceError
from mlink.types import LineCommandKind, LineModeFlags, LineReading
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.identity import PortIdentity, resolve
from tests.support.boards.firmata_bench import Bench
from tests.support.boards.scripted_board import ScriptedBoard, sysex
from tests.support.fake_context import FakeContext

Kind = LineCommandKind
INPUT, OUTPUT, PULL_UP = LineModeFlags.IS_INPUT, LineModeFlags.IS_OUTPUT, LineModeFlags.PULL_UP


@pytest.fixture
def scripted():
    with ScriptedBoard() as scripted:
        yield scripted


@pytest.fixture
def bench(tmp_path, scripted):
    with Bench(tmp_path, scripted) as bench:
        yield bench


# -- readings ----------------------------------------------------------------------------------


def test_an_input_gives_a_first_reading_and_then_one_for_each_change(bench, scripted):
    bench.set_input(2, INPUT | PULL_UP)
    bench.wait_for_readings((2, 0))
    scripted.set_pin(2, 1)
    scripted.report(0)  # nothing changed: no reading
    scripted.set_pin(2, 0)
    bench.wait_for_readings((2, 0), (2, 1), (2, 0))
    assert b"\xf4\x02\x0b" in scripted.received
    assert b"\xd0\x01" in scripted.received


def test_an_input_without_pull_up_is_a_plain_input(bench, scripted):
    bench.set_input(4)
    scripted.wait_for(b"\xf4\x04\x00")


def test_a_pin_that_is_no_input_gives_no_reading(bench, scripted):
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    scripted.set_pin(3, 1)
    scripted.set_pin(2, 1)
    bench.wait_for_readings((2, 0), (2, 1))


def test_a_change_of_one_input_gives_no_reading_of_its_neighbour(bench, scripted):
    bench.set_input(2)
    bench.set_input(3)
    bench.wait_for_readings((2, 0), (3, 0))
    scripted.set_pin(3, 1)
    bench.wait_for_readings((2, 0), (3, 0), (3, 1))


def test_a_report_sent_before_the_mode_was_set_is_ignored(bench, scripted):
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    scripted.port_states[0] = 0b1000  # line 3 is high, but the report under way has it low
    answer = scripted._answer

    def late_report(message):
        if message == b"\xf4\x03\x00":
            scripted.send(b"\x90\x04\x00")
        answer(message)

    scripted._answer = late_report
    bench.set_input(3)
    bench.wait_for_readings((2, 0), (2, 1), (2, 0), (3, 1))


def test_an_input_whose_fence_was_lost_gives_readings_while_samples_arrive(tmp_path, scripted):
    with Bench(tmp_path, scripted, analog_lines=(14,), sampling_interval_msec=5) as bench:
        answer = scripted._answer
        scripted._answer = lambda message: message == b"\xf9" or answer(message)
        bench.set_input(14)
        bench.set_input(2)
        scripted.port_states[0] = 0b100
        deadline = time.monotonic() + 30
        while (2, 1) not in {(r.line_id, r.value) for r in bench.readings}:
            assert time.monotonic() < deadline, bench.readings
            scripted.send(b"\xe0\x05\x00")  # a sample
            time.sleep(0.02)
        assert bench.context.failures == []


def test_samples_that_cannot_be_are_refused_counted_and_leave_a_gap(tmp_path, scripted, caplog):
    with Bench(tmp_path, scripted, analog_lines=(14,), sampling_interval_msec=5) as bench:
        bench.set_input(14)
        scripted.wait_for(b"\xc0\x01")
        for sample in (b"\xe0\x05\x00", b"\xe0\x05\x10", b"\xe0\x06\x00", b"\xe3\x06\x00"):
            scripted.send(sample)  # 5, 2053 of 10 bits, 6, and one of another channel
        bench.settle()
        assert [(r.line_id, r.value) for r in bench.readings] == [(14, 5), (14, 6)]
        assert bench.context.outputs["fmdata"].lost == 1
        bench.module._chip.levels.look()
        bench.module._chip.report()
        assert bench.context.reports["board_messages_refused"] == 2
        assert "a message of the board is not used: a sample that cannot be" in caplog.text
        for _ in range(2):  # this board has a wider range than it reports
            scripted.send(b"\xe0\x05\x10")
        bench.settle()
        assert [r.value for r in bench.readings] == [5, 6, 2053]


def test_a_line_that_became_an_output_gives_no_more_readings(bench, scripted):
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    bench.send(Kind.SET_MODE, 2, flags=OUTPUT)
    scripted.wait_for(b"\xf4\x02\x01")
    scripted.set_pin(2, 1)
    bench.set_input(3)
    bench.wait_for_readings((2, 0), (3, 0))


def test_a_reading_carries_the_master_time_of_its_arrival(bench, scripted):
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    before = bench.context.clock.now_usec()
    scripted.set_pin(2, 1)
    bench.wait_for_readings((2, 0), (2, 1))
    reading = bench.readings[-1]
    assert isinstance(reading, LineReading)
    wire_usec = 3 * 10 * 10**6 // 57600
    assert before - wire_usec - 1 <= reading.time_usec <= bench.context.clock.now_usec()


def test_the_metadata_has_source_and_uncertainty_of_times(bench):
    metadata = bench.context.outputs["fmdata"].metadata
    assert metadata["time_unit"] == "microseconds"
    assert metadata["timestamp_source"] == "host-arrival"
    assert metadata["uncertainty_usec"] == 1173
    assert metadata["is_digital"] is True
    assert metadata["firmware_name"] == "StandardFirmata.ino"
    assert metadata["firmware_version"] == "2.5"
    assert metadata["board"] == "uno (virtual:uno)"


def test_a_line_named_as_analog_gives_every_sample(tmp_path, scripted):
    with Bench(tmp_path, scripted, analog_lines=(14,), sampling_interval_msec=5) as bench:
        bench.set_input(14)
        scripted.wait_for(b"\xc0\x01")
        scripted.send(b"\xe0\x05\x03\xe0\x05\x03\xe1\x01\x01")
        bench.wait_for_readings((14, 389), (14, 389))
    assert b"\xf4\x0e\x02" in scripted.received
    assert sysex(0x7A, (5, 0)) in scripted.received


# -- commands ----------------------------------------------------------------------------------


def test_an_output_is_set_up_low(bench, scripted):
    bench.send(Kind.SET_MODE, 13, flags=OUTPUT)
    scripted.wait_for(b"\xf5\x0d\x00")
    assert scripted.received[-2:] == [b"\xf4\x0d\x01", b"\xf5\x0d\x00"]


def test_digital_values_are_written_at_once(bench, scripted):
    bench.send(Kind.SET_MODE, 13, flags=OUTPUT)
    bench.send(Kind.WRITE_DIGITAL, 13, value=5)
    scripted.wait_for(b"\xf5\x0d\x01")


def test_boards_before_protocol_2_5_get_port_writes(tmp_path):
    with ScriptedBoard(version=(2, 3)) as scripted, Bench(tmp_path, scripted) as bench:
        bench.send(Kind.WRITE_DIGITAL, 12, value=1)
        bench.send(Kind.WRITE_DIGITAL, 13, value=1)
        scripted.wait_for(b"\x91\x30\x00")


@pytest.mark.parametrize(("duration_usec", "at_least_s"), [(20_000, 0.02), (0, 0.05)])
def test_a_pulse_lasts_as_long_as_asked(bench, scripted, duration_usec, at_least_s):
    bench.send(Kind.SET_MODE, 13, flags=OUTPUT)
    began = time.monotonic()
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, value=0, duration_usec=duration_usec)
    scripted.wait_for(b"\xf5\x0d\x01")
    ended = scripted.wait_for(b"\xf5\x0d\x00", count=2)
    assert ended - began >= at_least_s


def test_a_pulse_holds_up_neither_commands_nor_readings(bench, scripted):
    bench.set_input(2)
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=60_000_000)
    bench.send(Kind.WRITE_DIGITAL, 12, value=1)
    scripted.wait_for(b"\xf5\x0c\x01")
    scripted.set_pin(2, 1)
    bench.wait_for_readings((2, 0), (2, 1))


def test_an_analog_value_goes_to_a_pwm_pin(bench, scripted):
    bench.send(Kind.WRITE_ANALOG, 9, value=200)
    scripted.wait_for(b"\xe9\x48\x01")
    assert scripted.received[-2] == b"\xf4\x09\x03"


def test_a_line_named_as_servo_takes_degrees(tmp_path, scripted):
    with Bench(tmp_path, scripted, servo_lines=(2,)) as bench:
        bench.send(Kind.SET_MODE, 2, flags=OUTPUT)
        bench.send(Kind.WRITE_ANALOG, 2, value=90)
        scripted.wait_for(b"\xe2\x5a\x00")
        assert scripted.received[-2] == b"\xf4\x02\x04"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ((Kind.WRITE_DIGITAL, 0, 1), "line 0 of StandardFirmata.ino 2.5 at /dev/pts/"),
        ((Kind.WRITE_DIGITAL, 0, 1), "pin 0 is not usable"),
        ((Kind.WRITE_DIGITAL, 77, 1), "the board has pins 0 to 19"),
        ((Kind.WRITE_ANALOG, 2, 1), "pin 2 can do: digital input, pull-up, digital output, servo"),
        ((Kind.WRITE_ANALOG, 9, 256), "value 256 is out of range for line 9"),
        ((Kind.UNKNOWN, 9), "does not support the command UNKNOWN"),
        ((Kind.DEVICE_SPECIFIC, 9), "are not valid: it is empty"),
    ],
)
def test_a_command_that_the_pin_cannot_do_is_explained(bench, command, expected):
    bench.send(*command)
    assert expected in bench.failure()


def test_writing_to_an_input_is_refused(bench):
    bench.set_input(2)
    bench.send(Kind.WRITE_DIGITAL, 2, value=1)
    assert "is set up as digital input and cannot be written to" in bench.failure()


# -- connecting and the end ----------------------------------------------------------------------


def test_without_a_device_the_error_names_the_setting(tmp_path):
    context = FakeContext(firmata_io, FirmataSettings(), tmp_path, name="board")
    module = firmata_io.load()(context)
    with pytest.raises(DeviceError, match="no board to connect to") as caught:
        module.prepare()
    assert "device =" in caught.value.remedy
    module.close()


def test_the_serial_port_setting_is_used_without_a_device(tmp_path, scripted):
    settings = FirmataSettings(serial_port=scripted.path)
    module = firmata_io.load()(FakeContext(firmata_io, settings, tmp_path))
    module.prepare()
    module.close()
    assert b"\xf9" in scripted.received


def test_a_failed_connection_leaves_nothing_to_close(tmp_path):
    with ScriptedBoard(mute=True) as scripted:
        bench = Bench(tmp_path, scripted, baud_rate=115200)
        bench.module.settings.handshake_timeout_s = 0.2
        with pytest.raises(DeviceError, match="nothing was received"):
            bench.module.prepare()
        bench.module.close()


def test_a_board_found_by_its_firmware_is_used_at_the_rate_at_which_it_answers(
    tmp_path, monkeypatch
):
    with ScriptedBoard(baud_rate=115200) as scripted:
        port = PortIdentity(scripted.path, vendor_id=0x2341, product_id=0x0043)
        monkeypatch.setattr(
            "mlink_drivers.firmata.module.resolve",
            lambda spec, ask: resolve("firmata:", ports=lambda: [port], ask=ask),
        )
        bench = Bench(tmp_path, scripted)
        bench.module.prepare()
        assert bench.module._session.transport.baud_rate == 115200
        assert bench.module.settings.baud_rate == 115200
        bench.module.close()


def test_no_reading_is_sent_before_start_and_none_after_halt(tmp_path, scripted):
    bench = Bench(tmp_path, scripted)
    bench.module.prepare()
    bench.set_input(2)
    scripted.wait_for(b"\xd0\x01")
    bench.settle()
    assert bench.readings == []
    bench.module.start()
    scripted.set_pin(2, 1)
    bench.wait_for_readings((2, 1))
    bench.module.halt()
    scripted.set_pin(2, 0)
    bench.settle()
    bench.wait_for_readings((2, 1))
    bench.module.close()


def test_commands_are_executed_and_pulses_ended_until_all_is_drained(bench, scripted):
    bench.send(Kind.WRITE_DIGITAL_PULSE, 12, duration_usec=60_000_000)
    bench.module.halt()
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    bench.module.stop()
    bench.send(Kind.WRITE_DIGITAL, 13, value=0)
    bench.module.drained()
    scripted.wait_for(b"\xf5\x0c\x00")
    bench.module.close()
    scripted.wait_for(b"\xff", count=2)
    writes = [m for m in scripted.received if m[0] == 0xF5]
    assert writes == [b"\xf5\x0c\x01", b"\xf5\x0d\x01", b"\xf5\x0d\x00", b"\xf5\x0c\x00"]


def test_a_command_is_late_by_the_time_since_a_module_sent_it(bench, scripted):
    fmctl = bench.context.inputs["fmctl"]
    now = time.monotonic_ns()
    for sent_ns, value in ((now - 90_000_000, 1), (now - 40_000_000, 0)):
        fmctl.sent_ns = sent_ns
        bench.send(Kind.WRITE_DIGITAL, 13, value)
    bench.module.halt()
    bench.module.drained()
    reports = bench.context.reports
    assert reports["command_late_max_usec"] >= 90_000
    assert reports["commands_late"] == 2
    assert reports["intervals_not_kept"] == 1


def test_figures_are_reported_at_the_end(bench, scripted):
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    scripted.send(b"\x01\x02")
    scripted.set_pin(2, 1)
    bench.wait_for_readings((2, 0), (2, 1))
    bench.module.halt()
    bench.module.drained()
    reports = bench.context.reports
    assert reports["readings_sent"] == 2
    assert reports["commands_executed"] == 1
    assert reports["command_late_max_usec"] > 0
    assert reports["resync_bytes"] == 2
    assert reports["bytes_in"] > 0
    assert reports["bytes_out"] > 0


def test_a_board_left_without_reset_stops_reporting(tmp_path, scripted):
    with Bench(tmp_path, scripted, reset_on_close=False) as bench:
        bench.set_input(2)
        bench.wait_for_readings((2, 0))
    scripted.wait_for(b"\xd0\x00")


def test_an_unplugged_board_ends_the_run_and_is_named(bench, scripted):
    scripted.unplug()
    message = bench.failure()
    assert "board uno (virtual:uno) lost" in message
    assert "Check the cable" in message
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)  # the loss is reported once
    assert len(bench.context.failures) == 1


def test_a_board_that_restarts_ends_the_run(bench, scripted):
    scripted.send(b"\xf9\x02\x05" + sysex(0x79, (2, 5)))
    assert "restarted during the run" in bench.failure()


def test_a_firmwares_complaint_is_logged_as_the_boards(bench, scripted, caplog):
    scripted.send(sysex(0x71, b"N\0o\0"))
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    assert "uno (virtual:uno) reports: No" in caplog.text


def test_a_message_that_is_too_long_is_a_gap_in_the_replies(bench, scripted, caplog):
    for _ in range(2):
        scripted.send(b"\xf0\x01" + b"\x01" * 9000 + b"\xf7")
    bench.settle()
    assert bench.context.outputs["replies"].lost == 2
    assert caplog.text.count("sends messages of more than 8192 bytes") == 1
    bench.module.drained()
    assert bench.context.reports["messages_too_long"] == 2


def test_the_catalogue_loads_no_driver():
    code = (
        "import sys, mlink_drivers.firmata.catalog;"
        "print([m for m in ('serial', 'pyfirmata2', 'mlink_drivers.firmata.link.session')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
