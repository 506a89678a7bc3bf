"""The stream of a V4L2 node: its format, and its buffers, mapped into memory and taken in turn.

Layouts are those of the kernel's public interface (linux/videodev2.h) on 64-bit machines. A node
whose formats have several planes in one buffer ("multi-planar") is used as long as they lie in one
piece of memory.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import struct
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlink_drivers.camera.v4l2.ioctl import (
    BUFFERS_MPLANE,
    DQBUF,
    QBUF,
    QUERYBUF,
    REQBUFS,
    S_FMT,
    S_PARM,
    STREAMOFF,
    STREAMON,
    Capabilities,
    Ioctl,
    capabilities,
    system_ioctl,
)
from mlink_drivers.camera.v4l2.modes import formats

BUFFERS = 8
"""Buffers to request: a capture thread that gets no processor for so many periods loses nothing."""
_FEWEST = 2
_MMAP = 1
_ALTERNATE = 7
_ERROR = 0x40
_CLOCK, _MONOTONIC = 0xE000, 0x2000
_MOMENT, _EXPOSURE_START = 0x7_0000, 0x1_0000
_PER_FRAME = 0x1000
"""Capability of a driver whose rate can be set."""
_MOST = 0xFFFF_FFFF
_SLOWEST = 0.001
"""Frames per second."""


_FILLED = struct.Struct("=5I4xqq16xI")
"""A v4l2_buffer: index, type, bytes used, flags, field, time in s and µs, sequence."""


class PictureFormat(NamedTuple):
    """The format that the driver has adopted."""

    fourcc: int
    size: tuple[int, int]
    """Width and height in pixels."""
    line_bytes: int
    """Bytes from one row to the next; 0 for compressed pictures."""
    alternating: bool
    """Whether a buffer has only every second row: one field of an interlaced picture."""


class Buffer(NamedTuple):
    """A filled buffer, as the driver describes it."""

    data: NDArray[np.uint8]
    """Its bytes, valid until the next buffer is taken."""
    sequence: int
    """The driver's number of the frame, 32 bits."""
    time_ns: int
    """The driver's time stamp; 0 for none."""
    damaged: bool
    """Whether the driver knows that data are wrong or missing."""
    is_monotonic: bool
    """Whether the driver states that the time is on CLOCK_MONOTONIC."""
    at_exposure: bool
    """Whether the time is that of the start of the exposure; else of the end of the frame."""


