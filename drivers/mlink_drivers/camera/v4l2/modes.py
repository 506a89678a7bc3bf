"""Which pixel formats, sizes and rates a V4L2 camera offers, for `mlink devices --modes`."""

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
    open_node,
    system_ioctl,
)

_DISCRETE = 1
_AT_MOST = 512
"""Entries of one list; a driver that never ends it is broken."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A pixel format in one size (or range of sizes), with its rates."""

    pixel_format: str
    """As `pixel_format` takes it: "MJPG"."""
    size: tuple[int, int]
    """Width and height in pixels; the largest, when a range is offered."""
    framerates: tuple[float, ...]
    """Frames per second, the highest first; (highest, lowest) when a range is offered."""
    smallest: tuple[int, int] | None = None
    """Set when any size between this one and `size` is offered."""
    any_rate: bool = False
    """Whether any rate between those two is offered."""

    def __str__(self) -> str:
        width, height = self.size
        size = f"{width}×{height}"
        if self.smallest:
            size = f"{self.smallest[0]}×{self.smallest[1]} to {size}"
        rates = (" to " if self.any_rate else ", ").join(f"{rate:.4g}" for rate in self.framerates)
        return f"{self.pixel_format} {size}" + (f" at {rates} fps" if rates else "")


def list_modes(node: str | Path, ioctl: Ioctl = system_ioctl) -> list[Mode]:
    """Return the modes of a capture node; OSError when it cannot be opened."""
    modes = []
    with open_node(Path(node)) as descriptor:
        for fourcc in _formats(descriptor, ioctl):
            name = fourcc.to_bytes(4, "little").decode("ascii", "replace")
            for size, smallest in _sizes(descriptor, fourcc, ioctl):
                rates, any_rate = _rates(descriptor, fourcc, size, ioctl)
                modes.append(Mode(name, size, rates, smallest, any_rate))
    return modes


def _entries(descriptor: int, request: int, size: int, head: bytes, at: int,
             ioctl: Ioctl) -> Iterator[bytearray]:  # fmt: skip
    """Yield the entries of a list: `head` with the entry's index at byte `at`, filled in."""
    for index in count():
        if index >= _AT_MOST:
            return
        buffer = bytearray(head.ljust(size, b"\0"))
        struct.pack_into("=I", buffer, at, index)
        try:
            ioctl(descriptor, request, buffer)
        except OSError:  # EINVAL is the list's end; ENOTTY: the driver has no such list
            return
        yield buffer


def _formats(descriptor: int, ioctl: Ioctl) -> list[int]:
    head = struct.pack("=II", 0, CAPTURE)
    entries = _entries(descriptor, ENUM_FMT, 64, head, 0, ioctl)
    return [struct.unpack_from("=I", entry, 44)[0] for entry in entries]


def _sizes(
    descriptor: int, fourcc: int, ioctl: Ioctl
) -> list[tuple[tuple[int, int], tuple[int, int] | None]]:
    """Return (size, None) of each size, or (largest, smallest) of a range."""
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
    """Return the rates of a size, the highest first, and whether those between are offered too."""
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
    """Return frames per second of an interval in seconds, given as a fraction."""
    return denominator / numerator if numerator else 0.0
