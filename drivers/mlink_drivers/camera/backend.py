"""The interface of camera backends, and how the backend for an address is found.

A backend is a class announced by an entry point of the group `mlink.cameras`. The entry point's
name is the scheme of the addresses that it opens:

    usb:046d:0825, usb:serial=…, /dev/v4l/by-id/…, /dev/video0   → v4l2
    genicam:serial=…, genicam:vendor=…,model=…                   → genicam
    file:clip.mkv, images:frames                                 → file, images
    rtsp://…, http://…, https://…                                → rtsp, http, https
    virtual:scene?seed=1                                         → scene
    anything:…                                                   → anything
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.metadata import Settable
from mlink.refusals import import_remedy
from mlink_drivers.camera.addresses import find_backend
from mlink_drivers.camera.addresses import scheme_of as scheme_of
from mlink_drivers.camera.addresses import shown_address as shown_address

ControlValue = bool | int | float | str
"""Value of a control; a string is the name of a menu entry, or "auto"."""


@dataclass(frozen=True, slots=True)
class CameraRequest:
    """What the bench requests of a camera; a backend ignores what its source does not have."""

    size: tuple[int, int] = (640, 480)
    """Width and height in pixels."""
    size_given: bool = False
    """Whether the bench gives the size; a camera with a natural size may keep that otherwise."""
    framerate: float = 30.0
    """Frames per second."""
    framerate_given: bool = False
    """Whether the bench gives the rate; it counts over what a stream states then."""
    triggered: bool = False
    """Whether a board's train triggers each frame, at `framerate`: none comes before the start, and
    the camera should not limit the rate by itself."""
    silence_sec: float = 2.0
    """Without a frame for this long (s), the caller takes the camera for lost."""
    open_timeout_sec: float = 5.0
    """Longest wait for the first picture, in s."""
    pixel_format: str = ""
    """As the backend names it, such as "MJPG" (V4L2) or "Mono12Packed" (GenICam); empty: the
    driver's choice."""
    convert: bool = True
    """Whether raw pictures become BGR or grey; else they keep the camera's own layout."""
    loop: bool = False
    """Whether a finite source starts again at its end."""
    paced: bool = True
    """Whether a recorded source plays at its own pace; else it is read as fast as possible."""
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    """Values of controls (exposure, gain, …) by name, in the order in which to set them. The
    bench's tables `controls` and `features` are part of it: a backend's own settings."""
    base_dir: Path = Path()
    """Folder of the bench, to which relative paths in an address refer."""
    now_ns: Callable[[], int] = time.monotonic_ns
    """The present time, ns of CLOCK_MONOTONIC; virtual in virtual time."""


DONE = "done"
"""`Answer.got` of an action, such as a software trigger: it is not repeated after a loss."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The camera's answer to one setting, as text with units."""

    setting: str
    asked: str
    got: str
    """The value read back from the camera, or why it refused the setting."""
    same: bool = False
    """Whether the camera does what was requested, within its resolution."""

    def __str__(self) -> str:
        return f"{self.setting}: asked {self.asked}, got {self.got}"


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What an open camera actually delivers."""

    shape: tuple[int, ...]
    """Shape of every picture: (height, width) or (height, width, channels)."""
    dtype: np.dtype[Any]
    """uint8 or uint16."""
    framerate: float
    """Frames per second; 0 when the source does not know it."""
    timestamp_source: str
    """Origin of the time stamps: "v4l2-monotonic", "host", "file", "generator", …"""
    uncertainty_usec: int
    """Largest distance of a stamp from the true time of the frame, in µs."""
    finite: bool = False
    """Whether the source ends by itself."""
    steady: bool = True
    """Whether frames come at `framerate`, so that a longer interval means lost frames."""
    live: bool = True
    """Whether a late thread loses frames, so that it should have real-time priority."""
    identity: str = ""
    """Address at which this very camera is found again after a loss; empty: the same address."""
    answers: tuple[Answer, ...] = ()
    """The camera's answers to all settings that were requested."""
    pixel_format: str = ""
    """Layout of pictures that were not converted, such as "YUYV" or "RGGB"; else empty."""
    timestamp_moment: str = ""
    """What the time stamps are of: "exposure-start" or "frame-end"; empty if that is not known."""
    numbers_complete: bool = True
    """Whether the numbers of `Stamp` show all lost frames; else intervals are looked at too."""

    bits: int = 0
    """Bits of values of 16 that are used, the lowest ones: 10 for a camera of 10 bits; 0: all."""

    @property
    def differences(self) -> tuple[Answer, ...]:
        """The settings in which the camera differs from the request."""
        return tuple(answer for answer in self.answers if not answer.same)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.shape[1], self.shape[0]

    @property
    def has_color(self) -> bool:
        """Whether a picture has colour channels (BGR).

        Grey pictures have the shape (height, width) or (height, width, 1).
        """
        return len(self.shape) == 3 and self.shape[2] > 1


