"""The pyfirmata2-compatible board: its contract, and each known fault of the library gone."""

from __future__ import annotations

import gc
import threading
import time

import pyfirmata2
import pytest
from serial import SerialException

from mlink.errors import DeviceError
from mlink_drivers.firmata import Board
from mlink_drivers.firmata.link.transport import DeviceLostError
from tests.support.boards.scripted_board import UNO_PINS, ScriptedBoard, open_descriptors, sysex


class Recorder(list):
    """A callback that records its values."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()

    def __call__(self, value):
        with self.changed:
            self.append(value)
            self.changed.notify_all()

    def wait(self, values):
        with self.changed:
            assert self.changed.wait_for(lambda: self == values, 5), self


@pytest.fixture
def scripted():
    with ScriptedBoard() as scripted:
        yield scripted


@pytest.fixture
def board(scripted):
    with Board(scripted.path) as board:
        yield board


MEGA_PINS = tuple({0: 1, 1: 1, 3: 8, 4: 14} for _ in range(54)) + tuple(
    {0: 1, 1: 1, 2: 10} for _ in range(16)
)


def test_it_is_a_pyfirmata2_board_that_knows_its_firmware(board):
    assert isinstance(board, pyfirmata2.Board)
    assert isinstance(board.digital[13], pyfirmata2.Pin)
    assert board.get_firmata_version() == (2, 5)
    assert (board.firmware, board.firmware_version) == ("StandardFirmata.ino", (2, 5))


def test_connecting_does_not_take_five_seconds(scripted):
    began = time.monotonic()
    Board(scripted.path).exit()
    assert time.monotonic() - began < 4.9


def test_an_iterator_switches_sampling_on_and_ends_with_the_board(scripted):
    """The pattern of most public scripts, which never call samplingOn."""
    board = Board(scripted.path)
    iterator = pyfirmata2.util.Iterator(board)
    iterator.start()
    button, calls = board.get_pin("d:2:u"), Recorder()
    button.register_callback(calls)
    button.enable_reporting()
    scripted.wait_for(b"\xd0\x01")
    scripted.set_pin(2, 1)
    with calls.changed:  # the first False may arrive before the callback is registered
        assert calls.changed.wait_for(lambda: calls[-1:] == [True], 5), calls
    board.exit()
    iterator.join(60)
    assert not iterator.is_alive()


def test_a_pin_that_is_read_while_nothing_samples_is_a_warning_once(board, caplog):
    """Scripts that poll without an Iterator wait for ever; the library raises OSError."""
    assert board.get_pin("d:13:o").read() is None  # as scripts do that toggle it
    assert caplog.text == ""
    button = board.get_pin("d:7:i")
    assert button.read() is None
    assert button.read() is None
    assert caplog.text.count("start util.Iterator(board), or call board.samplingOn()") == 1
    caplog.clear()
    board.samplingOn()
    assert board.get_pin("a:0:i").read() is None
    assert caplog.text == ""


def test_a_loop_over_iterate_switches_sampling_on_and_ends_with_the_board(scripted):
    board = Board(scripted.path)
    button = board.get_pin("d:2:u")
    assert button.read() is None  # before the first value
    board.iterate()
    scripted.set_pin(2, 1)
    deadline = time.monotonic() + 60
    while button.read() is not True and time.monotonic() < deadline:
        while board.bytes_available():
            board.iterate()
        board.iterate()
    assert button.read() is True
    board.exit()
    for call in (board.iterate, board.bytes_available):
        with pytest.raises(OSError, match="is not connected any more"):
            call()


def test_a_script_of_the_library_runs(scripted):
    """The library's own usage: get_pin, callbacks, writes, exit."""
    board = Board(scripted.path)
    button, led, calls = board.get_pin("d:2:u"), board.get_pin("d:13:o"), Recorder()
    button.register_callback(calls)
    board.samplingOn(10)
    calls.wait([False])
    scripted.set_pin(2, 1)
    calls.wait([False, True])
    led.write(1)
    scripted.wait_for(b"\xf5\x0d\x01")
    button.unregister_callback()
    board.exit()
    assert b"\xf4\x02\x0b" in scripted.received
    assert sysex(0x7A, (10, 0)) in scripted.received


