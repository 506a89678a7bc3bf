"""Lists the serial ports and cameras of this machine, and problems with using them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import pyudev
from serial.tools import list_ports

from mlink.devices import FoundDevice
from mlink_drivers.permissions import access_problem, can_use

_CAPTURE = ":capture:"


class PortInfo(Protocol):
    """A serial port as described by pyserial."""

    device: str
    description: str
    manufacturer: str | None
    product: str | None
    vid: int | None
    pid: int | None
    serial_number: str | None
    location: str | None


CanUse = Callable[[Path], bool]


def list_devices() -> list[FoundDevice]:
    """Return the serial ports, then the capture nodes of cameras."""
    return list_serial_ports() + list_cameras()


def list_serial_ports(
    ports: Iterable[PortInfo] | None = None,
    *,
    by_id: Path = Path("/dev/serial/by-id"),
    usable: CanUse = can_use,
    known_name: Callable[[str], str] | None = None,
) -> list[FoundDevice]:
    """Return the serial ports of this machine.

    Args:
        ports: Ports to describe, by default those that pyserial finds.
        by_id: Folder of lasting links to ports.
        usable: Returns whether this user may use a node.
        known_name: Returns udev's name of a node, for ports that do not name themselves.
    """
    known_name = known_name or udev_name
    found = []
    for port in sorted(list_ports.comports() if ports is None else ports, key=_device):
        node = Path(port.device)
        identity = _links_to(node, by_id)
        if port.vid is not None and port.pid is not None:
            usb_path = (port.location or "").partition(":")[0]
            identity += _usb_identity(port.vid, port.pid, port.serial_number or "", usb_path)
        name = " ".join(dict.fromkeys(filter(None, (port.manufacturer, port.product))))
        if not name and port.vid is not None:  # clones often have no name of their own
            name = known_name(node.name)
        problem, remedy = access_problem(node, "dialout", usable)
        found.append(
            FoundDevice(
                kind="serial",
                address=port.device,
                name=name or (port.description if port.description != "n/a" else ""),
                identity=identity,
                problem=problem,
                remedy=remedy,
            )
        )
    return found


def list_cameras(
    *,
    sysfs: Path = Path("/sys/class/video4linux"),
    dev: Path = Path("/dev"),
    capabilities: Callable[[str], str] | None = None,
    usable: CanUse = can_use,
) -> list[FoundDevice]:
    """Return the capture nodes of this machine's cameras.

    Args:
        sysfs: Folder with an entry for each V4L2 node.
        dev: Folder of the nodes.
        capabilities: Returns udev's list of a node's capabilities, such as ":capture:".
        usable: Returns whether this user may use a node.
    """
    capabilities_of = capabilities or udev_capabilities
    found = []
    for folder in sorted(sysfs.glob("video*"), key=_number):
        if not _captures(capabilities_of(folder.name), folder):
            continue
        node = dev / folder.name
        problem, remedy = access_problem(node, "video", usable)
        found.append(
            FoundDevice(
                kind="camera",
                address=str(node),
                name=_read(folder / "name"),
                identity=_links_to(node, dev / "v4l" / "by-id") + _usb_parent(folder),
                problem=problem,
                remedy=remedy,
            )
        )
    return found


def udev_capabilities(name: str) -> str:
    """Return udev's ID_V4L_CAPABILITIES of a node, such as ":capture:"; "" if unknown."""
    try:
        device = pyudev.Devices.from_name(pyudev.Context(), "video4linux", name)
    except (pyudev.DeviceNotFoundError, ImportError):  # ImportError: there is no libudev
        return ""
    return str(device.properties.get("ID_V4L_CAPABILITIES", ""))


def udev_name(name: str) -> str:
    """Return vendor and model of a tty from udev's hardware database; "" if unknown."""
    try:
        device = pyudev.Devices.from_name(pyudev.Context(), "tty", name)
    except (pyudev.DeviceNotFoundError, ImportError):  # ImportError: there is no libudev
        return ""
    keys = ("ID_VENDOR_FROM_DATABASE", "ID_MODEL_FROM_DATABASE")
    return " ".join(filter(None, (str(device.properties.get(key, "")) for key in keys)))


def _captures(capabilities: str, folder: Path) -> bool:
    """Return whether a node captures, by its capabilities, else by its index in the device."""
    if capabilities:
        return _CAPTURE in capabilities
    # The first node of a USB camera captures; further ones deliver metadata.
    return _read(folder / "index") in ("", "0")


def _links_to(node: Path, folder: Path) -> list[str]:
    """Return the links in a by-id folder that point to this node."""
    if not folder.is_dir():
        return []
    target = node.resolve()
    return [str(link) for link in sorted(folder.iterdir()) if link.resolve() == target]


def _usb_identity(vid: int, pid: int, serial: str, usb_path: str) -> list[str]:
    """Return the names of a USB device for a bench, the most specific first.

    Args:
        vid: Vendor id.
        pid: Product id.
        serial: Serial number; "" if it has none.
        usb_path: Its port, such as "1-2.3"; "" if unknown.
    """
    identity = [f"usb:serial={serial}"] if serial else []
    identity.append(f"usb:{vid:04x}:{pid:04x}")
    if usb_path:
        identity.append(f"usb:path={usb_path}")
    return identity


def _usb_parent(folder: Path) -> list[str]:
    """Return the names of the USB device to which a sysfs folder belongs; [] if there is none."""
    device = (folder / "device").resolve()
    for parent in (device, *device.parents):
        if (parent / "idVendor").is_file():
            vid, pid = (int(_read(parent / key), 16) for key in ("idVendor", "idProduct"))
            return _usb_identity(vid, pid, _read(parent / "serial"), parent.name)
    return []


def _read(path: Path) -> str:
    """Return a sysfs attribute; "" if it does not exist."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _device(port: PortInfo) -> str:
    return port.device


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix("video")
    return int(digits) if digits.isdigit() else -1
