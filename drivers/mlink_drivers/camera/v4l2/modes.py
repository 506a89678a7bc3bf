"""Lists the pixel formats, sizes and rates of a V4L2 camera, for `mlink devices --modes`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mlink_drivers.camera.v4l2.ioctl import (
    CAPTURE,
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    Ioctl,
    fourcc_name,
    open_node,
    system_ioctl,
)

_DISCRETE = 1
_AT_MOST = 512
"""Bound of one list, for a broken driver that never ends it."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A pixel format in one size (or range of sizes), with its rates."""

    pixel_format: str
    """Four characters, as in the setting `pixel_format`: "MJPG"."""
    size: tuple[int, int]
    """Width and height in pixels; of a range, the largest."""
    framerates: tuple[float, ...]
    """Frames per second, the highest first; of a range, (highest, lowest)."""
    smallest: tuple[int, int] | None = None
    """Smallest size of a range."""
    any_rate: bool = False
    """Whether `framerates` is a range."""

    def __str__(self) -> str:
        width, height = self.size
        size = f"{width}×{height}"
        if self.smallest:
            size = f"{self.smallest[0]}×{self.smallest[1]} to {size}"
        rates = (" to " if self.any_rate else ", ").join(f"{rate:.4g}" for rate in self.framerates)
        return f"{self.pixel_format} {size}" + (f" at {rates} fps" if rates else "")


def list_modes(node: str | Path, ioctl: Ioctl = system_ioctl) -> list[Mode]:
    """Return the modes of a capture node, the largest and fastest of each format first.

    Raises:
        OSError: The node cannot be opened.
    """
    modes = []
    with open_node(Path(node)) as descriptor:
        for fourcc in formats(descriptor, CAPTURE, ioctl):
            name = fourcc_name(fourcc)
            for size, smallest in _sizes(descriptor, fourcc, ioctl):
                rates, any_rate = _rates(descriptor, fourcc, size, ioctl)
                modes.append(Mode(name, size, rates, smallest, any_rate))
    return modes


def _entries(descriptor: int, request: int, size: int, head: bytes, at: int,
             ioctl: Ioctl) -> Iterator[bytearray]:  # fmt: skip
    """Yield the buffers that the driver fills in for index 0, 1, …, to the end of its list.

    Args:
        descriptor: The open node.
        request: Number of the ioctl.
        size: Size of its structure in bytes.
        head: First bytes of the structure.
        at: Position of the index in it.
        ioctl: The ioctl to call.
    """
    for index in count():
        if index >= _AT_MOST:
            return
        buffer = bytearray(head.ljust(size, b"\0"))
        struct.pack_into("=I", buffer, at, index)
        try:
            ioctl(descriptor, request, buffer)
        except OSError:  # EINVAL: end of the list; ENOTTY: the driver has no such list
            return
        yield buffer


def formats(descriptor: int, buffer_type: int, ioctl: Ioctl = system_ioctl) -> list[int]:
    """Return the pixel formats of an open node, in the driver's order; empty: it has no list."""
    head = struct.pack("=II", 0, buffer_type)
    entries = _entries(descriptor, ENUM_FMT, 64, head, 0, ioctl)
    return [struct.unpack_from("=I", entry, 44)[0] for entry in entries]


def _sizes(
    descriptor: int, fourcc: int, ioctl: Ioctl
) -> list[tuple[tuple[int, int], tuple[int, int] | None]]:
    """Return (size, None) for each size, or (largest, smallest) for a range."""
    head = struct.pack("=II", 0, fourcc)
    found: list[tuple[tuple[int, int], tuple[int, int] | None]] = []
    for entry in _entries(descriptor, ENUM_FRAMESIZES, 44, head, 0, ioctl):
        kind, *numbers = struct.unpack_from("=7I", entry, 8)
        if kind != _DISCRETE:
            min_width, max_width, _, min_height, max_height, _ = numbers
            return [((max_width, max_height), (min_width, min_height))]
        found.append(((numbers[0], numbers[1]), None))
    return sorted(set(found), reverse=True)


def _rates(
    descriptor: int, fourcc: int, size: tuple[int, int], ioctl: Ioctl
) -> tuple[tuple[float, ...], bool]:
    """Return the rates of a size, the highest first, and whether they are the ends of a range."""
    head = struct.pack("=IIII", 0, fourcc, *size)
    rates: set[float] = set()
    for entry in _entries(descriptor, ENUM_FRAMEINTERVALS, 52, head, 0, ioctl):
        kind, *numbers = struct.unpack_from("=5I", entry, 16)
        rates.add(_rate(numbers[0], numbers[1]))
        if kind != _DISCRETE:
            rates.add(_rate(numbers[2], numbers[3]))
            return tuple(sorted(rates, reverse=True)), True
    return tuple(sorted(rates - {0.0}, reverse=True)), False


def _rate(numerator: int, denominator: int) -> float:
    """Return frames per second for an interval in s, given as a fraction; 0 for no interval."""
    return denominator / numerator if numerator else 0.0