class VideoStream:
    """An open capture node; owns its descriptor and mapped buffers.

    Args:
        node: The device node.
        ioctl: Replaces the system's ioctl in tests.

    Raises:
        OSError: The node cannot be opened, or is none of V4L2.
    """

    def __init__(self, node: Path, ioctl: Ioctl = system_ioctl) -> None:
        self._ioctl = ioctl
        self._maps: list[mmap.mmap] = []
        self._arrays: list[NDArray[np.uint8]] = []
        self._ours: list[bytearray] = []
        """Buffers that the driver does not have: the one in use, and those that it refused."""
        self._blank = bytearray()
        """A description of a buffer for the driver to fill in."""
        # A driver fills in the plane of a multi-planar buffer at this address.
        self._plane = ctypes.create_string_buffer(64)
        self._descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.capabilities: Capabilities = capabilities(self._descriptor, ioctl)
        except OSError:
            self.close()
            raise
        self._type = self.capabilities.buffer_type
        self._blank = self._described(0)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def formats(self) -> list[int]:
        """Return the pixel formats that the driver lists; empty if it has no list."""
        return formats(self._descriptor, self._type, self._ioctl)

    def set_format(self, fourcc: int, size: tuple[int, int]) -> PictureFormat:
        """Request a format and size; return what the driver makes of it.

        Raises:
            OSError: The driver refuses it, or another program uses the camera.
        """
        width, height = (min(length, _MOST) for length in size)
        buffer = bytearray(208)
        struct.pack_into("=I4x3I", buffer, 0, self._type, width, height, fourcc)
        self._ioctl(self._descriptor, S_FMT, buffer)
        width, height, fourcc, field = struct.unpack_from("=4I", buffer, 8)
        if self._type == BUFFERS_MPLANE:
            (line_bytes,), planes = struct.unpack_from("=I", buffer, 32), buffer[188]
            if planes > 1:
                raise OSError(errno.EINVAL, "its pictures lie in several pieces of memory")
        else:
            (line_bytes,) = struct.unpack_from("=I", buffer, 24)
        return PictureFormat(fourcc, (width, height), line_bytes, field == _ALTERNATE)

    def set_rate(self, framerate: float) -> float:
        """Request a rate; return what the driver makes of it, 0 if it does not know its rate."""
        rate = Fraction(max(framerate, _SLOWEST)).limit_denominator(1001)
        period = (rate.denominator, min(rate.numerator, _MOST))
        buffer = bytearray(204)
        struct.pack_into("=5I", buffer, 0, self._type, 0, 0, *period)
        try:
            self._ioctl(self._descriptor, S_PARM, buffer)
        except OSError:  # a driver without rates
            return 0.0
        _, flags, _, numerator, denominator = struct.unpack_from("=5I", buffer)
        return denominator / numerator if flags & _PER_FRAME and numerator else 0.0

    def start(self) -> None:
        """Map the buffers, give them to the driver, and switch the stream on.

        Raises:
            OSError: The driver refuses that.
        """
        request = bytearray(struct.pack("=3I8x", BUFFERS, self._type, _MMAP))
        self._ioctl(self._descriptor, REQBUFS, request)
        (count,) = struct.unpack_from("=I", request)
        if count < _FEWEST:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        for index in range(count):
            buffer = self._described(index)
            self._ioctl(self._descriptor, QUERYBUF, buffer)
            if self._type == BUFFERS_MPLANE:
                length, offset = struct.unpack_from("=II", self._plane, 4)
            else:
                offset, length = struct.unpack_from("=I4xI", buffer, 64)
            memory = mmap.mmap(
                self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset
            )
            self._maps.append(memory)
            self._arrays.append(np.frombuffer(memory, np.uint8))
        self._ours = [self._described(index) for index in range(count)]
        self._give_back()
        self._ioctl(self._descriptor, STREAMON, bytearray(struct.pack("=I", self._type)))

    def take(self, limit_sec: float) -> Buffer | None:
        """Wait for a filled buffer; the one taken before goes back to the driver.

        Args:
            limit_sec: Longest wait in s; 0 takes one that is filled already.

        Returns:
            The buffer, or None if there was none in time.

        Raises:
            OSError: The stream has failed, or the device is gone (ENODEV).
        """
        self._give_back()
        if not self._poll.poll(limit_sec * 1000):
            return None
        buffer = self._blank.copy()
        try:
            self._ioctl(self._descriptor, DQBUF, buffer)
        except BlockingIOError:
            return None
        index, _, used, flags, _, sec, usec, sequence = _FILLED.unpack_from(buffer)
        self._ours.append(buffer)
        begin = 0
        if self._type == BUFFERS_MPLANE:
            used, begin = struct.unpack_from("=I12xI", self._plane)
        return Buffer(
            self._arrays[index][begin:used],
            sequence,
            sec * 1_000_000_000 + usec * 1000,
            bool(flags & _ERROR),
            flags & _CLOCK == _MONOTONIC,
            flags & _MOMENT == _EXPOSURE_START,
        )

    def close(self) -> None:
        """Switch the stream off, and release buffers and node; may be called twice."""
        if self._descriptor < 0:
            return
        try:
            if self._maps:
                self._ioctl(self._descriptor, STREAMOFF, bytearray(struct.pack("=I", self._type)))
                # The camera is free for others then, even while a picture is in use, which keeps
                # its memory and so the node open.
                none = bytearray(struct.pack("=3I8x", 0, self._type, _MMAP))
                self._ioctl(self._descriptor, REQBUFS, none)
        except OSError:
            pass  # the device is gone
        finally:
            self._arrays.clear()
            while self._maps:
                try:
                    self._maps.pop().close()
                except BufferError:  # a picture of it is still in use, which closes it later
                    pass
            os.close(self._descriptor)
            self._descriptor = -1

    def _described(self, index: int) -> bytearray:
        """Return a v4l2_buffer for the driver to read and fill in."""
        buffer = bytearray(88)
        struct.pack_into("=II", buffer, 0, index, self._type)
        struct.pack_into("=I", buffer, 60, _MMAP)
        if self._type == BUFFERS_MPLANE:
            struct.pack_into("=QI", buffer, 64, ctypes.addressof(self._plane), 1)
        return buffer

    def _give_back(self) -> None:
        """Queue all buffers that the driver does not have; one that it refuses is kept for later.

        Raises:
            OSError: The stream has failed, or the device is gone.
        """
        refused: list[bytearray] = []
        for buffer in self._ours:
            try:
                self._ioctl(self._descriptor, QBUF, buffer)
            except OSError as error:
                if error.errno != errno.EINVAL or len(refused) + 1 == len(self._arrays):
                    raise
                refused.append(buffer)
        self._ours = refused
