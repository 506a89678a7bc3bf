"""The items of streams.

Times are µs on the master timer, except where a field's name or description has another unit.
"""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray


class ScriptEnum(enum.Enum):
    """An enumeration of the script interface: a member is no number, but `int()` returns its value.

    `str()` of a member is "Class.MEMBER", as in Syntalos, also in f-strings and cells of tables.
    """

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


class ScriptFlags(enum.IntFlag):
    """Flags of the script interface: numbers, whose text is "Class.FLAG", as in Syntalos."""

    __str__ = enum.Flag.__str__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class DataType(ScriptEnum):
    """Types of streams, with the names that benches, scripts and Syntalos use.

    The names of Syntalos 2.x are aliases. Files and messages have the names, not the numbers.
    """

    ControlCommand = 1
    TableRow = 2
    Frame = 3
    LineCommand = 4
    LineReading = 5
    SignalBlockI32 = 6
    SignalBlockU16 = 7
    SignalBlockF32 = 8
    FirmataControl = 4
    FirmataData = 5
    IntSignalBlock = 6
    FloatSignalBlock = 8

    @classmethod
    def from_name(cls, name: str) -> DataType:
        """Return the type with this name, of Syntalos 3.x or 2.x.

        Raises:
            KeyError: There is none.
        """
        return cls.__members__[name]


class ControlCommandKind(ScriptEnum):
    """What a ControlCommand requests."""

    UNKNOWN = 0
    START = 1
    PAUSE = 2
    STOP = 3
    STEP = 4
    CUSTOM = 5


class LineCommandKind(ScriptEnum):
    """What a LineCommand requests of a board."""

    UNKNOWN = 0
    SET_MODE = 1
    WRITE_DIGITAL = 2
    WRITE_ANALOG = 3
    WRITE_DIGITAL_PULSE = 4
    WRITE_ANALOG_PULSE = 5
    DEVICE_SPECIFIC = 6


class LineModeFlags(ScriptFlags):
    """How a line is set up by SET_MODE."""

    NONE = 0
    IS_INPUT = 1
    IS_OUTPUT = 2
    PULL_UP = 4


def usec_of(value: timedelta | float) -> int:
    """Return a time in µs.

    Args:
        value: The time as a timedelta, or a number of seconds.

    Raises:
        TypeError: It is neither.
        ValueError: The number is not finite.
    """
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"a time is a timedelta or a number of seconds, not {type(value).__name__}"
        ) from None
    if not math.isfinite(seconds):
        raise ValueError(f"a time must be finite, not {seconds}")
    return round(seconds * 1_000_000)


class ControlCommand(msgspec.Struct, array_like=True):
    """A request to a module to start, pause, stop or step.

    Attributes:
        kind: What is requested.
        duration: A duration in ms, where the kind has one.
        command: Text of a CUSTOM command.
    """

    kind: ControlCommandKind = ControlCommandKind.UNKNOWN
    duration: int = 0
    command: str = ""


class LineCommand(msgspec.Struct, array_like=True):
    """One command to a line of a board.

    Attributes:
        kind: What is requested.
        line_id: Number of the line, 0 to 65535.
        value: Value to write, 0 to 4294967295.
        duration_usec: Length of a pulse, in µs.
        flags: How SET_MODE sets the line up.
        extra: Payload of a DEVICE_SPECIFIC command.
    """

    kind: LineCommandKind = LineCommandKind.UNKNOWN
    line_id: int = 0
    value: int = 0
    duration_usec: int = 0
    flags: LineModeFlags = LineModeFlags.NONE
    extra: bytes = b""


class LineReading(msgspec.Struct, array_like=True):
    """One value read from a line of a board.

    Attributes:
        line_id: Number of the line, 0 to 65535.
        value: The value: 0 or 1 of a digital line.
        time_usec: Master time of the reading, in µs.
    """

    line_id: int = 0
    value: int = 0
    time_usec: int = 0

    @property
    def time(self) -> timedelta:
        """`time_usec` as a timedelta; a number of seconds may be assigned, too."""
        return timedelta(microseconds=self.time_usec)

    @time.setter
    def time(self, value: timedelta | float) -> None:
        self.time_usec = usec_of(value)


TableRow: TypeAlias = list[str]
"""A row as it is received, a list of texts. Any sequence may be submitted; cells become text."""


