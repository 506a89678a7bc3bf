"""The `canvas` module: a window with the newest frame, drawn when there is time for it.

Frames that come between two drawings are passed over, here and not in the source: a stream with a
canvas runs as fast as one without. Without a display the module is off, and says so once.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlink.module import Module
from mlink.modules.image.catalog import CanvasSettings
from mlink.types import ControlCommand, ControlCommandKind, Frame

_STATUS_SEC = 0.5
_RED = (0, 0, 255)
_SATURATED = 255


class Window(Protocol):
    """A window on the screen."""

    def show(self, picture: NDArray[Any]) -> bool:
        """Draw a picture and serve the window's events; False when the user has closed it."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class HighguiWindow:
    """Owns a window of OpenCV's highgui, in whose thread everything must happen."""

    def __init__(self, title: str) -> None:
        from mlink.opencv import cv2

        self._cv2 = cv2
        self._title = title
        self._shown = False
        # GUI_NORMAL: without the toolbar, which would take its height from the picture.
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(title, flags)

    def show(self, picture: NDArray[Any]) -> bool:
        """Draw a picture."""
        cv2 = self._cv2
        if self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return False
        if not self._shown:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._shown = True
        cv2.imshow(self._title, picture)
        cv2.pollKey()
        return True

    def close(self) -> None:
        """Close the window."""
        try:
            self._cv2.destroyWindow(self._title)
        except self._cv2.error:  # the user has closed it
            pass


class CanvasModule(Module[CanvasSettings]):
    """Draws the newest frame at most `max_framerate` times a second."""

    _window: Window | None = None
    _newest: Frame | None = None
    _paused = False
    _drawn = 0
    _received = 0

    def start(self) -> None:
        """Open the window, if there is a screen for it."""
        port = self.context.inputs["frames-in"]
        self.context.inputs["control"].on_item = self._on_control
        if not port.connected:
            return
        title = self.settings.title or self.context.name
        try:
            if problem := display_problem(os.environ):
                raise RuntimeError(problem)
            self._window = self._open_window(title)
        except Exception as error:  # noqa: BLE001 - no screen is no reason to end a run
            self.log.info("nothing is shown: %s", str(error).splitlines()[0])
            self.context.set_status("off")
            return
        port.on_item = self._on_frame

    def _open_window(self, title: str) -> Window:
        return HighguiWindow(title)

    def run(self) -> None:
        """Draw the newest frame whenever it is time, until a stop is asked."""
        if self._window is None:
            self.context.serve()
            return
        period_sec = 1 / self.settings.max_framerate
        next_sec = time.monotonic()
        told = (next_sec, 0)
        while self.context.running:
            now = time.monotonic()
            if now < next_sec:
                self.context.serve(max(1, round((next_sec - now) * 1e6)))
                continue
            next_sec = max(next_sec + period_sec, now)
            self.context.serve(0)
            self._draw()
            if now - told[0] >= _STATUS_SEC:
                rate = (self._received - told[1]) / (now - told[0])
                told = (now, self._received)
                self.context.set_status("paused" if self._paused else f"{rate:.1f} fps")

    def _on_frame(self, frame: Frame) -> None:
        self._received += 1
        self._newest = None if self._paused else frame

    def _on_control(self, command: ControlCommand) -> None:
        """STOP and PAUSE hold the picture; any other command lets it go on."""
        self._paused = command.kind in (ControlCommandKind.STOP, ControlCommandKind.PAUSE)
        if self._paused:
            self._newest = None

    def _draw(self) -> None:
        frame, self._newest = self._newest, None
        if self._window is None or frame is None:
            return
        if self._window.show(shown(frame.view, red=self.settings.highlight_saturation)):
            self._drawn += 1
            return
        self.log.info("the window was closed: nothing more is shown")
        self._close_window()
        self.context.inputs["frames-in"].on_item = None

    def stop(self) -> None:
        """Say how many frames were drawn."""
        self._newest = None
        self.context.report("frames_shown", self._drawn)

    def close(self) -> None:
        """Close the window."""
        self._close_window()

    def _close_window(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            window.close()


def shown(picture: NDArray[Any], *, red: bool) -> NDArray[Any]:
    """Return a picture as the screen takes it: 8 bits, with pixels that are too bright in red."""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if not red or picture.dtype != np.uint8:
        return picture
    plane = picture if picture.ndim == 2 else picture.max(axis=2)
    colored = np.repeat(plane[:, :, None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    colored[plane == _SATURATED] = _RED
    return colored


def display_problem(
    environment: Mapping[str, str],
    sockets: Path = Path("/tmp/.X11-unix"),  # noqa: S108 - X's place
) -> str:
    """Return why no window can be opened; empty when one can.

    Asked beforehand: the toolkit behind highgui ends the whole process when it finds no display.
    """
    display = environment.get("DISPLAY", "")
    match = re.fullmatch(r"(?P<host>[^:]*):(?P<number>\d+)(\.\d+)?", display)
    if match is None:
        return f"'{display}' in DISPLAY is no display" if display else "there is no display"
    number = int(match["number"])
    try:
        if match["host"] in ("", "unix"):
            with socket.socket(socket.AF_UNIX) as screen:
                screen.settimeout(1)
                screen.connect(str(sockets / f"X{number}"))
        else:
            socket.create_connection((match["host"], 6000 + number), timeout=1).close()
    except OSError as error:
        return f"the display {display} does not answer ({error.strerror or error})"
    return ""
