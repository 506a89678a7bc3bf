"""The hex files of mlink's firmware that are installed, by the board they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mlink.errors import DeviceError

_IMAGES: Final = {
    "uno": "uno",
    "nano": "nano",
    "nano-old": "nano",
    "mega": "mega",
    "leonardo": "leonardo",
}
"""Board to image; that of a Nano is the same whichever bootloader it has."""


def firmware_path(board: str) -> Path:
    """Return the Intel hex file for a board.

    Args:
        board: `uno`, `nano`, `nano-old` (old bootloader), `mega` or `leonardo`.

    Raises:
        DeviceError: mlink has no firmware for this board, or the file is not installed.
    """
    if board not in _IMAGES:
        known = ", ".join(_IMAGES)
        raise DeviceError(f"there is no firmware for '{board}'", remedy=f"Known: {known}.")
    name = f"mlink_firmata-{_IMAGES[board]}.hex"
    here = Path(__file__).resolve()
    installed = here.parent / "prebuilt"
    in_repository = here.parents[3] / "firmware" / "prebuilt"
    for folder in (installed, in_repository):
        if (folder / name).exists():
            return folder / name
    raise DeviceError(
        f"firmware file {name} not found", remedy="Build it: make -C firmware prebuilt"
    )
