"""The V4L2 ioctls for capturing, for controls, and for the modes that a node offers.

Numbers and layouts come from the kernel's public interface (linux/videodev2.h), and are the same
on all 64-bit machines.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], object]
"""(descriptor, request, buffer that is read and written) → any; raises OSError."""

_WRITE, _READ = 1, 2


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, 104)
ENUM_FMT = _request(_READ | _WRITE, 2, 64)
S_FMT = _request(_READ | _WRITE, 5, 208)
REQBUFS = _request(_READ | _WRITE, 8, 20)
QUERYBUF = _request(_READ | _WRITE, 9, 88)
QBUF = _request(_READ | _WRITE, 15, 88)
DQBUF = _request(_READ | _WRITE, 17, 88)
STREAMON = _request(_WRITE, 18, 4)
STREAMOFF = _request(_WRITE, 19, 4)
S_PARM = _request(_READ | _WRITE, 22, 204)
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
BUFFERS_MPLANE = 9
"""Buffers of type V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE."""
_STREAMING = 0x0400_0000
_BIG_ENDIAN = 0x8000_0000
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


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a node can do, by its driver (VIDIOC_QUERYCAP)."""

    driver: str
    card: str
    """Name of the device."""
    flags: int

    @property
    def buffer_type(self) -> int:
        """Type of the buffers that hold its pictures; 0 if it does not capture."""
        if self.flags & CAPTURE:
            return CAPTURE
        return BUFFERS_MPLANE if self.flags & CAPTURE_MPLANE else 0

    @property
    def streams(self) -> bool:
        """Whether its buffers can be mapped into memory."""
        return bool(self.flags & _STREAMING)


def capabilities(descriptor: int, ioctl: Ioctl = system_ioctl) -> Capabilities:
    """Return what an open node can do.

    Raises:
        OSError: It is no node of V4L2.
    """
    buffer = bytearray(104)
    ioctl(descriptor, QUERYCAP, buffer)
    driver, card, _, _, device, of_node = struct.unpack_from("=16s32s32sIII", buffer)
    flags = of_node if device & _HAS_DEVICE_CAPS else device
    return Capabilities(c_string(driver), c_string(card), flags)


def captures(node: Path, ioctl: Ioctl = system_ioctl) -> bool | None:
    """Return whether a node captures pictures; None if it cannot be opened or does not answer."""
    try:
        with open_node(node) as descriptor:
            return bool(capabilities(descriptor, ioctl).buffer_type)
    except OSError:
        return None


def fourcc_name(fourcc: int) -> str:
    """Return the four characters of a pixel format; "-BE" follows those of its big-endian kind."""
    name = (fourcc & ~_BIG_ENDIAN).to_bytes(4, "little").decode("ascii", "replace")
    return f"{name}-BE" if fourcc & _BIG_ENDIAN else name


def fourcc_of(name: str) -> int:
    """Return the number of a pixel format: the reverse of `fourcc_name`.

    Raises:
        ValueError: The name is not that of a format.
    """
    characters, big_endian = name.removesuffix("-BE"), name.endswith("-BE")
    if len(characters) != 4 or not characters.isascii():
        raise ValueError(f"'{name}' is no pixel format")
    number = int.from_bytes(characters.encode("ascii"), "little")
    return number | _BIG_ENDIAN if big_endian else number


def c_string(raw: bytes) -> str:
    """Return the text of a C string, up to its first zero byte."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
