"""Closing a session while it connects: only the connecting thread closes the line."""

from __future__ import annotations

import os
import threading

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.session import Session, SessionState
from mlink_drivers.firmata.link.transport import DeviceLostError
from mlink_drivers.firmata.wire.protocol import SysexId
from tests.support.boards.scripted_board import (
    UNO_PINS,
    analog_mapping_reply,
    capability_reply,
    firmware_reply,
    sysex,
)


class ScriptedLine:
    """A transport in memory; `on_write` is called during a write, `on_read` after a read."""

    baud_rate = 57_600
    adapter_latency_usec = 0
    latency_report = ""
    can_change_baud_rate = False

    def __init__(self, address="memory"):
        self.address = address
        self.name = "Test.ino"
        self.written = []
        self.closes = 0
        self.on_write = self.on_read = lambda: None
        self._waiting = b""
        self._fd = -1

    def open(self):
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self):
        return self._fd

    def discard_input(self):
        pass

    def write(self, data):
        self.written.append(data)
        self.on_write()
        answers = {
            b"\xf9": b"\xf9\x02\x05",
            sysex(SysexId.REPORT_FIRMWARE): firmware_reply(self.name),
            sysex(SysexId.CAPABILITY_QUERY): capability_reply(UNO_PINS),
            sysex(SysexId.ANALOG_MAPPING_QUERY): analog_mapping_reply(UNO_PINS),
        }
        self._waiting += b"".join(reply for query, reply in answers.items() if query in data)
        if self._waiting:
            os.eventfd_write(self._fd, 1)

    def read(self):
        if self._waiting:
            os.eventfd_read(self._fd)
        data, self._waiting = self._waiting, b""
        self.on_read()
        return data

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.closes += 1


class Deaf:
    """A listener of a board that is silent once it is connected."""

    def on_message(self, message, arrival_ns):
        raise AssertionError(message)

    on_loss = on_fault = on_message


@pytest.fixture
def line():
    return ScriptedLine()


@pytest.fixture
def session(line):
    session = Session(line, Deaf(), name="uno", handshake_timeout_s=5)
    yield session
    session.close()


def test_a_session_that_is_left_alone_connects(session):
    with pytest.raises(DeviceError, match="not known"):
        _ = session.description
    assert session.connect().firmware_name == "Test.ino"
    assert session.state is SessionState.CONNECTED


def test_closed_during_the_first_request_it_waits_and_asks_no_more(line, session):
    fed = []
    feed = session.decoder.feed
    session.decoder.feed = lambda data: (fed.append(data), feed(data))[1]

    def close():
        session.close()
        assert line.closes == 0  # the line belongs to the thread that connects

    line.on_write = close
    with pytest.raises(DeviceError, match="memory was closed while connecting"):
        session.connect()
    assert len(line.written) == 1
    assert fed == []
    assert session.state is SessionState.CLOSED
    assert line.closes == 1


def test_closed_between_the_two_halves_of_the_handshake_it_does_not_ask_for_pins(line, session):
    line.on_read = session.close
    with pytest.raises(DeviceError, match="memory was closed while connecting"):
        session.connect()
    assert len(line.written) == 1
    assert line.closes == 1


def test_closed_when_the_last_answer_has_come_it_is_not_connected(line, session):
    line.on_read = lambda: session.close() if len(line.written) == 2 else None
    with pytest.raises(DeviceError, match="is closed and cannot become connected"):
        session.connect()
    assert session.state is SessionState.CLOSED
    assert line.closes == 1
    assert not [thread for thread in threading.enumerate() if "firmata-reader" in thread.name]


def test_a_closed_session_sends_no_farewell_to_a_board_it_was_not_connected_to(line, session):
    line.on_write = lambda: session.close(b"\xd0\x00")
    with pytest.raises(DeviceError):
        session.connect()
    assert b"\xd0\x00" not in b"".join(line.written)


def test_another_board_is_refused_before_it_can_be_sent_to(line, session):
    session.connect()
    session._listener.on_loss = lambda error: None
    session.drop(DeviceError("pulled"))
    stranger = ScriptedLine("elsewhere")
    stranger.name = "Other.ino"
    with pytest.raises(DeviceError, match=r"at elsewhere is another board: it runs Other\.ino"):
        session.reconnect(stranger)
    assert session.state is SessionState.CLOSED
    assert stranger.closes == 1
    assert len(stranger.written) == 2  # the handshake, and no reset or farewell after it
    assert session.description.firmware_name == "Test.ino"
    again = ScriptedLine("third")
    session.reconnect(again)
    assert session.description.address == "third"


def test_the_farewell_is_written_while_the_session_is_connected(line, session):
    session.connect()
    states = []
    line.on_write = lambda: states.append(session.state)
    session.close(b"\xd0\x00")
    assert states == [SessionState.CONNECTED]
    assert line.written[-1] == b"\xd0\x00\xff"
    assert session.state is SessionState.CLOSED


def test_a_farewell_that_cannot_be_sent_is_a_warning(line, session, caplog):
    session.connect()

    def fail():
        raise DeviceLostError("the cable is out")

    line.on_write = fail
    session.close(b"\xd0\x00")
    assert "the reset at the end could not be sent" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"
    assert session.state is SessionState.CLOSED
