"""Finds the node of the camera that a bench names, and a lasting name for a node.

Names that a [devices] table accepts, the most reliable first:

    usb:serial=…                    the device with this serial number
    usb:046d:0825                   the only device of this vendor and product
    usb:path=1-2.3                  the camera in this USB port
    /dev/v4l/by-id/…, by-path/…     links that udev maintains
    /dev/videoN                     depends on the order of plugging; last resort
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mlink.devices import FoundDevice
from mlink.errors import DeviceError
from mlink_drivers.camera.v4l2.ioctl import captures
from mlink_drivers.discovery import list_cameras, udev_capabilities

_SCHEME = "usb:"
_CAPTURE = ":capture:"
_RANKS = ("usb:serial=", "usb:path=")
"""Identities of a re-plugged camera, best first. Vendor and product may fit another one too."""

ListCameras = Callable[[], list[FoundDevice]]


def node_capabilities(name: str) -> str:
    """Return a node's capabilities in udev's notation, as reported by its driver, else by udev.

    Metadata nodes of a camera have no ":capture:" in it.
    """
    is_capture_node = captures(Path("/dev", name))
    if is_capture_node is None:
        return udev_capabilities(name)
    return _CAPTURE if is_capture_node else ":"


def present_cameras() -> list[FoundDevice]:
    """Return the capture nodes of this machine, each with all its names."""
    return list_cameras(capabilities=node_capabilities)


def find_camera(address: str, cameras: ListCameras = present_cameras) -> Path:
    """Return the node that an address means at present.

    Args:
        address: A device node, or a name beginning with "usb:".
        cameras: Lists the cameras that are present.

    Raises:
        DeviceError: No camera has this name, or several have it; the remedy lists candidates.
    """
    if not address.startswith(_SCHEME):
        return Path(address)
    known = cameras()
    wanted = address.lower()
    fitting = [c for c in known if any(name.lower() == wanted for name in c.identity)]
    # A camera may have several nodes, of which the first delivers its pictures.
    devices: dict[str, FoundDevice] = {}
    for camera in fitting:
        devices.setdefault(_port(camera), camera)
    if len(devices) == 1:
        return Path(next(iter(devices.values())).address)
    if not devices:
        raise DeviceError(
            f"no camera is named '{address}'",
            remedy="Plug it in"
            + (f", or choose among:\n{_listed(known)}" if known else "; no camera is present."),
        )
    raise DeviceError(
        f"{len(devices)} cameras are named '{address}'",
        remedy=f"Use a name that only one of them has:\n{_listed(list(devices.values()))}",
    )


def lasting_name(node: Path, cameras: ListCameras = present_cameras) -> str:
    """Return the name by which this camera can be found after it was unplugged.

    For a camera without an identity of its own that is the node itself.
    """
    known = cameras()
    target = os.path.realpath(node)
    me = next((c for c in known if os.path.realpath(c.address) == target), None)
    if me is None:
        return str(node)
    for rank in _RANKS:
        for name in me.identity:
            if name.startswith(rank) and _is_only(name, me, known):
                return name
    return str(node)


def _is_only(name: str, me: FoundDevice, known: list[FoundDevice]) -> bool:
    """Return whether a name finds exactly this node, and no earlier one of the same device."""
    named = [camera for camera in known if name in camera.identity]
    return {_port(camera) for camera in named} == {_port(me)} and named[0].address == me.address


def _port(camera: FoundDevice) -> str:
    """Return a key that all nodes of one device share."""
    return next((name for name in camera.identity if name.startswith("usb:path=")), camera.address)


def _listed(cameras: list[FoundDevice]) -> str:
    lines = []
    for camera in cameras:
        names = ", ".join(dict.fromkeys([*camera.identity, camera.address]))
        lines.append(f"    {camera.name or 'camera'}: {names}")
    return "\n".join(lines)
