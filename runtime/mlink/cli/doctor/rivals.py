"""Checks of `mlink doctor` for programs that take the serial ports of boards.

ModemManager opens new ports and writes modem commands to them; brltty takes USB chips that Braille
displays and boards both have. What udev does follows from its rules, line by line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from mlink.cli.doctor.finding import Finding, read_text
from mlink.realtime import RIGHTS_REMEDY

_RULES: Final = Path("/etc/udev/rules.d")
_RELOAD: Final = "sudo udevadm control --reload, then plug the board in again"
_IGNORED: Final = re.compile(r'ENV\{ID_MM_DEVICE_IGNORE\}="1"')
_ID: Final = re.compile(r'ATTRS?\{(idVendor|idProduct)\}=="([^"]*)"')
_PRODUCT: Final = re.compile(r'ENV\{PRODUCT\}=="([^"]*)"')
_NARROWER: Final = re.compile(r"ATTRS?\{(manufacturer|product|serial|interface)\}==")
"""A condition that the chip of a board does not meet."""


class _UsbId(NamedTuple):
    vendor: str
    product: str

    def __str__(self) -> str:
        return f"{self.vendor}:{self.product}"


_ARDUINO: Final = _UsbId("2341", "0043")
_CH340: Final = _UsbId("1a86", "7523")
_BRIDGES: Final = (_CH340, _UsbId("0403", "6001"), _UsbId("10c4", "ea60"))
"""Chips of boards that Braille displays have, too: CH340, FT232, CP2102."""

Rules = dict[Path, list[str]]
"""Files of udev rules that are in effect → their lines; a continued line is one."""


def rivals(
    proc: Path, sys: Path, usr: Path, systemd: Path, folders: Iterable[Path]
) -> list[Finding]:
    """Find the programs that take serial ports; nothing about those that are not here.

    Args:
        proc: /proc.
        sys: /sys, for the boards that are plugged in.
        usr: /usr, for installed programs.
        systemd: Folder in which services are masked.
        folders: Folders of udev rules; a file hides those of its name in later folders.
    """
    rules, boards = _rules(folders), _boards(sys)
    runs = any(read_text(comm) == "ModemManager" for comm in proc.glob("[0-9]*/comm"))
    installed = any((usr / each / "ModemManager").exists() for each in ("bin", "sbin"))
    masked = (systemd / "ModemManager.service").resolve() == Path("/dev/null")
    found = []
    if runs or (installed and not masked):
        found.append(_modem_manager("runs" if runs else "is installed", rules, boards))
    if finding := _brltty(rules, boards):
        found.append(finding)
    return found


def _modem_manager(state: str, rules: Rules, boards: list[_UsbId]) -> Finding:
    ignored = [line for lines in rules.values() for line in lines if _IGNORED.search(line)]
    open_to = [
        each
        for each in boards or (_ARDUINO, _CH340)
        if not any(_applies(line, each) for line in ignored)
    ]
    if not open_to:
        return Finding(
            check="ModemManager",
            state="good",
            found=f"{state}, and a udev rule keeps it off boards",
        )
    here = f" (here: {', '.join(map(str, open_to))})" if boards else ""
    return Finding(
        check="ModemManager",
        state="better",
        found=f"{state}: it may hold a board's port for seconds after the board is plugged in, and"
        f" send modem commands to it{here}",
        remedy=RIGHTS_REMEDY,
    )


def _brltty(rules: Rules, boards: list[_UsbId]) -> Finding | None:
    """Find rules by which a driver of Braille displays takes the chips of boards.

    They are known by the file's name or by what the line starts. A later rule cannot take back what
    they do, but a file in /etc replaces one of the same name.
    """
    taken: set[_UsbId] = set()
    commands = []
    for path, lines in rules.items():
        theirs = [line for line in lines if "brltty" in path.name or "brltty" in line.lower()]
        here = {
            each
            for line in theirs
            for each in {*boards, *_BRIDGES}
            if _applies(line, each) and not _NARROWER.search(line)
        }
        if here:
            taken |= here
            commands.append(_without(path, sorted(here)))
    hit = sorted(taken & set(boards))
    if not taken or not (hit or _CH340 in taken):
        return None  # none, or of chips that no board here has
    return Finding(
        check="brltty",
        state="bad",
        found="takes the ports of boards with the USB chip "
        f"{', '.join(map(str, hit or [_CH340]))}, as if they were Braille displays",
        remedy=f"{' && '.join(commands)}; {_RELOAD} (not when a Braille display is in use here)",
    )


def _without(path: Path, ids: list[_UsbId]) -> str:
    """Return the command that comments out the rules for these ids, in /etc."""
    patterns = [f"0*{e.vendor.lstrip('0')}/0*{e.product.lstrip('0')}/" for e in ids]
    patterns += [f'idVendor}}=="{e.vendor}".*idProduct}}=="{e.product}"' for e in ids]
    drop = " ".join("-e " + shlex.quote(rf"\#{pattern}#I s/^/# /") for pattern in patterns)
    place = shlex.quote(str(_RULES / path.name))
    if path.parent == _RULES:
        return f"sudo sed -i {drop} {place}"
    return f"sed {drop} {shlex.quote(str(path))} | sudo tee {place} > /dev/null"


def _applies(line: str, each: _UsbId) -> bool:
    """Return whether the conditions of a line on the USB id hold for a device; it has one."""
    ids = dict(_ID.findall(line))
    if product := _PRODUCT.search(line):
        whole = f"{each.vendor.lstrip('0')}/{each.product.lstrip('0')}/0"
        return _matches(product[1], whole)
    return (
        "idVendor" in ids
        and _matches(ids["idVendor"], each.vendor)
        and _matches(ids.get("idProduct", "*"), each.product)
    )


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern of udev matches: alternatives, each with * ? [ ]."""
    return any(fnmatchcase(text, each.lower()) for each in pattern.split("|"))


def board_vendors(sys: Path) -> list[str]:
    """Return the USB vendors of the boards that are plugged in, four hexadecimal digits each."""
    vendors = {each.vendor for each in _boards(sys)}
    return sorted(each for each in vendors if re.fullmatch(r"[0-9a-f]{4}", each))


def _boards(sys: Path) -> list[_UsbId]:
    """Return the USB devices with a serial port that are no modems."""
    found = set()
    for device in sys.glob("bus/usb/devices/*"):
        is_modem = any(device.glob("*:*/net")) or any(device.glob("*:*/usbmisc/cdc-wdm*"))
        if any(device.glob("*:*/tty*")) and not is_modem:
            found.add(
                _UsbId(*(read_text(device / name).lower() for name in ("idVendor", "idProduct")))
            )
    return sorted(each for each in found if all(each))


def _rules(folders: Iterable[Path]) -> Rules:
    files: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.rules")):
            files.setdefault(file.name, file)
    return {
        file: [
            line
            for line in read_text(file).replace("\\\n", " ").splitlines()
            if not line.lstrip().startswith("#")
        ]
        for file in files.values()
    }
