"""A session with a board: handshake, readings with their times, loss, and a clean end."""

from __future__ import annotations

import os
import threading
import time

import pytest
import serial

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.session import Session, SessionState
from mlink_drivers.firmata.link.transport import DeviceLostError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import (
    AnalogValue,
    DigitalPort,
    Oversized,
    StringData,
)
from tests.support.boards.scripted_board import ScriptedBoard, open_descriptors, sysex


class Listener:
    """A listener that records all calls."""

    def __init__(self):
        self.messages = []
        self.losses = []
        self.faults = []
        self.raises = None
        self.changed = threading.Condition()

    def on_message(self, message, arrival_ns):
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        self._keep(self.messages, (message, arrival_ns))

    def on_loss(self, error):
        self._keep(self.losses, error)

    def on_fault(self, error):
        self._keep(self.faults, error)

    def _keep(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 5), (self.messages, self.losses, self.faults)


@pytest.fixture
def listener():
    return Listener()


def session_on(path, listener, **options):
    return Session(open_transport(str(path)), listener, **options)


def failure_of(path, listener, timeout_s=0.4):
    before = open_descriptors()
    session = session_on(path, listener, handshake_timeout_s=timeout_s)
    with pytest.raises(DeviceError) as caught:
        session.connect()
    assert session.state is SessionState.CLOSED
    assert open_descriptors() <= before  # a vanished board of the test closes its own two
    assert caught.value.remedy
    return caught.value.message


# -- handshake ---------------------------------------------------------------------------------


def test_connecting_identifies_the_board_without_a_fixed_wait(listener):
    took_s = []
    while not took_s or (took_s[-1] >= 0.4 and len(took_s) < 20):  # busy machines add to it
        with ScriptedBoard() as board:
            began = time.monotonic()
            with session_on(board.path, listener) as session:
                took_s.append(time.monotonic() - began)
                assert session.state is SessionState.CONNECTED
                description = session.description
    assert min(took_s) < 0.4
    assert description.firmware_name == "StandardFirmata.ino"
    assert description.firmware_version == description.protocol_version == (2, 5)
    assert str(description) == f"StandardFirmata.ino 2.5 at {board.path}"
    assert description.layout.pin_count == 20
    assert description.layout.analog_pins() == {n: 14 + n for n in range(6)}
    assert session.state is SessionState.CLOSED


@pytest.mark.parametrize(
    ("name", "version", "shown"),
    [
        ("", (0, 0), "unknown firmware at there"),  # ConfigurableFirmata may send no name
        ("", (2, 5), "unknown firmware 2.5 at there"),
        ("lab", (0, 0), "lab 0.0 at there"),
    ],
)
def test_a_firmware_without_a_name_is_shown_as_unknown(name, version, shown):
    assert str(BoardDescription("there", (2, 5), name, version, PinLayout())) == shown


def test_a_symbolic_link_to_a_port_is_opened(listener, tmp_path):
    link = tmp_path / "board"
    with ScriptedBoard() as board:
        link.symlink_to(board.path)
        with session_on(link, listener) as session:
            assert session.description.address == str(link)


def test_queries_are_repeated_for_a_board_that_is_still_booting(listener):
    with ScriptedBoard(deaf_rounds=2) as board, session_on(board.path, listener):
        assert board.received.count(b"\xf9") == 3


def test_what_an_earlier_program_left_streaming_does_not_disturb(listener):
    chatter = b"\x03" + b"\xe0\x01\x02" * 500 + b"\xf0\x79\x02"
    with ScriptedBoard(chatter=chatter) as board, session_on(board.path, listener) as session:
        assert session.description.firmware_name == "StandardFirmata.ino"
        assert board.received[0] == b"\xff"


def test_a_silent_port_is_named(listener):
    with ScriptedBoard(mute=True) as board:
        message = failure_of(board.path, listener)
    assert board.path in message
    assert "nothing was received within 0.4 s" in message
    assert "57600 baud" in message


def test_another_firmware_shows_its_bytes(listener):
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.1, board.send, (b"Hello, I am Grbl\r\n",))
        timer.start()
        message = failure_of(board.path, listener)
        timer.join()
    assert "is not Firmata: 18 bytes were received" in message
    assert "48 65 6c 6c 6f" in message
    assert "|Hello, I am Grbl..|" in message


def test_noise_of_a_wrong_baud_rate_is_not_taken_for_a_board(listener):
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.1, board.send, (bytes(range(0x80, 0x100)) * 8,))
        timer.start()
        message = failure_of(board.path, listener)
        timer.join()
    assert "is not Firmata: 1024 bytes were received" in message


