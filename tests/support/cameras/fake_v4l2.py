"""A V4L2 driver that answers ioctls, on an ordinary file whose bytes are the mapped buffers."""

from __future__ import annotations

import ctypes
import errno
import mmap
import struct
import threading
from collections import deque
from pathlib import Path

from mlink_drivers.camera.v4l2 import ioctl
from mlink_drivers.camera.v4l2.ioctl import fourcc_name, fourcc_of

MONOTONIC, AT_EXPOSURE, DAMAGED = 0x2000, 0x1_0000, 0x40
STREAMING, MPLANE_CAPTURE, CAPTURE = 0x0400_0000, 0x1000, 1


class FakeV4L2:
    """One node with one format at a time; `fill` puts a frame into a buffer that it was given.

    Args:
        node: The file that takes the place of the device node.
        formats: The formats that it lists, by their four characters.
        size: Width and height, whatever is requested.
        line_bytes: Bytes from one row to the next.
        image_bytes: Size of a picture.
    """

    def __init__(self, node: Path, formats=("YUYV",), size=(64, 48), line_bytes=128,
                 image_bytes=128 * 48):  # fmt: skip
        self.node = node
        self.formats = formats
        self.size = size
        self.line_bytes = line_bytes
        self.image_bytes = image_bytes
        self.framerate = 30
        self.capabilities = CAPTURE | STREAMING
        self.driver = b"fake"
        self.field = 1
        self.planes = 1
        self.granted = 8
        self.requested = 0
        self.refuses: dict[int, list[int]] = {}
        """Request → errors of its next calls."""
        self.on_wait = lambda: None
        """Called whenever a filled buffer is asked for."""
        self.format = formats[0] if formats else "YUYV"
        self.empty: deque[int] = deque()
        self.full: deque[tuple[int, int, int, int, int]] = deque()
        self.streaming = False
        self.sequence = -1
        self.step = -(-image_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        node.write_bytes(bytes(self.step * 32))
        self._lock = threading.Lock()

    def fill(self, data=b"", *, time_ns=0, flags=MONOTONIC | AT_EXPOSURE, sequence=None,
             used=None):  # fmt: skip
        """Fill a buffer as a frame arrives; without an empty one the frame is lost."""
        with self._lock:
            self.sequence = self.sequence + 1 if sequence is None else sequence
            if not self.empty:
                return False
            index = self.empty.popleft()
            if data:
                with self.node.open("r+b") as file:
                    file.seek(index * self.step)
                    file.write(data)
            length = used if used is not None else len(data) or self.image_bytes
            self.full.append((index, length, flags, time_ns, self.sequence))
            return True

    def __call__(self, descriptor, request, buffer):
        if errors := self.refuses.get(request):
            number = errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        answer = {
            ioctl.QUERYCAP: self._capabilities,
            ioctl.ENUM_FMT: self._list,
            ioctl.S_FMT: self._adopt,
            ioctl.S_PARM: self._rate,
            ioctl.REQBUFS: self._allocate,
            ioctl.QUERYBUF: self._describe,
            ioctl.QBUF: self._queue,
            ioctl.DQBUF: self._take,
            ioctl.STREAMON: lambda buffer: setattr(self, "streaming", True),
            ioctl.STREAMOFF: lambda buffer: setattr(self, "streaming", False),
        }.get(request)
        if answer is None:
            raise OSError(errno.ENOTTY, "not for me")
        answer(buffer)

    @property
    def _mplane(self):
        return self.capabilities & MPLANE_CAPTURE

    def _capabilities(self, buffer):
        struct.pack_into("=16s32s32sIII", buffer, 0, self.driver, b"Fake camera", b"", 0,
                         0x8000_0000, self.capabilities)  # fmt: skip

    def _list(self, buffer):
        index, kind = struct.unpack_from("=II", buffer)
        assert kind == (9 if self._mplane else 1)
        if index >= len(self.formats):
            raise OSError(errno.EINVAL, "end")
        struct.pack_into("=I", buffer, 44, fourcc_of(self.formats[index]))

    def _adopt(self, buffer):
        wanted = fourcc_name(struct.unpack_from("=I", buffer, 16)[0])
        if wanted in self.formats:
            self.format = wanted
        struct.pack_into("=4I", buffer, 8, *self.size, fourcc_of(self.format), self.field)
        if self._mplane:
            struct.pack_into("=II", buffer, 28, self.image_bytes, self.line_bytes)
            buffer[188] = self.planes
        else:
            struct.pack_into("=II", buffer, 24, self.line_bytes, self.image_bytes)

    def _rate(self, buffer):
        self.asked_period = struct.unpack_from("=II", buffer, 12)
        struct.pack_into("=5I", buffer, 0, 1, 0x1000, 0, 1, self.framerate)

    def _allocate(self, buffer):
        (self.requested,) = struct.unpack_from("=I", buffer)
        struct.pack_into("=I", buffer, 0, min(self.requested, self.granted))

    def _describe(self, buffer):
        (index,) = struct.unpack_from("=I", buffer)
        if self._mplane:
            self._plane(buffer, "=II", 4, self.image_bytes, index * self.step)
        else:
            struct.pack_into("=I4xI", buffer, 64, index * self.step, self.image_bytes)

    def _queue(self, buffer):
        self.empty.append(struct.unpack_from("=I", buffer)[0])

    def _take(self, buffer):
        self.on_wait()
        with self._lock:
            if not self.full:
                raise BlockingIOError(errno.EAGAIN, "none")
            index, used, flags, time_ns, sequence = self.full.popleft()
        sec, nsec = divmod(time_ns, 1_000_000_000)
        struct.pack_into("=5I4xqq16xI", buffer, 0, index, 1, used, flags, 0, sec, nsec // 1000,
                         sequence)  # fmt: skip
        if self._mplane:
            self._plane(buffer, "=I12xI", 0, used + 16, 16)

    def _plane(self, buffer, layout, at, *values):
        (address,) = struct.unpack_from("=Q", buffer, 64)
        plane = (ctypes.c_char * 64).from_address(address)
        struct.pack_into(layout, plane, at, *values)
