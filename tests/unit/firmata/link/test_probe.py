"""Asking who is on a port without disturbing whoever it is."""

from __future__ import annotations

import os
import threading

import pytest
import serial

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.probe import ask_firmware, probe
from tests.support.boards.scripted_board import ScriptedBoard, open_descriptors


def test_a_board_reports_its_firmware_version_and_pins():
    with ScriptedBoard() as board:
        result = probe(board.path)
    assert (result.firmware, result.version, result.protocol) == (
        "StandardFirmata.ino",
        "2.5",
        "2.5",
    )
    assert (result.pins, result.analog_inputs, result.reason) == (20, 6, "")
    expected = "StandardFirmata.ino 2.5 (Firmata 2.5), 20 pins, 6 of them analog inputs"
    assert str(result) == expected


def test_nothing_is_sent_but_queries():
    with ScriptedBoard() as board:
        probe(board.path)
        os.write(board._slave, b"\xf5\x02\x00")  # travels behind what the probe has sent
        board.wait_for(b"\xf5\x02\x00")
        sent = set(board.received) - {b"\xf5\x02\x00"}
    assert sent == {b"\xf9", b"\xf0\x79\xf7", b"\xf0\x6b\xf7", b"\xf0\x69\xf7"}


def test_a_board_that_still_boots_is_waited_for():
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.7, setattr, (board, "mute", False))
        timer.start()
        assert probe(board.path).firmware == "StandardFirmata.ino"
        timer.join()


def test_a_silent_port_is_given_up():
    with ScriptedBoard(mute=True) as board:
        result = probe(board.path, timeout_s=0.2)
    assert "nothing was received within 0.2 s" in result.reason
    assert result.remedy


def test_other_firmware_shows_its_bytes():
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.05, board.send, (b"Grbl 1.1f\r\n",))
        timer.start()
        result = probe(board.path, timeout_s=0.3)
        timer.join()
    assert "|Grbl 1.1f..|" in result.reason


def test_a_port_in_use_is_left_alone():
    with ScriptedBoard() as board, serial.Serial(board.path, exclusive=True):
        result = probe(board.path)
        assert board.received == []
    assert "is held by another program" in result.reason


@pytest.mark.parametrize("address", ["/dev/ttyNOPE0", "spy://nowhere"])
def test_what_cannot_be_opened_has_a_reason(address):
    assert address.rpartition("/")[2] in probe(address).reason


def test_a_port_that_vanishes_has_a_reason():
    with ScriptedBoard(unplug_on=b"\xf9") as board:
        assert "went away" in probe(board.path).reason


def test_the_firmwares_name_alone_is_an_error_when_there_is_none():
    with ScriptedBoard(name="Servos.ino") as board:
        assert ask_firmware(board.path) == "Servos.ino"
    with pytest.raises(DeviceError, match="there is no device at"):
        ask_firmware("/dev/ttyNOPE0")


def test_probing_leaks_nothing():
    with ScriptedBoard() as board:
        probe(board.path)
        before = open_descriptors()
        for _ in range(20):
            probe(board.path)
        assert open_descriptors() == before
