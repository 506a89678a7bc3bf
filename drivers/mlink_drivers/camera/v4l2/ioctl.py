"""The V4L2 ioctls for controls, and for the modes that a node offers.

Numbers and layouts come from the kernel's public interface (linux/videodev2.h), and are the same
on all 64-bit machines.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], object]
"""(descriptor, request, buffer that is read and written) → any; raises OSError."""

_WRITE, _READ = 1, 2


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, 104)
ENUM_FMT = _request(_READ | _WRITE, 2, 64)
G_CTRL = _request(_READ | _WRITE, 27, 8)
S_CTRL = _request(_READ | _WRITE, 28, 8)
QUERYCTRL = _request(_READ | _WRITE, 36, 68)
QUERYMENU = _request(_READ | _WRITE, 37, 44)
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, 44)
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, 52)

NEXT_CONTROL = 0x8000_0000
"""Flag in the id of QUERYCTRL, to ask for the next control after this id."""
CAPTURE = 1
"""Buffers of type V4L2_BUF_TYPE_VIDEO_CAPTURE, and the capability of the same name."""
CAPTURE_MPLANE = 0x1000
_HAS_DEVICE_CAPS = 0x8000_0000


def system_ioctl(descriptor: int, request: int, buffer: bytearray) -> None:
    """Call the kernel's ioctl; the buffer is read and written."""
    fcntl.ioctl(descriptor, request, buffer, True)


@contextmanager
def open_node(node: Path) -> Iterator[int]:
    """Open a node for ioctls in a `with` block; it does not disturb a stream of another opener.

    Raises:
        OSError: The node cannot be opened.
    """
    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def captures(node: Path, ioctl: Ioctl = system_ioctl) -> bool | None:
    """Return whether a node captures pictures, as reported by its driver (VIDIOC_QUERYCAP).

    None if it cannot be opened or does not answer.
    """
    buffer = bytearray(104)
    try:
        with open_node(node) as descriptor:
            ioctl(descriptor, QUERYCAP, buffer)
    except OSError:
        return None
    capabilities, device_caps = struct.unpack_from("=II", buffer, 84)
    of_node = device_caps if capabilities & _HAS_DEVICE_CAPS else capabilities
    return bool(of_node & (CAPTURE | CAPTURE_MPLANE))


def c_string(raw: bytes) -> str:
    """Return the text of a C string, up to its first zero byte."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
