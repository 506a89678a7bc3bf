"""Lets a scripted board answer I2C reads as StandardFirmata does."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.boards.scripted_board import ScriptedBoard, sysex


def answer_i2c(
    scripted: ScriptedBoard, devices: Mapping[int, bytes], hangs_at: int | None = None
) -> None:
    """Let the devices at these addresses send their bytes, and others none.

    Args:
        scripted: The board.
        devices: Address → bytes.
        hangs_at: Address after whose read the board answers nothing any more.
    """
    answer = scripted._answer

    def with_i2c(message: bytes) -> None:
        answer(message)
        if message[:2] != b"\xf0\x76" or message[3] & 0x18 != 0x08 or scripted.mute:
            return
        address = message[2]
        if address == hangs_at:
            scripted.mute = True
            return
        data = devices.get(address, b"")
        if not data:
            text = "I2C: Too few bytes received"
            scripted.send(sysex(0x71, [part for char in text.encode() for part in (char, 0)]))
        body = [address, 0, 0, 0, *(part for byte in data for part in (byte & 127, byte >> 7))]
        scripted.send(sysex(0x77, body))

    scripted._answer = with_i2c  # type: ignore[method-assign]
