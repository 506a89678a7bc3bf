"""A recorded video: its frames by number, by time, and in windows of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.metadata import bits_of
from mlink.recording.stream import Columns, RecordedStream
from mlink.recording.video_file import opened_video, packets_of, reason_of
from mlink.storage.inside import RecordingFile
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync.reader import read_times
from mlink.types import Frame

ARRAY_FORMATS = {
    "gray8": "gray",
    "gray16": "gray16le",
    "bgr8": "bgr24",
    "bgra8": "bgra",
    "bgr16": "bgr48le",
    "bgra16": "bgra64le",
}
"""Kind of a recorded frame → FFmpeg's name of the pixel format of its array."""


def array_of(frame: Any, kind: str) -> NDArray[Any]:
    """Return a decoded picture as an array of the kind that was recorded, with its own values.

    Args:
        frame: An `av.VideoFrame`.
        kind: "gray8", …; "" if it is not known.
    """
    stored = str(frame.format.name)
    if kind == "gray8" and stored.startswith(("gbr", "rgb", "bgr")):  # three equal planes
        plane: NDArray[Any] = np.ascontiguousarray(frame.to_ndarray(format="bgr24")[..., 0])
        return plane
    name = ARRAY_FORMATS.get(kind) or ("gray" if stored.startswith("gray") else "bgr24")
    is_narrow = all(component.bits <= 8 for component in frame.format.components)
    if kind.startswith("gray") and stored in ("gray10le", "gray12le", "gray16le"):
        name = stored  # else the values are scaled
    elif kind.endswith("16") and is_narrow:  # of a dataset that is being encoded
        name = ARRAY_FORMATS[kind.replace("16", "8")]
    array: NDArray[Any] = frame.to_ndarray(format=name)
    return array


class Video(RecordedStream):
    """Frames as they were recorded. Reading them in order is fast; random access is slower.

    `len(video)` is the number of frames, `video[i]` decodes one, iteration decodes all. Random
    access decodes from the key frame before. Frames are arrays of the recorded kind of pixels.
    """

    def __init__(self, unit: UnitFolder) -> None:
        super().__init__(unit)
        about = unit.attributes.get("video", {})
        self._kind = str(about.get("pixels", ""))
        self._stated = about
        self._parts = [_Part(unit.file(name), self._kind) for name in unit.part_names("data")]

    @property
    def bits(self) -> int:
        """Bits of the frames' values that are used, the lowest ones: 8, or up to 16."""
        return bits_of(self._stated, 2 if self._kind.endswith("16") else 1)

    @cached_property
    def _times(self) -> list[NDArray[np.int64]]:
        return [read_times(self._unit.file(name)) for name in self._unit.tsync_names]

    @cached_property
    def times_usec(self) -> NDArray[np.int64]:
        """The time of each frame, in µs."""
        if len(self._times) == 1:
            return self._times[0]
        return np.concatenate([np.empty(0, np.int64), *self._times])

    def columns(self) -> Columns:
        """Return the columns `frame` (numbers from 0) and `time_usec`."""
        return {"frame": np.arange(len(self.times_usec)), "time_usec": self.times_usec}

    @property
    def part_starts(self) -> list[int]:
        """The number of the first frame of each file."""
        counts = [len(times) for times in self._times]
        return [sum(counts[:at]) for at in range(len(counts))]

    def __len__(self) -> int:
        return len(self.times_usec)

    def __getitem__(self, index: int) -> Frame:
        """Return one frame by its number; negative ones count from the end.

        Raises:
            IndexError: There is no such frame.
            StorageError: Its file is missing or cannot be decoded.
        """
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"'{self.name}' has {len(self)} frames, there is no frame {index}")
        part, offset = self._part_of(number)
        return self._frame(number, part.read(number - offset))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield the frames from number `start` up to but not including `stop`.

        Raises:
            StorageError: A file is missing or cannot be decoded.
        """
        end = len(self) if stop is None else min(stop, len(self))
        for number in range(start, end):
            part, offset = self._part_of(number)
            yield self._frame(number, part.read(number - offset))

    def nearest(self, time_usec: int) -> Frame:
        """Return the frame nearest to a time.

        Args:
            time_usec: Master time in µs.

        Raises:
            StorageError: The video is empty or cannot be decoded.
        """
        return self[self.nearest_index(time_usec)]

    def at(self, time_usec: int) -> Frame:
        """Return the current frame at a time: the last one at or before it.

        Raises:
            StorageError: The first frame is later.
        """
        index = self.index_at(time_usec)
        if index < 0:
            raise StorageError(f"'{self.name}' has no frame at or before {time_usec} µs")
        return self[index]

    def between(self, start_usec: int, end_usec: int) -> Iterator[Frame]:
        """Yield the frames of start ≤ time < end, in µs."""
        window = self.window(start_usec, end_usec)
        return self.frames(window.start, window.stop)

    def close(self) -> None:
        """Close the video files."""
        for part in self._parts:
            part.close()

    def _part_of(self, number: int) -> tuple[_Part, int]:
        offset = 0
        for part, times in zip(self._parts, self._times, strict=False):
            if number < offset + len(times):
                return part, offset
            offset += len(times)
        raise StorageError(f"the video file with frame {number} of '{self.name}' is missing")

    def _frame(self, number: int, mat: NDArray[Any]) -> Frame:
        return Frame.from_array(mat, number, int(self.times_usec[number]))


class _Part:
    """One video file: decodes the next frame, and seeks when another one is requested."""

    def __init__(self, file: RecordingFile, kind: str) -> None:
        self._file = file
        self._kind = kind
        self._open = ExitStack()
        self._container: Any = None
        self._decoded: Iterator[Any] = iter(())
        self._next = -1
        """Number of the next decoded frame; -1 when it is not known, after a seek."""

    @cached_property
    def _pts(self) -> list[int]:
        """Time of each frame in the container's time base, in display order."""
        with opened_video(self._file) as container:
            return sorted(each.pts for each in packets_of(container) if each.pts is not None)

    def read(self, number: int) -> NDArray[Any]:
        try:
            if number == 0 or self._container is None or number != self._next:
                self._seek(number)
            for frame in self._decoded:
                if self._next < 0:  # after a seek the decoder starts at an earlier key frame
                    if frame.pts < self._pts[number]:
                        continue
                    if frame.pts > self._pts[number]:
                        raise ValueError("the index of the file leads to another picture")
                    self._next = number
                self._next += 1
                return array_of(frame, self._kind)
        except (av.FFmpegError, IndexError, ValueError, TypeError) as error:
            raise StorageError(
                f"{self._file} cannot be decoded at frame {number}: {reason_of(error)}"
            ) from error
        raise StorageError(
            f"{self._file} ends before frame {number}, although its time was recorded",
            remedy="A crash caused this: close the recording with mlink repair.",
        )

    def _seek(self, number: int) -> None:
        if self._container is None:
            self._container = self._open.enter_context(opened_video(self._file))
        stream = self._container.streams.video[0]
        if number == 0:
            self._container.seek(0)
            self._next = 0
        else:
            self._container.seek(self._pts[number], stream=stream, backward=True)
            self._next = -1
        self._decoded = self._container.decode(stream)

    def close(self) -> None:
        self._open.close()
        self._container, self._next = None, -1
