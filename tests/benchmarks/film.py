"""A V4L2 camera in memory, which sends one JPEG again and again, on time or as fast as possible."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import av

from mlink_drivers.camera.backend import CameraInfo, CameraRequest
from mlink_drivers.camera.v4l2.camera import V4L2Camera
from tests.support.cameras.fake_v4l2 import FakeV4L2


class FilmDriver(FakeV4L2):
    """Has the picture in all of its buffers, so that a frame costs nothing until it is decoded.

    Args:
        node: The file that takes the place of the device node.
        clip: A video in MJPEG, whose first picture is sent.
        framerate: Frames per second, made while others are waited for too; 0: as they are taken.
    """

    def __init__(self, node: Path, clip: Path, framerate: float) -> None:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            jpeg = bytes(next(container.demux(stream)))
            size = (stream.width, stream.height)
        super().__init__(node, ("MJPG",), size, 0, len(jpeg))
        for index in range(self.granted):
            with node.open("r+b") as file:
                file.seek(index * self.step)
                file.write(jpeg)
        self.framerate = round(framerate) or 60
        self._period_nsec = round(1e9 / framerate) if framerate else 0
        self._due_ns = time.monotonic_ns()
        self.on_wait = self._film

    def _film(self) -> None:
        now_ns = time.monotonic_ns()
        if not self._period_nsec:
            self.fill(time_ns=now_ns)
            return
        if not self.full and now_ns < self._due_ns:
            time.sleep((self._due_ns - now_ns) / 1e9)
            now_ns = time.monotonic_ns()
        while self._due_ns <= now_ns:
            self.fill(time_ns=self._due_ns)
            self._due_ns += self._period_nsec


class FilmCamera(V4L2Camera):
    """Opens `film:CLIP` at the requested rate, and `film:CLIP?unpaced` as fast as possible."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open a node of its own."""
        clip, _, unpaced = address.partition(":")[2].partition("?")
        self._folder = tempfile.TemporaryDirectory()
        node = Path(self._folder.name, "video0")
        self._ioctl = FilmDriver(node, Path(clip), 0 if unpaced else request.framerate)
        return super().open(str(node), request)
