"""Asking who is on a port without disturbing whoever it is."""

from __future__ import annotations

import os
import threading

import pytest
import serial

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.probe import (
    OTHER_RATE_S,
    PROBE_TIMEOUT_S,
    FirmwareQueries,
    probe,
    probe_with_i2c,
)
from mlink_drivers.firmata.link.transport import SerialTransport
from tests.support.boards.i2c_answers import answer_i2c
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


@pytest.mark.parametrize(
    ("name", "devices", "expected"),
    [
        ("mlink_firmata uno", {0x48: b"\1", 0x68: b"\0"}, ", I2C devices at 0x48, 0x68"),
        ("mlink_firmata uno", {}, ", no I2C device answers"),
        ("StandardFirmata.ino", {0x48: b"\1"}, ""),
    ],
)
def test_the_i2c_bus_of_our_firmware_is_scanned_no_other(name, devices, expected):
    with ScriptedBoard(name=name) as board:
        answer_i2c(board, devices)
        result = probe_with_i2c(board.path)
        requests = [message for message in board.received if message[:2] == b"\xf0\x76"]
    assert str(result) == f"{name} 2.5 (Firmata 2.5), 20 pins, 6 of them analog inputs{expected}"
    assert len(requests) == (112 if expected else 0)


def test_a_board_that_still_boots_is_waited_for():
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.7, setattr, (board, "mute", False))
        timer.start()
        assert probe(board.path).firmware == "StandardFirmata.ino"
        timer.join()


def test_a_silent_port_is_given_up():
    with ScriptedBoard(mute=True) as board:
        result = probe(board.path, timeout_s=0.2)
    reason = f"no Firmata board answers on {board.path}: nothing was received at"
    assert result.reason == f"{reason} 57600, 115200 or 1000000 baud"
    assert "another baud rate, set baud_rate" in result.remedy


@pytest.mark.parametrize("noise", [b"", b"\xf0\x80\xf9\x1c", b"\xf9\x02"])
@pytest.mark.parametrize("baud_rate", [115200, 1000000])
def test_a_board_is_found_at_the_other_rates_of_firmwares(baud_rate, noise):
    with ScriptedBoard(baud_rate=baud_rate, noise=noise) as board:
        result = probe(board.path, timeout_s=1.0)
    assert (result.firmware, result.baud_rate) == ("StandardFirmata.ino", baud_rate)
    assert str(result).endswith(f"6 of them analog inputs, at {baud_rate} baud")


def test_a_rate_of_ones_own_is_tried_first():
    with ScriptedBoard(baud_rate=38400) as board:
        queries = FirmwareQueries(38400)
        assert queries(board.path) == "StandardFirmata.ino"
        assert queries.baud_rate(board.path) == 38400
        assert queries.baud_rate("/dev/other") == 38400
    assert PROBE_TIMEOUT_S + 3 * OTHER_RATE_S < 10  # longest wait for a silent port


def test_an_adapter_without_a_rate_is_queried_at_the_others(monkeypatch):
    set_baud_rate = SerialTransport.set_baud_rate

    def refuse(transport, baud_rate):
        if baud_rate == 115200:
            raise OSError(f"{transport.address} refuses {baud_rate} baud")
        set_baud_rate(transport, baud_rate)

    monkeypatch.setattr(SerialTransport, "set_baud_rate", refuse)
    with ScriptedBoard(baud_rate=1000000) as board:
        assert probe(board.path, timeout_s=1.0).baud_rate == 1000000
    with ScriptedBoard(mute=True) as board:
        assert probe(board.path, timeout_s=0.1).reason.endswith("at 57600 or 1000000 baud")


def test_a_board_that_answers_in_part_is_not_queried_at_other_rates():
    with ScriptedBoard(pins=()) as board:
        board._answer = lambda message: (
            message in (b"\xf9", b"\xf0\x79\xf7") and (ScriptedBoard._answer(board, message))
        )
        reason = probe(board.path, timeout_s=1.0).reason
    assert "speaks Firmata but did not report its capabilities" in reason
    assert "57600 baud" in reason


def test_other_firmware_shows_its_bytes():
    with ScriptedBoard(mute=True) as board:
        timer = threading.Timer(0.05, board.send, (b"Grbl 1.1f\r\n",))
        timer.start()
        result = probe(board.path, timeout_s=0.3)
        timer.join()
    assert "|Grbl 1.1f..|" in result.reason
    assert "57600 baud is not Firmata" in result.reason


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


def test_a_query_for_the_firmwares_name_is_an_error_when_there_is_none():
    with ScriptedBoard(name="Servos.ino") as board:
        assert FirmwareQueries()(board.path) == "Servos.ino"
    with pytest.raises(DeviceError, match="there is no device at"):
        FirmwareQueries()("/dev/ttyNOPE0")


def test_probing_leaks_nothing():
    with ScriptedBoard() as board:
        probe(board.path)
        before = open_descriptors()
        for _ in range(20):
            probe(board.path)
        assert open_descriptors() == before