def test_b1_boards_do_not_share_their_handlers():
    with (
        ScriptedBoard() as one,
        ScriptedBoard() as two,
        Board(one.path) as first,
        Board(two.path) as second,
    ):
        values = [Recorder(), Recorder()]
        for board, calls in zip((first, second), values, strict=True):
            board.get_pin("d:2:i").register_callback(calls)
            board.samplingOn()
            calls.wait([False])
        one.set_pin(2, 1)
        values[0].wait([False, True])
        assert values[1] == [False]
        two.set_pin(2, 1)
        values[1].wait([False, True])
        assert values[0] == [False, True]


def test_b2_any_capability_layout_makes_pins_under_their_own_numbers(board):
    assert [len(board.digital), len(board.analog)] == [20, 6]
    assert board.digital[0].mode == pyfirmata2.UNAVAILABLE
    assert board.digital[14].pin_number == 14
    assert [pin.pin_number for pin in board.digital if pin.PWM_CAPABLE] == [3, 5, 6, 9, 10, 11]
    with pytest.raises(pyfirmata2.InvalidPinDefError):
        board.get_pin("d:0:o")
    with pytest.raises(pyfirmata2.InvalidPinDefError):
        board.get_pin("d:20:o")


def test_analog_channels_above_15_have_values_and_callbacks():
    """A board sends them in sysex 6F: the other message has 4 bits for the channel."""
    pins = tuple({0: 1, 1: 1, 2: 10} for _ in range(20))
    with ScriptedBoard(pins=pins) as scripted, Board(scripted.path) as board:
        last, calls = board.get_pin("a:19:i"), Recorder()
        assert last.read() is None  # before the first value
        last.register_callback(calls)
        board.samplingOn(10)
        scripted.wait_for(sysex(0x64, (19, 1)))
        scripted.send(sysex(0x6F, (19, 0x7F, 7)))
        calls.wait([1.0])
        assert (last.read(), last.raw) == (1.0, 1023)
        board.samplingOff()
        scripted.wait_for(sysex(0x64, (19, 0)))


def test_b3_servo_and_pwm_work_on_pins_above_15():
    with ScriptedBoard(pins=MEGA_PINS) as scripted, Board(scripted.path) as board:
        board.get_pin("d:22:s").write(90)
        scripted.wait_for(sysex(0x6F, (22, 90, 0)))
        board.get_pin("d:24:p").write(1.0)
        scripted.wait_for(sysex(0x6F, (24, 127, 1)))


def test_b4_an_unplugged_board_is_reported_and_exit_gives_the_port_back():
    before = open_descriptors()
    lost = threading.Event()
    reasons = []
    with ScriptedBoard() as scripted:
        board = Board(scripted.path, on_loss=lambda error: (reasons.append(error), lost.set()))
        board.get_pin("d:9:s")
        scripted.unplug()
        assert lost.wait(60)
        assert not board.sp.is_open
        with pytest.raises(DeviceLostError) as caught:
            board.digital[13].write(1)
        assert isinstance(caught.value, SerialException)  # what scripts for the library expect
        board.exit()
    assert "went away" in reasons[0].message
    assert open_descriptors() == before


def test_b5_sampling_can_be_switched_off_and_on_again(scripted, board):
    calls = Recorder()
    board.get_pin("d:2:i").register_callback(calls)
    for values in ([False], [False, True]):
        board.samplingOn()
        calls.wait(values)
        board.samplingOff()
        scripted.set_pin(2, 1)
    board.samplingOn()


