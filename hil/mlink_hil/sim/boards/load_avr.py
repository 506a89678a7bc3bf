"""Loads the AVR simulator, which is an optional dependency (the extra `sim`)."""

from __future__ import annotations

from pathlib import Path

from mlink.errors import DeviceError
from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.sim.boards.board import Board


def load_avr_board(firmware: Path, firmware_name: str = "", kind: BoardKind = UNO) -> Board:
    """Return a simulated board with a firmware.

    Args:
        firmware: Intel hex or ELF file.
        firmware_name: Name to report; by default the file's.
        kind: The board.

    Raises:
        DeviceError: yasimavr cannot be imported, or the firmware cannot be loaded.
    """
    try:
        from mlink_hil.sim.boards.avr_board import AvrBoard
    except ImportError as error:
        raise DeviceError(
            f"the AVR simulator cannot be loaded: {error}",
            remedy="pip install 'mlink-hil[sim]' (it needs g++ and libelf-dev)",
        ) from error
    board = AvrBoard(firmware, kind)
    board.firmware = firmware_name or board.firmware
    return board