def test_a_board_without_capabilities_is_refused(listener):
    with ScriptedBoard() as board:
        board.pins = ()
        board._answer = lambda message, answer=board._answer: (
            None if message == sysex(0x69) else answer(message)
        )
        message = failure_of(board.path, listener)
    assert "did not report its analog mapping" in message


def test_a_port_that_vanishes_during_the_handshake_is_named(listener):
    with ScriptedBoard(unplug_on=sysex(0x79)) as board:
        message = failure_of(board.path, listener, timeout_s=5)
    assert f"{board.path} went away" in message


def test_a_missing_port_is_named_with_what_is_present(listener):
    message = failure_of("/dev/ttyNOPE0", listener)
    assert message == "there is no device at /dev/ttyNOPE0"


def test_a_port_held_by_another_program_names_it(listener):
    with ScriptedBoard() as board, serial.Serial(board.path, exclusive=True):
        message = failure_of(board.path, listener)
    assert f"{board.path} is held by another program" in message
    assert f"pid {os.getpid()}" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_port_without_permission_names_the_group(listener):
    with ScriptedBoard() as board:
        os.chmod(board.path, 0)
        message = failure_of(board.path, listener)
    assert message == f"no permission to open {board.path}"


def test_permission_is_explained_by_the_group(listener, monkeypatch):
    def refuse(*_, **__):
        raise serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(DeviceError, match="no permission to open /dev/ttyACM0") as caught:
        session_on("/dev/ttyACM0", listener).connect()
    assert "dialout" in caught.value.remedy


