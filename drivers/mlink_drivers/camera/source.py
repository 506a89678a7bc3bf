"""One camera for the length of a run: opened, adjusted, and opened again after a loss.

A backend serves one opening; this class makes a new one for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from mlink.errors import DeviceError
from mlink.metadata import Settable
from mlink_drivers.camera.backend import (
    DONE,
    Adjustable,
    Answer,
    CameraBackend,
    CameraInfo,
    CameraRequest,
    ControlValue,
    Listing,
    Reporting,
    in_words,
    make_backend,
    shown_address,
)
from mlink_drivers.camera.framing import Region, framed

_CLOSE_WAIT_SEC = 0.5
_AWAY = "the camera is away; it will be set when it is back"
MakeBackend = Callable[[str], CameraBackend]


class CameraSource:
    """Owns the backend of a camera, and creates a new one after each loss.

    `adjust` is called in the main thread and `reopen` in the capture thread; a lock serialises
    them.

    Args:
        address: Address of the camera.
        request: Settings to apply whenever it is opened.
        region: Region of interest: x, y, width and height in pixels.
        greyscale: Whether colour pictures are converted to grey.
        make: Creates the backend for an address.
        shown: Name of the camera in the log; by default its address.
    """

    def __init__(
        self,
        address: str,
        request: CameraRequest,
        *,
        region: Region | None = None,
        greyscale: bool = False,
        make: MakeBackend = make_backend,
        shown: str = "",
    ) -> None:
        self.shown = shown_address(shown or address)
        """Name of the camera in the log, without a password."""
        self._address = address
        self._request = request
        self._region = region
        self._greyscale = greyscale
        self._make = make
        self._lock = threading.Lock()
        self._raw: CameraBackend | None = None
        self._backend: CameraBackend | None = None
        self._info: CameraInfo | None = None
        self._abandoned = False
        self._past: dict[str, int | str] = {}
        """Figures of the openings before this one."""

    @property
    def backend(self) -> CameraBackend:
        """The open camera, with region and greyscale applied."""
        assert self._backend is not None
        return self._backend

    def open(self) -> CameraInfo:
        """Open the camera; return what it delivers after cropping and conversion.

        Raises:
            DeviceError: It cannot be opened.
        """
        info = self._open(self._address)
        self._info = info
        return info

    def _open(self, address: str) -> CameraInfo:
        self._raw = self._make(address)
        self._backend = framed(self._raw, self._region, self._greyscale)
        info = self._backend.open(address, self._request)
        if self._request.controls and not isinstance(self._raw, Adjustable):
            none = tuple(_no_controls(name, wish) for name, wish in self._request.controls.items())
            info = replace(info, answers=info.answers + none)
        return info

    def reopen(self) -> CameraBackend:
        """Open the lost camera again, at its identity.

        Raises:
            DeviceError: It is still away.
            ChangedCameraError: It came back with pictures of another shape or type.
        """
        assert self._info is not None
        with self._lock:
            self._close()
            try:
                info = self._open(self._info.identity or self._address)
            except BaseException:
                self._close()
                raise
            if self._abandoned:
                self._close()
                raise DeviceError(f"{self.shown} is not needed any more", remedy="")
            was = self._info
            if (info.shape, info.dtype, info.bits) != (was.shape, was.dtype, was.bits):
                self._close()
                raise ChangedCameraError(
                    f"{self.shown} came back with pictures of {_form(info)}, instead of "
                    f"{_form(was)}",
                    remedy="Plug in the same camera; no other program may change its format.",
                )
            return self.backend

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control during the run; it is set again if the camera has to be reopened.

        Returns:
            The value read back, or why it was not set.
        """
        before = self._request
        self._request = replace(before, controls={**before.controls, control: value})
        # Reopening takes seconds, for which the main thread must not be blocked.
        if not self._lock.acquire(blocking=False):
            return Answer(control, in_words(value), _AWAY)
        try:
            if self._raw is None:
                return Answer(control, in_words(value), _AWAY)
            if not isinstance(self._raw, Adjustable):
                return _no_controls(control, value)
            answer = self._raw.adjust(control, value)
            if answer.got == DONE:
                self._request = before
            return answer
        finally:
            self._lock.release()

    def controls(self) -> Sequence[Settable]:
        """Return the controls of the open camera that `adjust` can set; none if it lists none."""
        return self._raw.controls() if isinstance(self._raw, Listing) else ()

    def figures(self) -> dict[str, int | str]:
        """Return the backend's own figures, with the counts of all openings added up.

        While the camera is opened again, they are those of the openings before.
        """
        if not self._lock.acquire(blocking=False):
            return dict(self._past)
        try:
            return self._add_figures()
        finally:
            self._lock.release()

    def _add_figures(self) -> dict[str, int | str]:
        found = dict(self._past)
        if isinstance(self._raw, Reporting):
            for name, figure in self._raw.figures().items():
                past = found.get(name)
                counts = isinstance(past, int) and isinstance(figure, int)
                found[name] = past + figure if counts else figure
        return found

    def abandon(self) -> None:
        """Let an opening that is under way in another thread close what it opens."""
        self._abandoned = True

    def close(self) -> None:
        """Close the camera, unless another thread still opens it, which then closes it."""
        self.abandon()
        if self._lock.acquire(timeout=_CLOSE_WAIT_SEC):
            try:
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        self._past = self._add_figures()
        backend, self._backend, self._raw = self._backend, None, None
        if backend is not None:
            backend.close()


class ChangedCameraError(DeviceError):
    """The camera that came back does not fit the stream."""


def _form(info: CameraInfo) -> str:
    return f"{info.shape} of {info.bits or 8 * info.dtype.itemsize} bits"


def _no_controls(name: str, wish: ControlValue) -> Answer:
    return Answer(name, in_words(wish), "this source has no such control")
