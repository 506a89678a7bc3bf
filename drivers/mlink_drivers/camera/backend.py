"""What a camera backend is, and how the one for an address is found.

A backend is a class named by an entry point of the group `mlink.cameras`; the entry point's name
is the scheme of the addresses that it opens:

    usb:046d:0825, usb:serial=…, /dev/v4l/by-id/…, /dev/video0   → v4l2
    file:clip.mkv, images:frames                                 → file, images
    rtsp://…, http://…, https://…                                → rtsp, http, https
    virtual:scene?seed=1                                         → scene
    anything:…                                                   → anything
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError

GROUP = "mlink.cameras"
VIRTUAL = "virtual"

ControlValue = bool | int | float | str
"""What a control may be set to; a text is the name of a choice, or "auto"."""


@dataclass(frozen=True, slots=True)
class CameraRequest:
    """What the bench asks of a camera; a backend ignores what its source does not have."""

    size: tuple[int, int] = (640, 480)
    """Width and height in pixels."""
    framerate: float = 30.0
    """Frames per second."""
    pixel_format: str = ""
    """Four characters, such as "MJPG" or "GREY"; empty: the driver's choice."""
    loop: bool = False
    """Whether a finite source begins anew at its end."""
    paced: bool = True
    """Whether a recorded source keeps its own pace; else it is read as fast as possible."""
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    """Exposure, gain, … by name, in the order in which they are to be set."""
    base_dir: Path = Path()
    """Where relative paths in an address start: the folder of the bench."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the camera made of one setting, in words with units."""

    setting: str
    asked: str
    got: str
    """Read back from the camera, or why it did not take the setting."""
    same: bool = False
    """Whether the camera does what was asked, but for what is finer than it can do."""

    def __str__(self) -> str:
        return f"{self.setting}: asked {self.asked}, got {self.got}"


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What an opened camera really delivers."""

    shape: tuple[int, ...]
    """Of every picture: (height, width) or (height, width, channels)."""
    dtype: np.dtype[Any]
    framerate: float
    """Frames per second; 0 when the source does not know."""
    timestamp_source: str
    """What gives the stamps: "v4l2-monotonic", "host", "file", "generator", …"""
    uncertainty_usec: int
    """How far a stamp may be from the moment that it stands for, in µs."""
    finite: bool = False
    """Whether the source ends by itself."""
    steady: bool = True
    """Whether frames come at `framerate`, so that a longer interval means lost frames."""
    live: bool = True
    """Whether frames are lost by being late, so that the thread deserves high priority."""
    identity: str = ""
    """The address by which this very camera is found again after a loss; empty: the same."""
    answers: tuple[Answer, ...] = ()
    """What was asked of the camera, and what it does."""

    @property
    def differences(self) -> tuple[Answer, ...]:
        """What the camera does otherwise than asked."""
        return tuple(answer for answer in self.answers if not answer.same)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.shape[1], self.shape[0]

    @property
    def has_color(self) -> bool:
        """Whether a picture has colour channels (BGR)."""
        return len(self.shape) == 3 and self.shape[2] > 1


class Stamp(NamedTuple):
    """When a frame was taken, and its number where the source counts by itself."""

    time_ns: int
    """CLOCK_MONOTONIC, ns."""
    number: int = -1
    """The source's own number, which shows frames that it lost; −1: it has none."""
    estimated: bool = False
    """Whether this one frame has no time of `timestamp_source`: its arrival stands in."""


class NoFrame(enum.Enum):
    """Why `grab` brought no frame."""

    TIMEOUT = "nothing came in time"
    NOT_YET = "the next frame is not due yet"
    REPEATED = "the driver returned the previous frame again"
    END = "the source has ended"


class CameraBackend(Protocol):
    """One camera or other source of pictures. This is the whole contract of a backend.

    `mlink_drivers.camera.contract` checks it.

    A backend is made without arguments and used for one run. Its life is `open`, then `start`,
    then `grab` and `retrieve` in turns, then `close`. `open` and `close` are called in the
    worker's main thread (after a loss: the capture thread, with a backend made anew), the others
    in the capture thread; never two at once.

    `open(address, request)` does all slow work: it opens the device, applies the request, reads
    back what it got, and finds out where its stamps come from. A setting that the camera refuses
    is no error but an `Answer` that is not the same. A device that is absent, busy, forbidden or
    silent raises DeviceError with the address in its message and a remedy.

    `start()` is called right before the first `grab`. Frames of the time before are thrown away
    here if their stamps would not show their age (stamps before `start` are dropped by the
    caller); sources that make their frames begin to count here.

    `grab()` waits for the next frame, at most about 1 s, and returns when it was taken (on
    CLOCK_MONOTONIC, later than the frame before) or why there is none. It must not decode and
    must not spin. DeviceError when the device is gone. `NoFrame.TIMEOUT` says that a frame was
    overdue: how long silence is borne is the caller's decision; `NoFrame.NOT_YET` that a slow
    source is well. After `NoFrame.END` it is not called again.

    `retrieve(into)` decodes the frame last grabbed straight into `into`, a C-contiguous array of
    the announced shape and dtype, in shared memory, and returns True; False when this picture is
    damaged and the next may be good. A grabbed frame need not be retrieved. `into` must not be
    kept.

    `close()` gives everything back; it may be called twice, and after an `open` that failed.
    """

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the device and say what it delivers."""
        ...

    def start(self) -> None:
        """Begin; the next frame grabbed is the first that counts."""
        ...

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most about 1 s."""
        ...

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode the frame last grabbed into this memory."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@runtime_checkable
class Adjustable(Protocol):
    """A backend whose controls can be changed during a run has this method besides."""

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control and read it back; called in the main thread while others grab."""
        ...


def scheme_of(address: str) -> str:
    """Return the name of the backend that opens this address."""
    if address.startswith(("/dev/", "usb:")):
        return "v4l2"
    scheme, colon, rest = address.partition(":")
    if not colon:
        raise DeviceError(
            f"'{address}' is not the address of a camera",
            remedy="Write /dev/video0 (`mlink devices` lists cameras), file:clip.mkv "
            "or virtual:scene.",
        )
    if scheme == VIRTUAL:
        return re.split(r"[?:/]", rest, maxsplit=1)[0]
    return scheme


def make_backend(
    address: str, points: Callable[[], tuple[EntryPoint, ...]] | None = None
) -> CameraBackend:
    """Find, import and make the backend for an address; DeviceError when there is none."""
    scheme = scheme_of(address)
    installed = points() if points else tuple(entry_points(group=GROUP))
    for point in installed:
        if point.name == scheme:
            return _load(point)
    known = sorted(point.name for point in installed)
    near = difflib.get_close_matches(scheme, known, n=1)
    remedy = f"Did you mean '{near[0]}'? " if near else ""
    raise DeviceError(
        f"no camera backend opens '{address}' (scheme '{scheme}')",
        remedy=f"{remedy}Installed: {', '.join(known) or 'none'}.",
    )


def _load(point: EntryPoint) -> CameraBackend:
    try:
        backend: CameraBackend = point.load()()
    except (ImportError, AttributeError) as error:
        raise DeviceError(
            f"camera backend '{point.name}' cannot be loaded from {point.value}: {error}",
            remedy="Reinstall the package that provides it, with its extras.",
        ) from error
    return backend


def shown_address(address: str) -> str:
    """Return an address as it may be logged and recorded: without a password."""
    return re.sub(r"(?<=://)[^/@]*@", "…@", address)


def in_words(value: ControlValue) -> str:
    """Return a control's value as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