def test_b6_a_callback_that_raises_is_reported_and_called_again(scripted, board):
    calls = Recorder()

    def record_then_fail(value):
        calls(value)
        if not value:
            raise AttributeError("oops")

    board.get_pin("d:2:i").register_callback(record_then_fail)
    board.samplingOn()
    calls.wait([False])
    scripted.set_pin(2, 1)
    calls.wait([False, True])
    assert [str(error) for error in board.callback_errors] == ["oops"]


def test_b7_a_truncated_message_does_not_hold_up_exit(scripted, board):
    board.samplingOn()
    scripted.send(b"\xe0\x01")
    began = time.monotonic()
    board.exit()
    assert time.monotonic() - began < 20


def test_b8_only_the_pin_that_changed_calls_back(scripted, board):
    two, three = Recorder(), Recorder()
    board.get_pin("d:2:i").register_callback(two)
    board.get_pin("d:3:i").register_callback(three)
    board.samplingOn()
    two.wait([False])
    three.wait([False])
    scripted.set_pin(3, 1)
    three.wait([False, True])
    assert two == [False]


def test_b9_a_failed_open_raises_and_leaves_no_noise(capfd):
    with pytest.raises(DeviceError, match="there is no device"):
        Board("/dev/ttyNOPE0")
    gc.collect()
    assert capfd.readouterr().err == ""


def test_b10_every_write_is_sent_even_if_nothing_changed(scripted, board):
    led = board.get_pin("d:13:o")
    led.write(1)
    led.write(1)
    scripted.wait_for(b"\xf5\x0d\x01", count=2)


def test_b11_analog_values_are_scaled_by_the_boards_own_resolution():
    pins = (*UNO_PINS[:14], {2: 12, 0: 1, 1: 1})
    with ScriptedBoard(pins=pins) as scripted, Board(scripted.path) as board:
        calls = Recorder()
        board.samplingOn()
        pin = board.get_pin("a:0:i")
        pin.register_callback(calls)
        scripted.wait_for(b"\xc0\x01")
        scripted.send(b"\xe0\x7f\x1f")
        calls.wait([1.0])
        assert pin.raw == 4095


def test_b11_a_sample_beyond_the_boards_resolution_is_refused_and_counted(caplog):
    pins = (*UNO_PINS[:14], {2: 12, 0: 1, 1: 1})
    with ScriptedBoard(pins=pins) as scripted, Board(scripted.path) as board:
        calls = Recorder()
        board.samplingOn()
        pin = board.get_pin("a:0:i")
        pin.register_callback(calls)
        scripted.wait_for(b"\xc0\x01")
        scripted.send(b"\xf0\x6f\x00\x7f\x7f\x03\xf7" + b"\xe0\x00\x20" + b"\xe0\x7f\x1f")
        calls.wait([1.0])  # neither 65535 nor 4096
        assert (pin.raw, board.refused_samples) == (4095, 2)
    refusals = [text for text in caplog.messages if "the sample is not used" in text]
    assert len(refusals) == 1
    assert "sent 65535, but its highest value is 4095" in refusals[0]


def test_b12_an_analog_input_is_set_to_analog_mode_before_it_reports(scripted, board):
    board.get_pin("a:3:i")
    scripted.wait_for(b"\xc3\x01")
    assert scripted.received[-2:] == [b"\xf4\x11\x02", b"\xc3\x01"]


def test_b13_switching_sampling_off_silences_the_board(scripted, board):
    board.get_pin("d:2:i")
    board.get_pin("a:0:i")
    board.samplingOn()
    board.samplingOff()
    scripted.wait_for(b"\xd0\x00")
    scripted.wait_for(b"\xc0\x00")


def test_b14_stray_bytes_call_no_handler(scripted, board):
    called = Recorder()
    board.add_cmd_handler(0x60, called)
    board.add_cmd_handler(0x01, called)
    scripted.send(b"\x60\x01\x02" + sysex(0x01, (5,)))
    called.wait([5])


