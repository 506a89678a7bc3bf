"""V4L2's ioctls, as few as are needed: controls, and the modes that a node offers.

Numbers and layouts are those of the kernel's public interface (linux/videodev2.h), the same on
all 64-bit machines.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], object]
"""(descriptor, request, buffer that is read and written) → anything; OSError."""

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
"""In the id of QUERYCTRL: the first control after this one."""
CAPTURE = 1
"""Buffers of type V4L2_BUF_TYPE_VIDEO_CAPTURE, and the capability of the same name."""
CAPTURE_MPLANE = 0x1000
_HAS_DEVICE_CAPS = 0x8000_0000


def system_ioctl(descriptor: int, request: int, buffer: bytearray) -> None:
    """Do an ioctl of the kernel."""
    fcntl.ioctl(descriptor, request, buffer, True)


@contextmanager
def open_node(node: Path) -> Iterator[int]:
    """Open a node for ioctls; a second open does not disturb a stream."""
    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def captures(node: Path, ioctl: Ioctl = system_ioctl) -> bool | None:
    """Return whether a node gives pictures, in its driver's own words; None when it cannot say."""
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
    """Return a C string."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
