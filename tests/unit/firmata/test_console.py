"""The console on a board: each command, what it shows, and its errors."""

from __future__ import annotations

import contextlib
import io

import pytest
from rich.console import Console

from mlink.errors import DeviceError
from mlink_drivers.firmata.console import BoardConsole, run_console
from mlink_drivers.firmata.wire.protocol import StringData
from tests.support.boards.i2c_answers import answer_i2c
from tests.support.boards.scripted_board import UNO_PINS, ScriptedBoard, sysex


class Seen:
    """A console on a scripted board, and what it has shown."""

    def __init__(self, scripted):
        self.scripted = scripted
        self._file = io.StringIO()
        self.screen = Console(file=self._file, width=100, highlight=False)
        self.console = BoardConsole(scripted.path, self.screen, name="uno", baud_rate=57600)

    def type(self, line):
        before = len(self._file.getvalue())
        self.going_on = self.console.execute(line)
        return self._file.getvalue()[before:]


@pytest.fixture
def scripted():
    with ScriptedBoard() as scripted:
        yield scripted


@pytest.fixture
def seen(scripted):
    seen = Seen(scripted)
    with seen.console:
        yield seen


def answer_states(scripted):
    """Let the board answer pin-state queries: mode 1 and value 1 for all."""
    answer = scripted._answer

    def with_states(message):
        if message[:2] == b"\xf0\x6d":
            scripted.send(sysex(0x6E, (message[2], 1, 1)))
        answer(message)

    scripted._answer = with_states


def test_texts_of_the_board_control_no_terminal(scripted, caplog):
    scripted.name = "\x1b[31mred"
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        run_console(scripted.path, commands=["info"])
    assert "\x1b" not in shown.getvalue()
    seen = Seen(scripted)
    with seen.console:
        seen.console._on_other(StringData("\x1b]0;owned\x07"), 0)
    assert r"reports: \x1b]0;owned\x07" in caplog.text


def test_info_shows_the_board_and_its_line(seen):
    text = seen.type("info")
    assert "StandardFirmata.ino 2.5 at /dev/pts/" in text
    assert "Firmata 2.5, 57600 baud" in text


def test_pins_are_listed_with_modes_and_values(seen, scripted):
    answer_states(scripted)
    lines = seen.type("pins").splitlines()
    assert lines[0].split() == ["pin", "is", "value", "can", "do"]
    (nine,) = [line for line in lines if line.startswith("9 ")]
    assert nine.split()[:4] == ["9", "digital", "output", "1"]
    assert "PWM (8 bits)" in nine
    assert any(line.startswith("14 (A0)") for line in lines)


def test_an_output_is_set_and_switched(seen, scripted):
    seen.type("mode 13 output")
    seen.type("write 13 1")
    scripted.wait_for(b"\xf5\x0d\x01")
    seen.type("pulse 12 5")
    scripted.wait_for(b"\xf5\x0c\x00")


def test_pwm_and_servo_take_numbers(seen, scripted):
    seen.type("write 9 200")
    scripted.wait_for(b"\xe9\x48\x01")
    seen.type("mode 3 servo")
    seen.type("write 3 90")
    scripted.wait_for(b"\xe3\x5a\x00")
    seen.type("write 3 1")
    scripted.wait_for(b"\xe3\x01\x00")


def test_an_input_is_read(seen, scripted):
    scripted.port_states[0] = 0b100
    seen.type("mode 2 pullup")
    assert seen.type("read 2") == "2: 1\n"


def test_an_analog_input_is_read_by_its_channel(seen, scripted):
    seen.type("mode A0 analog")
    scripted.send(b"\xe0\x05\x03")
    assert seen.type("read A0") == "14: 389\n"


def test_inputs_are_watched_for_some_time(seen, scripted):
    seen.type("mode 2 input")
    seen.type("read 2")
    text = seen.type("watch 0.1")
    assert "changes or samples" in text
    assert "no inputs" not in text