def test_a_file_that_is_no_port_is_refused(listener, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    assert f"cannot open {path}" in failure_of(path, listener)


def test_a_url_that_no_transport_opens_is_refused():
    with pytest.raises(DeviceError, match="no transport for spy://"):
        open_transport("spy:///dev/ttyACM0")


# -- messages ----------------------------------------------------------------------------------


def test_messages_come_with_the_time_of_their_first_byte(listener):
    with ScriptedBoard() as board, session_on(board.path, listener):
        before_ns = time.monotonic_ns()
        board.send(b"\x90\x04\x00\xe1\x05\x03")
        listener.wait(lambda: len(listener.messages) == 2)
        after_ns = time.monotonic_ns()
    (digital, digital_ns), (analog, analog_ns) = listener.messages
    assert (digital.port, digital.mask) == (0, 4)
    assert isinstance(digital, DigitalPort)
    assert (analog.channel, analog.value) == (1, 389)
    assert isinstance(analog, AnalogValue)
    wire_ns = 6 * 10 * 10**9 // 57600
    assert before_ns - wire_ns <= digital_ns <= analog_ns <= after_ns


def test_a_listener_that_raises_gets_its_exception_and_reading_goes_on(listener):
    with ScriptedBoard() as board, session_on(board.path, listener):
        listener.raises = AttributeError("oops")
        board.send(b"\x90\x04\x00\x90\x00\x00")
        listener.wait(lambda: listener.messages and listener.faults)
        board.send(sysex(0x71, b"h\0i\0"))
        listener.wait(lambda: len(listener.messages) == 2)
    assert str(listener.faults[0]) == "oops"
    assert isinstance(listener.messages[1][0], StringData)


def test_bytes_are_counted(listener):
    with ScriptedBoard() as board, session_on(board.path, listener) as session:
        before = session.statistics
        session.send(encode.digital_pin(13, 1))
        board.wait_for(b"\xf5\x0d\x01")
        board.send(b"\x01\x02\x90\x00\x00")
        listener.wait(lambda: listener.messages)
        after = session.statistics
    assert after.bytes_out - before.bytes_out == 3
    assert after.bytes_in - before.bytes_in == 5
    assert after.dropped_bytes - before.dropped_bytes == 2
    assert after.messages_in == 1


def test_what_is_written_leaves_at_the_baud_rate(listener):
    with ScriptedBoard() as scripted, session_on(scripted.path, listener) as session:
        before_ns = time.monotonic_ns()
        session.send(bytes(5760))  # one second at 57600 baud
        session.send(bytes(2880))
        assert session.sent_ns >= before_ns + 1_500_000_000


def test_a_truncated_message_does_not_hold_up_the_end(listener):
    with ScriptedBoard() as board:
        session = session_on(board.path, listener)
        session.connect()
        board.send(b"\xf0\x79\x02")
        began = time.monotonic()
        session.close()
        assert time.monotonic() - began < 20


def test_an_oversized_sysex_is_dropped_and_counted_and_the_reading_goes_on(listener):
    with ScriptedBoard() as board, session_on(board.path, listener) as session:
        board.send(b"\xf0\x71" + b"\x01" * 3000)
        board.send(b"\x01" * 3000)
        board.send(b"\x01" * 3000 + b"\xf7\x90\x04\x00")
        listener.wait(lambda: len(listener.messages) == 2)
        assert session.statistics.oversized == 1
    assert [type(message) for message, _ in listener.messages] == [Oversized, DigitalPort]


def test_a_sysex_cut_short_by_the_next_message_is_dropped_and_that_one_is_read(listener):
    with ScriptedBoard() as board, session_on(board.path, listener):
        board.send(b"\xf0\x79\x02\x05\x41\x90\x04\x00")
        listener.wait(lambda: listener.messages)
    assert [type(message) for message, _ in listener.messages] == [DigitalPort]


# -- loss and end --------------------------------------------------------------------------------


def test_an_unplugged_board_is_noticed_once(listener):
    with ScriptedBoard() as board, session_on(board.path, listener) as session:
        board.unplug()
        listener.wait(lambda: listener.losses)
        assert session.state is SessionState.LOST
        with pytest.raises(DeviceLostError):
            session.send(b"\xf9")
        session.close()
        assert session.state is SessionState.CLOSED
    assert len(listener.losses) == 1
    assert f"{board.path} went away" in listener.losses[0].message


def test_a_lost_session_connects_again(listener):
    with ScriptedBoard() as board:
        session = session_on(board.path, listener)
        session.connect()
        board.unplug()
        listener.wait(lambda: listener.losses)
    with ScriptedBoard() as board:
        session.transport.address = board.path
        session.connect()
        assert session.state is SessionState.CONNECTED
        board.send(b"\x90\x04\x00")
        listener.wait(lambda: listener.messages)
        session.close()


def test_closing_resets_the_board_after_a_farewell(listener):
    with ScriptedBoard() as board:
        session = session_on(board.path, listener)
        session.connect()
        session.close(encode.report_digital(0, False))
        board.wait_for(b"\xff", count=2)
        assert board.received[-2:] == [b"\xd0\x00", b"\xff"]
        session.close()


def test_a_board_may_be_left_as_it_is(listener):
    with ScriptedBoard() as board:
        with session_on(board.path, listener, reset_on_close=False):
            pass
        os.write(board._slave, b"\xf5\x02\x00")  # travels behind what the session has sent
        board.wait_for(b"\xf5\x02\x00")
        assert board.received.count(b"\xff") == 1


def test_closing_from_the_listener_is_allowed(listener):
    with ScriptedBoard() as board:
        session = session_on(board.path, listener)
        listener.on_message = lambda *_: session.close()
        session.connect()
        reader = session.waiting._thread
        board.send(b"\x90\x00\x00")
        reader.join(60)
        assert session.state is SessionState.CLOSED
        assert session.transport.fileno() == -1
        session.close()


def test_closing_from_another_thread_ends_the_handshake(listener):
    with ScriptedBoard(mute=True) as board:
        session = session_on(board.path, listener, handshake_timeout_s=30)
        timer = threading.Timer(0.1, session.close)
        timer.start()
        began = time.monotonic()
        with pytest.raises(DeviceError, match="closed while connecting"):
            session.connect()
        assert time.monotonic() - began < 25  # of 30
        timer.join()


def test_opening_and_closing_fifty_times_leaks_nothing(listener):
    with ScriptedBoard() as board:
        before = open_descriptors()
        threads = threading.active_count()
        for _ in range(50):
            with session_on(board.path, listener):
                pass
        assert open_descriptors() == before
        assert threading.active_count() == threads


def test_a_session_cannot_connect_twice(listener):
    with ScriptedBoard() as board, session_on(board.path, listener) as session:
        with pytest.raises(DeviceError, match="is connected"):
            session.connect()
        assert session.state is SessionState.CONNECTED


def test_channels_of_pins_that_the_board_has_not_do_not_exist(listener):
    mapping = sysex(0x6A, [127] * 14 + list(range(20)))
    with ScriptedBoard() as scripted:
        answer = scripted._answer
        scripted._answer = lambda message: (
            scripted.send(mapping) if message == sysex(0x69) else answer(message)
        )
        with session_on(scripted.path, listener) as session:
            assert session.description.layout.analog_pins() == {n: 14 + n for n in range(6)}