class Frame:
    """One picture with its number and its master time.

    A received frame lies in shared memory that all subscribers read. `view` reads it there, without
    a copy; the first access to `mat` makes a copy that may be written to.

    Attributes:
        index: Number of the frame, as its source counts.
        time_usec: Master time of the frame, in µs.
    """

    __slots__ = ("__weakref__", "_mat", "_view", "index", "time_usec")

    def __init__(self) -> None:
        self.index: int = 0
        self.time_usec: int = 0
        self._mat: NDArray[Any] | None = None
        self._view: NDArray[Any] | None = None

    @classmethod
    def from_shared(cls, view: NDArray[Any], index: int, time_usec: int) -> Frame:
        """Return a frame of pixels in shared memory.

        Args:
            view: The pixels, H×W or H×W×C; becomes read-only. Keeps the memory alive.
            index: Number of the frame.
            time_usec: Master time of the frame.
        """
        frame = cls()
        frame.index = index
        frame.time_usec = time_usec
        view.flags.writeable = False
        frame._view = view
        return frame

    @classmethod
    def from_array(cls, mat: NDArray[Any], index: int = 0, time_usec: int = 0) -> Frame:
        """Return a frame of an array, which is not copied.

        Args:
            mat: The pixels, H×W or H×W×C.
            index: Number of the frame.
            time_usec: Master time of the frame.
        """
        frame = cls()
        frame.index = index
        frame.time_usec = time_usec
        frame._mat = mat
        return frame

    @property
    def mat(self) -> NDArray[Any]:
        """The pixels as an array to write to; without pixels an empty 0×0 array of uint8."""
        if self._mat is None:
            if self._view is None:
                self._mat = np.empty((0, 0), np.uint8)
            else:
                self.detach()
        assert self._mat is not None
        return self._mat

    @mat.setter
    def mat(self, value: NDArray[Any]) -> None:
        self._mat = value
        self._view = None

    @property
    def view(self) -> NDArray[Any]:
        """The pixels without a copy; read-only while they are in shared memory."""
        if self._view is not None:
            return self._view
        return self.mat

    @property
    def is_shared(self) -> bool:
        """Whether the pixels are still in shared memory."""
        return self._view is not None

    def detach(self) -> None:
        """Copy the pixels out of shared memory, which is freed when no view is left."""
        if self._view is not None:
            self._mat = self._view.copy()
            self._view = None

    @property
    def time(self) -> timedelta:
        """`time_usec` as a timedelta; a number of seconds may be assigned, too."""
        return timedelta(microseconds=self.time_usec)

    @time.setter
    def time(self, value: timedelta | float) -> None:
        self.time_usec = usec_of(value)

    def __repr__(self) -> str:
        shape = "×".join(str(n) for n in self.view.shape)
        return f"<Frame {self.index} {shape} {self.view.dtype} at {self.time_usec} µs>"


class SignalBlock:
    """Samples of one or several channels, with the time of each sample.

    Arrays and lists of other number types are converted when they are assigned; integer blocks cut
    fractions off. An array with values out of range is kept as it is, and refused when it is sent.
    """

    __slots__ = ("_data", "_timestamps")
    dtype: np.dtype[Any] = np.dtype(np.int32)

    def __init__(self) -> None:
        self._timestamps: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._data: NDArray[Any] = np.empty((0, 0), self.dtype)

    @property
    def timestamps(self) -> NDArray[np.uint64]:
        """Time of each sample, uint64 of shape (N,); µs unless the metadata has a `time_unit`."""
        return self._timestamps

    @timestamps.setter
    def timestamps(self, value: NDArray[Any]) -> None:
        self._timestamps = _fitted(value, _TIMESTAMP)

    @property
    def data(self) -> NDArray[Any]:
        """The samples, of shape (N, channels): a row for each time, a column for each channel."""
        return self._data

    @data.setter
    def data(self, value: NDArray[Any]) -> None:
        samples = _fitted(value, self.dtype)
        self._data = samples.reshape(-1, 1) if samples.ndim == 1 else samples

    @property
    def length(self) -> int:
        """Number of timestamps; `rows` of `data` must be as many when the block is sent."""
        return int(self._timestamps.shape[0]) if self._timestamps.ndim else 0

    @property
    def rows(self) -> int:
        """Number of samples."""
        return int(self._data.shape[0]) if self._data.ndim else 0

    @property
    def cols(self) -> int:
        """Number of channels."""
        return int(self._data.shape[1]) if self._data.ndim == 2 else 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.rows}×{self.cols}>"


class SignalBlockI32(SignalBlock):
    """A block of int32 samples."""

    if not TYPE_CHECKING:  # `data` below is a type only; checkers would miss a slot for it
        __slots__ = ()
    dtype = np.dtype(np.int32)
    data: NDArray[np.int32]


class SignalBlockU16(SignalBlock):
    """A block of uint16 samples."""

    if not TYPE_CHECKING:  # `data` below is a type only; checkers would miss a slot for it
        __slots__ = ()
    dtype = np.dtype(np.uint16)
    data: NDArray[np.uint16]


class SignalBlockF32(SignalBlock):
    """A block of float32 samples."""

    if not TYPE_CHECKING:  # `data` below is a type only; checkers would miss a slot for it
        __slots__ = ()
    dtype = np.dtype(np.float32)
    data: NDArray[np.float32]


_TIMESTAMP = np.dtype(np.uint64)


def _fitted(value: object, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values as an array of `dtype`; unconverted when one of them does not fit."""
    if type(value) is np.ndarray and value.dtype == dtype:
        return value
    array: NDArray[Any] = np.asarray(value)
    if array.size == 0:
        return array.astype(dtype) if array.dtype.kind in "biuf" else array
    if array.dtype.kind not in "biuf":
        return array
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not np.isfinite(array).all():
            return array
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            return array
    return array.astype(dtype)


StreamItem: TypeAlias = ControlCommand | TableRow | Frame | LineCommand | LineReading | SignalBlock