class Stamp(NamedTuple):
    """The time at which a frame was taken, and its number if the source counts frames itself.

    The stream's metadata has the origin of the time (`timestamp_source`) and its error.
    """

    time_ns: int
    """On CLOCK_MONOTONIC, in ns."""
    number: int = -1
    """The source's own frame number, which shows lost frames; −1 if it has none."""
    estimated: bool = False
    """Whether the arrival time is used because `timestamp_source` had no time for this frame."""
    damaged: bool = False
    """Whether parts are missing, so that its time is vague; `retrieve` returns False."""


class NoFrame(enum.Enum):
    """Why `grab` returned no frame.

    `grab` returns it instead of a Stamp; only END is final.
    """

    TIMEOUT = "nothing came in time"
    NOT_YET = "the next frame is not due yet"
    REPEATED = "the driver returned the previous frame again"
    END = "the source has ended"


@runtime_checkable
class PacedCamera(Protocol):
    """A CameraBackend that knows when its next frame can be grabbed without a wait.

    Only such a source can run in virtual time; its clock is `CameraRequest.now_ns`.
    """

    def due_ns(self) -> int:
        """Return when the next frame, or the end of the source, can be grabbed."""


@runtime_checkable
class ChangingPace(Protocol):
    """A PacedCamera whose next frame may become due at another time than `due_ns` has returned."""

    def fileno(self) -> int:
        """Descriptor that is readable when `due_ns` has to be called again; −1 for none."""


@runtime_checkable
class Reporting(Protocol):
    """Additional method of a backend that has figures of its own for the run's summary."""

    def figures(self) -> Mapping[str, int | str]:
        """Return counts, which are added up over outages, and texts, by name.

        Called in any thread between `open` and the end of `close`, also when the camera is gone.
        """


@runtime_checkable
class KnownLength(Protocol):
    """Additional method of a backend whose source states how many frames it has."""

    def missing_at_end(self) -> int:
        """Return how many frames the source should still have had; called after END."""


class CameraBackend(Protocol):
    """One camera or other source of pictures: the whole contract of a backend.

    `mlink_drivers.camera.contract` has tests of it.

    A backend is made without arguments and used for one run: `open`, then `start`, then `grab` and
    `retrieve` alternately, then `close`. `open` and `close` are called in the worker's main thread
    (after a loss: in the capture thread, on a new backend), the others in the capture thread, and
    never two at once.
    """

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the device, apply the request, and return what it delivers.

        All slow work belongs here: reading settings back, and finding out where time stamps come
        from. A setting that the camera refuses is not an error but an `Answer` that is not `same`.

        Args:
            address: Address with the backend's scheme.
            request: Size, rate, pixel format and controls to apply.

        Raises:
            DeviceError: The device is absent, busy, silent or not permitted; with its address in
                the message, and a remedy.
        """

    def start(self) -> None:
        """Begin; called immediately before the first `grab`.

        Frames that are waiting must be discarded here if their stamps do not show their age; the
        caller drops frames with stamps before `start`. Generated sources begin to count here.
        """

    def grab(self) -> Stamp | NoFrame:
        """Wait for the next frame, at most about 1 s; neither decode nor spin.

        Returns:
            When the frame was taken, on CLOCK_MONOTONIC and later than the frame before; else why
            there is none. `TIMEOUT` means that a frame is overdue: the caller decides how much
            silence is a failure. `NOT_YET` means that a slow source is well. `END` is final.

        Raises:
            DeviceError: The device is gone.
        """

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode the frame grabbed last; it need not be called for each frame.

        Args:
            into: C-contiguous array of the announced shape and dtype, in shared memory. Decode
                straight into it, and keep no reference to it.

        Returns:
            False if this picture is damaged and the next one may be good.
        """

    def close(self) -> None:
        """Release the device; may be called twice, and after an `open` that failed."""


@runtime_checkable
class Adjustable(Protocol):
    """Additional method of a backend whose controls can be changed during a run."""

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control and read it back; called in the main thread while another thread grabs."""


@runtime_checkable
class Listing(Protocol):
    """Additional method of a backend that knows which controls its camera has."""

    def controls(self) -> Sequence[Settable]:
        """Return those that `adjust` can set during a run; called once, after `open`."""


def make_backend(
    address: str, points: Callable[[], tuple[EntryPoint, ...]] | None = None
) -> CameraBackend:
    """Find, import and create the backend for an address.

    Args:
        address: Address with the backend's scheme.
        points: Returns the entry points to search, by default those that are installed.

    Raises:
        DeviceError: No backend has this scheme, or it cannot be imported.
    """
    return _load(find_backend(address, points))


def _load(point: EntryPoint) -> CameraBackend:
    try:
        backend: CameraBackend = point.load()()
    except (ImportError, AttributeError) as error:
        raise DeviceError(
            f"camera backend '{point.name}' cannot be loaded from {point.value}: {error}",
            remedy=import_remedy(str(error)),
        ) from error
    return backend


def in_words(value: ControlValue) -> str:
    """Return a control's value as it is written in a bench."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
