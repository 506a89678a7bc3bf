"""`mlink flash`: put mlink's own firmware on a board, with avrdude."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAMMERS = {
    "uno": ("atmega328p", "arduino", 115_200),
    "nano": ("atmega328p", "arduino", 115_200),
    "nano-old": ("atmega328p", "arduino", 57_600),
    "mega": ("atmega2560", "wiring", 115_200),
    "leonardo": ("atmega32u4", "avr109", 57_600),
}
"""avrdude's part, programmer and baud rate for each board's bootloader."""
_HEX = {"nano": "uno", "nano-old": "uno"}
_TOUCH_BAUD = 1200
_BOOTLOADER_S = 2.0
_BAR = re.compile(r"^(Reading|Writing) \| (#*)")


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

    image = firmware_path(board)
    command = avrdude_command(device, board, image)
    if dry_run:
        typer.echo(shlex.join(command))
        return
    _check(device)
    if board == "leonardo":
        _touch(device)
    _run(command, device, board)
    typer.echo(f"{device} now runs mlink_firmata ({board}). Try: mlink devices")


def firmware_path(board: str) -> Path:
    """Return the hex file for a board; MlinkError when there is none."""
    from mlink.errors import DeviceError

    if board not in _PROGRAMMERS:
        known = ", ".join(_PROGRAMMERS)
        raise DeviceError(f"there is no firmware for '{board}'", remedy=f"Known: {known}.")
    name = f"mlink_firmata-{_HEX.get(board, board)}.hex"
    here = Path(__file__).resolve()
    folders = (here.parents[1] / "firmware", here.parents[3] / "firmware" / "prebuilt")
    for folder in folders:  # installed, and in the repository
        if (folder / name).exists():
            return folder / name
    raise DeviceError(
        f"the firmware {name} is not here", remedy="Build it: make -C firmware prebuilt"
    )


def avrdude_command(device: str, board: str, image: Path) -> list[str]:
    """Return the command that writes and verifies `image`."""
    part, programmer, baud_rate = _PROGRAMMERS[board]
    command = ["avrdude", "-p", part, "-c", programmer, "-P", device, "-b", str(baud_rate), "-D"]
    return [*command, "-U", f"flash:w:{image}:i"]


def _check(device: str) -> None:
    import shutil

    from mlink.errors import DeviceError

    if shutil.which("avrdude") is None:
        raise DeviceError("avrdude is missing", remedy="sudo apt-get install avrdude")
    if not Path(device).exists():
        raise DeviceError(
            f"there is no port {device}",
            remedy="Plug the board in, and name its port; mlink devices lists the ports.",
        )


def _touch(device: str) -> None:
    """Open the port at 1200 baud: the 32U4's sign to enter its bootloader."""
    import time

    import serial

    from mlink.errors import DeviceError

    try:
        serial.Serial(device, _TOUCH_BAUD).close()
    except OSError as error:
        raise DeviceError(
            f"{device} cannot be opened: {error}",
            remedy="Close what uses it; be in the group dialout.",
        ) from error
    deadline = time.monotonic() + _BOOTLOADER_S
    time.sleep(0.3)
    while not Path(device).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _run(command: Sequence[str], device: str, board: str) -> None:
    """Run avrdude and show its progress as it comes."""
    import subprocess
    import sys

    from mlink.errors import DeviceError

    heard = bytearray()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None  # a pipe was asked for
        while byte := process.stderr.read(1):
            heard += byte
            if sys.stderr.isatty():
                sys.stderr.buffer.write(byte)
                sys.stderr.buffer.flush()
    if process.returncode == 0:
        return
    lines = heard.decode("utf-8", "replace").strip().splitlines()
    wrong = [line for line in lines if "avrdude" in line and not _BAR.match(line)]
    reason = wrong[0].strip() if wrong else "it does not say why"
    raise DeviceError(
        f"avrdude could not write to the board at {device}: {reason}",
        remedy=f"Is it a {board}? (--board) Close what uses the port; press reset and try again.",
    )
