"""Camera backend for video files, whose frames are paced by their own times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.decoding import Decoder, Pictures
from mlink_drivers.camera.pacing import Pacer

_DEFAULT_RATE = 30.0
_STATE_LENGTH = ("matroska", "mov", "avi")
"""Formats that state their length at the begin; FFmpeg estimates that of others."""
_CUT_PERIODS = 1.5
"""A file that ends this much too early was cut; lengths are rounded, and some count intervals."""
_NO_MORE = object()


class VideoFileCamera:
    """Plays `file:PATH`; see CameraBackend for the contract.

    A frame's time is the start of the run plus its time in the file, even if it is read as fast as
    possible (`paced = false`), so that a clip has the same times in each run. Times that are
    missing or go back in the file are replaced by one frame period after the frame before.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._container: Any = None
        self._arrays: Pictures | None = None
        self._pictures: Iterator[Any] = iter(())
        self._loop = False
        self._pacer = Pacer()
        self._period_nsec = 0
        self._pass_ns = 0
        """Begin of the current pass through the file, in ns from the start."""
        self._first_ns: int | None = None
        """Time in the file of this pass's first frame, in ns."""
        self._last_ns = -1
        """Time of the newest frame, in ns from the start."""
        self._stated_ns: int | None = None
        """Length of the file as it states, in ns."""
        self._stated_frames = 0
        """Number of its frames as it states; 0 if it does not."""
        self._index = -1
        self._due: Stamp | None = None
        """A frame that is grabbed but not due yet."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the file and decode its first picture.

        Raises:
            DeviceError: The file does not exist, or is not a readable video.
        """
        name = address.partition(":")[2] or address
        self._path = request.base_dir / name
        if not self._path.is_file():
            raise DeviceError(
                f"there is no video file {self._path}",
                remedy=f"For a folder of images use 'images:{name}'."
                if self._path.is_dir()
                else "Paths after 'file:' start at the folder of the bench file.",
            )
        self._loop = request.loop
        self._pacer.follow(request)
        try:
            self._rewind()
            first = next((picture for picture in self._pictures if picture is not None), None)
        except (av.FFmpegError, OSError, IndexError, ValueError):
            first = None
        if first is None:
            raise DeviceError(
                f"{self._path} is not a video that can be read, or is damaged",
                remedy=f"Check it with `ffprobe '{self._path}'`.",
            )
        stream = self._container.streams.video[0]
        framerate = float(stream.guessed_rate or stream.average_rate or 0)
        if not 0 < framerate < 1e6:
            framerate = _DEFAULT_RATE
        self._period_nsec = round(1e9 / framerate)
        self._stated_ns, self._stated_frames = _length_ns(self._container), stream.frames
        self._arrays = Pictures(
            first, str(self._path), "Convert the file to one size and kind first."
        )
        layout = self._arrays.layout
        self._rewind()
        return CameraInfo(
            shape=layout.shape,
            dtype=layout.dtype.newbyteorder("="),
            bits=layout.bits,
            framerate=framerate,
            timestamp_source="file",
            uncertainty_usec=0,
            finite=not self._loop,
            steady=False,
            live=request.paced,
        )

    def start(self) -> None:
        """Make the file's first frame due now."""
        self._pacer.start()

    def grab(self) -> Stamp | NoFrame:
        """Read the next frame and wait until it is due, at most 1 s.

        Raises:
            DeviceError: A file that loops cannot be read again.
        """
        if self._due is None:
            self._due = self._next()
            if self._due is None:
                return NoFrame.END
        if (waiting := self._pacer.wait(self._due)) is not None:
            return waiting
        due, self._due = self._due, None
        return due

    def due_ns(self) -> int:
        """Return when the next frame can be grabbed; now at the end of the file.

        Raises:
            DeviceError: A file that loops cannot be read again.
        """
        if self._due is None:
            self._due = self._next()
        return self._due.time_ns if self._due is not None else self._pacer.now_ns()

    def missing_at_end(self) -> int:
        """Return how many frames are missing at the end of a file that was cut."""
        frames = self._stated_frames
        if self._stated_ns is None or self._index + 1 >= frames > 0:
            return 0
        # Only a file that does not loop has an end, so this was its only pass.
        end_ns = self._last_ns + (self._first_ns or 0) + self._period_nsec
        missing = (self._stated_ns - end_ns) / self._period_nsec
        return round(missing) if missing > (0.5 if frames > 0 else _CUT_PERIODS) else 0

    def _next(self) -> Stamp | None:
        """Read the next frame; None at the end of a file that does not loop."""
        picture: Any = next(self._pictures, _NO_MORE)
        if picture is _NO_MORE:
            if not self._loop:
                return None
            self._pass_ns = self._last_ns + self._period_nsec
            try:
                self._rewind()
                picture = next(self._pictures, _NO_MORE)
            except (av.FFmpegError, OSError):
                picture = _NO_MORE
            if picture is _NO_MORE:
                raise DeviceError(
                    f"{self._path} could be read once but not again",
                    remedy="Check that the file is still there, and its disk.",
                )
        assert self._arrays is not None
        self._arrays.grab(picture)
        self._index += 1
        if picture is None or picture.pts is None:  # damaged, or its time is not known
            self._last_ns += self._period_nsec if self._last_ns >= 0 else 1
            return self._pacer.stamp(self._last_ns, self._index)
        file_ns = round(picture.pts * picture.time_base * 1_000_000_000)
        if self._first_ns is None:
            self._first_ns = file_ns
        time_ns = self._pass_ns + file_ns - self._first_ns
        if time_ns <= self._last_ns:
            time_ns = self._last_ns + self._period_nsec
        self._last_ns = time_ns
        return self._pacer.stamp(time_ns, self._index)

    def _rewind(self) -> None:
        """Go back to the first frame."""
        # Opened again, because seeking to frame 0 is inexact in files without an index.
        self.close()
        self._container = av.open(str(self._path))
        self._pictures = self._decoded(self._container)
        self._first_ns = None

    def _decoded(self, container: Any) -> Iterator[Any]:
        """Yield the pictures; None for each packet that cannot be decoded."""
        stream = container.streams.video[0]
        decoder = Decoder(stream)
        try:
            for packet in container.demux(stream):
                yield from decoder.decode(packet)
        except av.FFmpegError:
            yield None  # the rest of the file cannot be read

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False if the picture is damaged.

        Raises:
            DeviceError: The picture has another size or kind than the first one.
        """
        assert self._arrays is not None
        return self._arrays.retrieve(into)

    def close(self) -> None:
        """Close the file."""
        container, self._container = self._container, None
        if container is not None:
            container.close()


def _length_ns(container: Any) -> int | None:
    """Return the length of a video as its file states; None if that is not known."""
    if not container.format.name.startswith(_STATE_LENGTH):
        return None
    stream = container.streams.video[0]
    if container.format.name == "avi":  # its duration is adapted to what is there
        rate = stream.average_rate
        return round(stream.frames / rate * 1_000_000_000) if stream.frames and rate else None
    lengths = []
    if stream.duration:
        lengths.append(round(stream.duration * stream.time_base * 1_000_000_000))
    if container.duration and (lengths or len(container.streams) == 1):  # else that of the sound
        lengths.append(container.duration * 1000)
    return min(lengths, default=None)