def test_b15_several_boards_are_listed_instead_of_one_being_guessed(monkeypatch):
    class Port:
        vid = 0x2341
        description = "Uno"

        def __init__(self, device):
            self.device = device

    ports = [Port("/dev/ttyACM0"), Port("/dev/ttyACM1")]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    with pytest.raises(DeviceError, match=r"ttyACM0 \(Uno\), /dev/ttyACM1"):
        Board(Board.AUTODETECT)
    ports.clear()
    with pytest.raises(DeviceError, match="no USB serial port"):
        Board(Board.AUTODETECT)


def test_b16_a_servo_does_not_kick_and_a_pin_beyond_the_last_is_refused(scripted, board):
    board.get_pin("d:9:s")
    scripted.wait_for(b"\xf4\x09\x04")
    assert not [m for m in scripted.received if m[0] == 0xE9]
    board.servo_config(9, angle=45)
    scripted.wait_for(b"\xe9\x2d\x00")
    with pytest.raises(OSError, match="not a valid servo pin"):
        board.servo_config(20)


def test_b17_a_slow_callback_delays_no_other(scripted, board):
    go_on, calls = threading.Event(), Recorder()
    board.get_pin("d:2:i").register_callback(lambda _: go_on.wait(5))
    board.get_pin("d:3:i").register_callback(calls)
    board.samplingOn()
    calls.wait([False])
    scripted.set_pin(3, 1)
    calls.wait([False, True])
    go_on.set()


def test_b18_a_plain_function_gets_all_bytes_of_its_message(scripted, board):
    calls = Recorder()

    def handler(channel, low, high):
        calls((channel, low, high))

    board.add_cmd_handler(0xE0, handler)
    scripted.send(b"\xe1\x05\x03")
    calls.wait([(1, 5, 3)])
    board.add_cmd_handler(0x71, lambda *data: calls(data))
    scripted.send(sysex(0x71, (1, 2)))
    calls.wait([(1, 5, 3), (1, 2)])


def test_b19_the_misspelt_name_stays(scripted, board):
    calls, other = Recorder(), Recorder()
    pin = board.get_pin("d:2:i")
    pin.register_callback(calls)
    runner = pin._runner
    pin.unregiser_callback()
    runner._thread.join(60)
    assert not runner._thread.is_alive()
    board.get_pin("d:3:i").register_callback(other)
    board.samplingOn()
    other.wait([False])
    scripted.set_pin(2, 1)
    scripted.set_pin(3, 1)
    other.wait([False, True])  # its change came behind the one of pin 2
    assert calls == []
    assert pin.read() is True


def test_protocols_before_2_5_get_port_writes():
    with ScriptedBoard(version=(2, 4)) as scripted, Board(scripted.path) as board:
        board.get_pin("d:12:o").write(1)
        board.get_pin("d:13:o").write(1)
        scripted.wait_for(b"\x91\x30\x00")


def test_a_layout_table_of_the_library_is_taken(scripted):
    with Board(scripted.path, pyfirmata2.BOARDS["arduino"]) as board:
        assert len(board.digital) == 14
        board.get_pin("a:0:i")
        scripted.wait_for(b"\xc0\x01")


def test_a_mode_that_the_pin_lacks_is_refused_with_what_it_can(board):
    with pytest.raises(
        OSError, match="pin 2 can do: digital input, pull-up, digital output, servo"
    ):
        board.digital[2].mode = pyfirmata2.PWM


def test_a_forgotten_board_can_be_collected_after_exit(scripted):
    before = open_descriptors()
    board = Board(scripted.path)
    board.exit()
    board.exit()
    del board
    gc.collect()
    assert open_descriptors() == before


@pytest.mark.parametrize("definition", ["nonsense", "d", "d:13", "d:x:o", "d:-1:o", "", [], ["d"]])
def test_a_definition_that_is_none_is_named(scripted, definition):
    with Board(scripted.path) as board:
        with pytest.raises(pyfirmata2.pyfirmata2.InvalidPinDefError, match="'d:13:o'"):
            board.get_pin(definition)
        assert board.get_pin("a:0").pin_number == 0  # as the library
        assert board.get_pin(["d", "12", "o"]).pin_number == 12