def test_help_names_every_command_and_empty_lines_do_nothing(seen):
    text = seen.type("help")
    for command in ("pins", "mode", "read", "write", "pulse", "watch", "info", "quit"):
        assert command in text
    assert seen.type("  # nothing") == ""
    assert seen.going_on


def test_quit_ends_it(seen):
    seen.type("quit")
    assert not seen.going_on


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dance", "unknown command 'dance'"),
        ("mode 2", "Write: mode PIN MODE"),
        ("mode 2 loud", "unknown mode 'loud'"),
        ("write two 1", "Write: write PIN VALUE"),
        ("mode A9 analog", "has no analog input A9"),
        ("mode 2 pwm", "cannot be used as PWM"),
        ("mode 2 'x", "cannot be parsed"),
    ],
)
def test_what_cannot_be_done_is_explained(seen, line, expected):
    with pytest.raises(DeviceError) as caught:
        seen.type(line)
    assert expected in str(caught.value)


def test_a_lost_board_ends_it(seen, scripted):
    scripted.unplug()
    with pytest.raises(DeviceError, match="went away"):
        seen.type("watch 5")
    with pytest.raises(DeviceError, match="went away"):
        seen.type("info")


def test_commands_of_the_command_line_are_carried_out_and_the_board_is_reset(scripted):
    run_console(scripted.path, commands=["write 13 1"], console=Console(file=io.StringIO()))
    scripted.wait_for(b"\xff", count=2)
    assert b"\xf5\x0d\x01" in scripted.received


def test_commands_come_from_a_pipe_and_a_mistake_does_not_end_it(scripted, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("dance\nwrite 13 1\nquit\nwrite 12 1\n"))
    shown = io.StringIO()
    run_console(scripted.path, console=Console(file=shown, width=100))
    scripted.wait_for(b"\xf5\x0d\x01")
    assert "unknown command 'dance'" in shown.getvalue()
    assert b"\xf5\x0c\x01" not in scripted.received


@pytest.fixture
def with_i2c():
    pins = (*UNO_PINS[:18], *({**UNO_PINS[18], 6: 1} for _ in range(2)))
    with ScriptedBoard(pins=pins) as scripted:
        yield scripted


def test_devices_on_the_i2c_bus_are_found_read_and_written(with_i2c, caplog):
    answer_i2c(with_i2c, {0x48: b"\x19\xc0", 0x77: b"\x01"})
    seen = Seen(with_i2c)
    with seen.console:
        assert seen.type("i2c") == "I2C devices at 0x48, 0x77\n"
        assert seen.type("i2c 72 2") == "19 c0\n"
        assert seen.type("i2c 0x48 2 0x05") == "19 c0\n"
        with_i2c.wait_for(sysex(0x76, (0x48, 0x08, 5, 0, 2, 0)))
        assert seen.type("i2c 0x49 2") == "no device answers\n"
        seen.type("i2c 0x48 = 1 0xff")
        with_i2c.wait_for(sysex(0x76, (0x48, 0, 1, 0, 0x7F, 1)))
    assert caplog.text == ""


def test_a_board_that_hangs_in_the_scan_is_reported(with_i2c):
    answer_i2c(with_i2c, {}, hangs_at=0x0A)
    seen = Seen(with_i2c)
    with seen.console, pytest.raises(DeviceError, match="since the I2C address 0x0a was read"):
        seen.type("i2c")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("i2c 0x48", "has wrong arguments"),
        ("i2c 0x148 2", "has wrong arguments"),
        ("i2c x 2", "has wrong arguments"),
        ("i2c 0x80 2", "I2C address 0x80 is above 0x7f"),
        ("i2c 0x48 33", "33 bytes cannot be read at once"),
        ("i2c 0x48 0", "0 bytes cannot be read at once"),
    ],
)
def test_wrong_i2c_commands_are_refused(with_i2c, line, message):
    seen = Seen(with_i2c)
    with seen.console, pytest.raises(DeviceError, match=message):
        seen.type(line)


def test_a_board_without_i2c_is_refused(seen):
    with pytest.raises(DeviceError, match="no pin with I2C"):
        seen.type("i2c 0x48 2")
