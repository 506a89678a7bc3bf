"""`mlink doctor --fix`: all rights of this user and its devices, by one command for root.

The files are written whole, so that a second call, or one of a later mlink, changes no more than it
has to. What they hold was six commands before, two of which deleted each other's lines.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mlink.errors import MlinkError
from mlink.realtime import DEFAULT_NICE

LIMITS: Final = Path("/etc/security/limits.d/95-mlink.conf")
RULES: Final = Path("/etc/udev/rules.d/70-mlink-boards.rules")
OLD_FILES: Final = (
    Path("/etc/security/limits.d/96-mlink.conf"),
    Path("/etc/udev/rules.d/95-mlink-latency.rules"),
)
"""What earlier hints of mlink wrote; the two files above hold it as well."""
BOARD_VENDORS: Final = "2341|2a03|1a86|0403|10c4|16c0|239a|2e8a"
"""USB vendors, as a udev pattern: Arduino (two), CH340, FTDI, CP210x, Teensy, Adafruit, Pico."""
_GROUPS: Final = ("dialout", "video")
_LIMIT_SEC: Final = 30

_LIMITS_TEXT: Final = f"""\
# Written by `mlink doctor --fix`: what mlink's threads may ask for.
@video - rtprio 20
@video - nice {DEFAULT_NICE}
@video - memlock unlimited
"""
_RULES_TEXT: Final = """\
# Written by `mlink doctor --fix`.
ACTION=="remove", GOTO="mlink_end"

# ModemManager sends modem commands to boards, and holds their ports.
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendors}", \
ENV{{ID_MM_DEVICE_IGNORE}}="1"

# No power saving for boards and cameras (USB classes: 02 serial, 0e video): they would fall asleep.
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendors}", \
TEST=="power/control", ATTR{{power/control}}="on"
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ENV{{ID_USB_INTERFACES}}=="*:0202*|*:0e*", \
TEST=="power/control", ATTR{{power/control}}="on"

# FTDI chips wait 16 ms for more bytes before they send any.
SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{{latency_timer}}="1"

# Runs may keep processors out of idle states.
KERNEL=="cpu_dma_latency", GROUP="video", MODE="0660"

LABEL="mlink_end"
"""


def files_of_fix(vendors: Iterable[str] = ()) -> dict[Path, str]:
    """Return the text of each file of the fix.

    Args:
        vendors: USB vendors of boards that are plugged in, four hexadecimal digits each.
    """
    every = "|".join(dict.fromkeys([*BOARD_VENDORS.split("|"), *vendors]))
    return {LIMITS: _LIMITS_TEXT, RULES: _RULES_TEXT.format(vendors=every)}


def describe(files: Mapping[Path, str]) -> str:
    """Return what the fix would change, and the command that does it."""
    lines = []
    for path, text in files.items():
        lines += [f"{path}:", *(f"    {line}".rstrip() for line in text.splitlines()), ""]
    lines += [f"groups of this user: {', '.join(_GROUPS)}", "", "To write that, as root:"]
    return "\n".join([*lines, f"    {command()}"])


def command() -> str:
    """Return the command for root; `sudo` does not search the folders of this user's PATH."""
    program = Path(sys.argv[0])
    found = shutil.which(program.name) or str(program)
    is_mlink = program.name == "mlink"
    words = [str(Path(found).absolute())] if is_mlink else [sys.executable, "-m", "mlink"]
    return shlex.join(["sudo", *words, "doctor", "--fix"])


def apply(files: Mapping[Path, str], root: Path = Path("/")) -> list[str]:
    """Write the files, add the user who has called sudo to the groups, and reload udev's rules.

    Args:
        files: Texts by path.
        root: Folder that stands for /; in any other one nothing but files is written.

    Returns:
        A sentence for each change.

    Raises:
        MlinkError: A file cannot be written, or a program of the system has failed.
    """
    done = []
    for path, text in files.items():
        place = root / path.relative_to("/")
        if not place.is_file() or place.read_text(errors="replace") != text:
            _write(place, text)
            done.append(f"wrote {path}")
    for path in OLD_FILES:
        place = root / path.relative_to("/")
        if place.is_file():
            place.unlink()
            done.append(f"removed {path}, which the files above replace")
    if root == Path("/"):
        done += _add_to_groups(os.environ.get("SUDO_USER", ""))
        done += _reload_rules()
    return done or ["all of it was there already"]


def _write(place: Path, text: str) -> None:
    """Write a file under a temporary name, and rename it: no program reads half of it."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=place.parent, prefix=".mlink-", delete=False
        ) as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        Path(file.name).rename(place)
    except OSError as error:
        raise MlinkError(
            f"{place} cannot be written: {error.strerror}", remedy=f"Run it as root: {command()}"
        ) from error


def _add_to_groups(user: str) -> list[str]:
    if not user or user == "root":
        return ["no group was changed: root needs none (for another user: sudo, from its session)"]
    try:
        pwd.getpwnam(user)
    except KeyError:
        return [f"no group was changed: there is no user {user!r} here"]
    known = {group.gr_name: group.gr_mem for group in grp.getgrall()}
    wanted = [name for name in _GROUPS if name in known and user not in known[name]]
    if not wanted:
        return []
    _call("usermod", "-aG", ",".join(wanted), "--", user)
    return [f"added {user} to {', '.join(wanted)}: log out and in again (or restart)"]


def _reload_rules() -> list[str]:
    if shutil.which("udevadm") is None or not Path("/run/udev/control").exists():
        return ["udev does not run here: its rules count from the next start"]
    _call("udevadm", "control", "--reload")
    for chosen in ("--subsystem-match=usb", "--subsystem-match=usb-serial", "--sysname-match=cpu*"):
        _call("udevadm", "trigger", chosen)
    return ["reloaded udev's rules"]


def _call(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_SEC)
        failure = done.returncode and (done.stderr.strip() or f"exit code {done.returncode}")
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    if failure:
        raise MlinkError(
            f"{shlex.join(words)} failed: {failure}", remedy="Run that command by hand, as root."
        )
