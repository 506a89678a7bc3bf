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

_FILES = {"file": "file", "images": "folder"}
_NETWORK = ("rtsp", "http", "https")
_USB = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}|(serial|path)=.+")

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


def refuse_wrong_form(address: str) -> None:
    """Refuse an address that its backend cannot open, whatever is plugged in.

    Raises:
        DeviceError: It lacks its file, folder or host, or has a `usb:` name of another form.
    """
    scheme, _, rest = address.partition(":")
    if scheme == "usb" and not _USB.fullmatch(rest):
        what = f"'{address}' is not the name of a USB camera"
        remedy = 'Write "usb:046d:0825", "usb:serial=…" or "usb:path=1-2.3"; see `mlink devices`.'
    elif scheme == V4L2:
        what = f"'{address}' is not the address of a camera"
        remedy = "Write /dev/video0, or a name that begins with usb:; see `mlink devices`."
    elif scheme in _FILES and not rest.partition("?")[0]:
        what = f"'{address}' names no {_FILES[scheme]}"
        remedy = f"Write {scheme}:PATH."
    elif scheme in _NETWORK and not re.match(r"//[^/]", rest):
        what = f"'{address}' names no host"
        remedy = f"Write {scheme}://HOST/PATH."
    else:
        return
    raise DeviceError(what, remedy=remedy)


def shown_address(address: str) -> str:
    """Return an address without user name and password, for logs and recordings."""
    return re.sub(r"(?<=://)[^/@]*@", "…@", address)
