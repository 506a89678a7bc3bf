"""`mlink flash`: write mlink's own firmware to a board, with avrdude.

The command line loads this file at every start: it imports what is slow to load when it runs.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mlink.errors import DeviceError
from mlink_drivers.firmware.images import firmware_path

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAMMERS: Final = {
    "uno": ("atmega328p", "arduino", 115_200),
    "nano": ("atmega328p", "arduino", 115_200),
    "nano-old": ("atmega328p", "arduino", 57_600),
    "mega": ("atmega2560", "wiring", 115_200),
    "leonardo": ("atmega32u4", "avr109", 57_600),
}
"""avrdude's part, programmer and baud rate for each board's bootloader."""

_TOUCH_BAUD: Final = 1200
"""Opening the port at this rate starts the bootloader of an ATmega32U4."""

_BOOTLOADER_S: Final = 2.0
"""How long a Leonardo's port may stay away while the bootloader starts."""

_PROGRESS: Final = re.compile(
    r"(Reading|Writing) \| #*|avrdude: (AVR device initialized|Device signature|reading|writing|"
    r"verifying|erasing|input file|load data|safemode|NOTE|\d+ bytes of flash)"
)
"""Lines of avrdude that name no problem."""


def flash(
    device: Annotated[str, typer.Argument(help="The board's serial port, as /dev/ttyACM0.")],
    board: Annotated[
        str, typer.Option("--board", help="uno, nano, nano-old (old bootloader), mega, leonardo.")
    ] = "uno",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the command and do nothing.")
    ] = False,
) -> None:
    """Put mlink's firmware on a board: exact pulses, and edges with the board's own times."""
    import shlex

    command = avrdude_command(device, board, firmware_path(board))
    if dry_run:
        typer.echo(shlex.join(command))
        return
    _check(device)
    if board == "leonardo":
        _start_bootloader(device)
    _run(command, device, board)
    typer.echo(f"{device} now runs mlink_firmata ({board}). Try: mlink devices")


def avrdude_command(device: str, board: str, image: Path) -> list[str]:
    """Return the avrdude call that writes and verifies `image`.

    Args:
        device: Serial port of the board.
        board: A name that `firmware_path` accepts; it selects the bootloader's protocol and rate.
        image: Intel hex file.
    """
    part, programmer, baud_rate = _PROGRAMMERS[board]
    command = ["avrdude", "-p", part, "-c", programmer, "-P", device, "-b", str(baud_rate), "-D"]
    return [*command, "-U", f"flash:w:{image}:i"]


def _check(device: str) -> None:
    if shutil.which("avrdude") is None:
        raise DeviceError("avrdude is missing", remedy="sudo apt-get install avrdude")
    if not Path(device).exists():
        raise DeviceError(
            f"there is no port {device}",
            remedy="Plug the board in, and name its port; mlink devices lists the ports.",
        )


def _start_bootloader(device: str) -> None:
    """Reset an ATmega32U4 into its bootloader, and wait until its port is back."""
    import serial

    try:
        serial.Serial(device, _TOUCH_BAUD).close()
    except OSError as error:
        raise DeviceError(
            f"{device} cannot be opened: {error}",
            remedy="Close the program that uses it; your user must be in the group dialout.",
        ) from error
    deadline = time.monotonic() + _BOOTLOADER_S
    time.sleep(0.3)
    while not Path(device).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _run(command: Sequence[str], device: str, board: str) -> None:
    """Run avrdude and pass its progress on to a terminal as it comes."""
    import subprocess

    output = bytearray()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None  # PIPE was passed
        while byte := process.stderr.read(1):
            output += byte
            if sys.stderr.isatty():
                sys.stderr.buffer.write(byte)
                sys.stderr.buffer.flush()
    if process.returncode != 0:
        raise DeviceError(
            f"avrdude could not write to the board at {device}: {_reason(output)}",
            remedy=f"Is it a {board}? (--board) Close what uses the port; press reset, try again.",
        )


def _reason(output: bytearray) -> str:
    """Return the first line of avrdude's output that names a problem."""
    for line in output.decode("utf-8", "replace").strip().splitlines():
        if "avrdude" in line and not _PROGRESS.match(line):
            return line.strip()
    return "it gave no reason"
