"""Which backend opens an address; light to import, for `mlink check`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint

from mlink.errors import DeviceError
from mlink.installed import entry_points

GROUP = "mlink.cameras"
VIRTUAL = "virtual"
V4L2 = "v4l2"
GENICAM = "genicam"

Points = Callable[[], tuple[EntryPoint, ...]]
"""Returns the entry points to search."""


def scheme_of(address: str) -> str:
    """Return the name of the backend that opens an address.

    Raises:
        DeviceError: The address has no scheme, and is no device node.
    """
    if address.startswith(("/dev/", "usb:")):
        return V4L2
    scheme, colon, rest = address.partition(":")
    if not colon:
        raise DeviceError(
            f"'{address}' is not the address of a camera",
            remedy="Write /dev/video0 (`mlink devices` lists cameras), file:clip.mkv "
            "or virtual:scene.",
        )
    if scheme == VIRTUAL:
        return re.split(r"[?:/]", rest, maxsplit=1)[0]
    return scheme


def find_backend(address: str, points: Points | None = None) -> EntryPoint:
    """Return the entry point of the backend that opens an address.

    Args:
        address: Address with the backend's scheme.
        points: Returns the entry points to search, by default those that are installed.

    Raises:
        DeviceError: No backend has this scheme; the remedy names those that exist.
    """
    scheme = scheme_of(address)
    installed = points() if points else tuple(entry_points(group=GROUP))
    for point in installed:
        if point.name == scheme:
            return point
    known = sorted({point.name for point in installed})
    near = difflib.get_close_matches(scheme, known, n=1)
    remedy = f"Did you mean '{near[0]}'? " if near else ""
    raise DeviceError(
        f"no camera backend opens '{shown_address(address)}' (scheme '{scheme}')",
        remedy=f"{remedy}Installed: {', '.join(known) or 'none'}; docs/cameras.md shows how to "
        "add one.",
    )


def shown_address(address: str) -> str:
    """Return an address without user name and password, for logs and recordings."""
    return re.sub(r"(?<=://)[^/@]*@", "…@", address)
