"""Reads and lowers the time that a USB serial adapter holds received bytes back.

FTDI converters collect bytes for up to 16 ms by default. Their driver, ftdi_sio, has the sysfs file
`latency_timer` (in ms). Other adapters send bytes with the next USB frame. A simulated port has the
folder of its adapter beside it, and none without an adapter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

TIMER_FILE: Final = "latency_timer"
SYSFS: Final = Path("/sys/class/tty")
USB_FRAME_USEC: Final = 1000
"""A full-speed USB host polls once per millisecond."""
_LOWEST_MSEC: Final = 1
_UDEV_RULE: Final = (
    'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"'
)


class AdapterLatency(msgspec.Struct, frozen=True):
    """Longest time that the adapter holds bytes back, in µs, and a sentence for the log."""

    usec: int
    report: str


def device_folder(port: Path) -> Path:
    """Return the folder of a simulated port's adapter; it is there while there is an adapter."""
    return port.with_name(f"{port.name}.device")


def read_latency(address: str, sysfs: Path = SYSFS, *, name: str = "") -> AdapterLatency:
    """Return the present latency of a port's adapter; 0 for pseudo-terminals and URLs.

    Args:
        address: A serial port, as it is opened.
        sysfs: The folder of the tty devices.
        name: The port in the report; by default the address.
    """
    device, name = _device(address, sysfs), name or address
    if device is None:
        return AdapterLatency(0, f"{name} is not a USB adapter: no added latency")
    timer_msec = _read_timer(device / TIMER_FILE)
    if timer_msec is None:
        return AdapterLatency(USB_FRAME_USEC, f"{name} sends bytes every USB frame (1 ms)")
    return AdapterLatency(timer_msec * 1000, f"latency timer of {name}: {timer_msec} ms")


def lower_latency(address: str, sysfs: Path = SYSFS, *, name: str = "") -> AdapterLatency:
    """Set an FTDI adapter's latency timer to 1 ms; other adapters stay as they are.

    Args:
        address: A serial port, as it is opened.
        sysfs: The folder of the tty devices.
        name: The port in the report; by default the address.

    Returns:
        The latency afterwards. When the timer cannot be written (a matter of permissions), the
        report has the udev rule that does it.
    """
    before = read_latency(address, sysfs, name=name)
    device = _device(address, sysfs)
    if before.usec <= _LOWEST_MSEC * 1000 or device is None:
        return before
    try:
        (device / TIMER_FILE).write_text(f"{_LOWEST_MSEC}")
    except OSError as error:
        return AdapterLatency(
            before.usec,
            f"{before.report}; it cannot be lowered ({error.strerror}), so readings come up to"
            f" {before.usec // 1000} ms late. Put this line into"
            f" /etc/udev/rules.d/99-mlink-ftdi.rules and plug the board in again: {_UDEV_RULE}",
        )
    after = read_latency(address, sysfs, name=name)
    return AdapterLatency(after.usec, f"{after.report}, was {before.usec // 1000} ms")


def _device(address: str, sysfs: Path) -> Path | None:
    """Return the folder of a port's adapter; None for a port without one."""
    if "://" in address:
        return None
    simulated = device_folder(Path(address))
    if simulated.is_dir():
        return simulated
    path = os.path.realpath(address)
    return None if path.startswith("/dev/pts/") else sysfs / Path(path).name / "device"


def _read_timer(timer: Path) -> int | None:
    try:
        return int(timer.read_text())
    except (OSError, ValueError):
        return None
