"""The `canvas` module: shows the newest frame in a window, at a limited rate.

Frames between two drawings are dropped here, not at the source, so a canvas does not slow down its
stream. Without a display the module is off and logs the reason once.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlink.metadata import bits_of
from mlink.module import Module
from mlink.modules.image.catalog import CanvasSettings
from mlink.types import ControlCommand, ControlCommandKind, Frame

_STATUS_SEC = 0.5
_RED = (0, 0, 255)


class Window(Protocol):
    """A window on the screen."""

    def show(self, picture: NDArray[Any]) -> bool:
        """Draw a picture and handle window events; return False if the user closed the window.

        Args:
            picture: Grey (H, W) or colour (H, W, 3; BGR), 8 bits.
        """

    def close(self) -> None:
        """Close the window."""


class HighguiWindow:
    """A window of OpenCV's highgui; it must be used from the thread that created it.

    Args:
        title: Of the window, and its name in OpenCV.
    """

    def __init__(self, title: str) -> None:
        from mlink.opencv import cv2, draws_windows

        if not draws_windows():
            raise RuntimeError(
                "the installed OpenCV (opencv-python-headless) has no windows; opencv-python has"
            )
        self._cv2 = cv2
        self._title = title
        self._shown = False
        # GUI_NORMAL: without the toolbar, which would reduce the height of the picture.
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(title, flags)

    def show(self, picture: NDArray[Any]) -> bool:
        """Draw a picture.

        The first picture sets the size of the window. Returns False if the user has closed it.
        """
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
        """Close the window.

        Does nothing if the user has closed it.
        """
        try:
            self._cv2.destroyWindow(self._title)
        except self._cv2.error:  # the user has closed it
            pass


class CanvasModule(Module[CanvasSettings]):
    """Draws the newest frame, at most `max_framerate` times per second.

    It keeps at most one frame borrowed from shared memory. A window that the user has closed stays
    closed.
    """

    _window: Window | None = None
    _newest: Frame | None = None
    _paused = False
    _drawn = 0
    _received = 0

    def start(self) -> None:
        """Open the window, if there is a display.

        Without a display the module runs, shows nothing, and logs why.
        """
        port = self.context.inputs["frames-in"]
        self.context.inputs["control"].on_item = self._on_control
        if not port.connected:
            return
        title = self.settings.title or self.context.name
        try:
            if problem := display_problem(os.environ):
                raise RuntimeError(problem)
            self._window = self._open_window(title)
        except Exception as error:  # noqa: BLE001 - a missing display must not end the run
            self.log.info("nothing is shown: %s", str(error).splitlines()[0])
            self.context.set_status("off")
            return
        port.on_item = self._on_frame

    def _open_window(self, title: str) -> Window:
        return HighguiWindow(title)

    def run(self) -> None:
        """Draw the newest frame periodically until the module is asked to stop.

        Without a window it only serves its inputs.
        """
        if self._window is None:
            self.context.serve()
            return
        period_sec = 1 / self.settings.max_framerate
        next_sec = self.context.waiting.now_ns() / 1e9
        reported = (next_sec, 0)
        while self.context.running:
            now = self.context.waiting.now_ns() / 1e9
            if now < next_sec:
                self.context.serve(max(1, round((next_sec - now) * 1e6)))
                continue
            next_sec = max(next_sec + period_sec, now)
            self.context.serve(0)
            self._draw()
            if now - reported[0] >= _STATUS_SEC:
                rate = (self._received - reported[1]) / (now - reported[0])
                reported = (now, self._received)
                self.context.set_status("paused" if self._paused else f"{rate:.1f} fps")

    def _on_frame(self, frame: Frame) -> None:
        self._received += 1
        self._newest = None if self._paused else frame

    def _on_control(self, command: ControlCommand) -> None:
        """Freeze the picture on STOP and PAUSE; continue on any other command."""
        self._paused = command.kind in (ControlCommandKind.STOP, ControlCommandKind.PAUSE)
        if self._paused:
            self._newest = None

    def _draw(self) -> None:
        frame, self._newest = self._newest, None
        if self._window is None or frame is None:
            return
        view = frame.view
        bits = bits_of(self.context.inputs["frames-in"].metadata, view.itemsize)
        if self._window.show(shown(view, bits, red=self.settings.highlight_saturation)):
            self._drawn += 1
            return
        self.log.info("the window was closed: nothing more is shown")
        self._close_window()
        self.context.inputs["frames-in"].on_item = None

    def stop(self) -> None:
        """Report the number of frames drawn."""
        self._newest = None
        self.context.report("frames_shown", self._drawn)

    def close(self) -> None:
        """Close the window."""
        self._close_window()

    def _close_window(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            window.close()


def shown(picture: NDArray[Any], bits: int, *, red: bool) -> NDArray[Any]:
    """Return a picture for the screen, with 8 bits per channel.

    Args:
        picture: Shape (H, W) or (H, W, channels), uint8 or uint16; alpha is left out.
        bits: Bits of its values that are used: the greatest of them is shown as white.
        red: Whether to paint saturated pixels red.
    """
    if picture.ndim == 3 and picture.shape[2] != 3:
        picture = picture[:, :, :3] if picture.shape[2] > 3 else picture[:, :, 0]
    from mlink.opencv import eight_bits  # not before there is a window

    narrow = eight_bits(picture, bits)
    if not red or narrow.dtype != np.uint8:
        return narrow
    brightest = picture if picture.ndim == 2 else picture.max(axis=2)
    colored = np.repeat(narrow[:, :, None], 3, axis=2) if picture.ndim == 2 else narrow.copy()
    colored[brightest >= (1 << bits) - 1] = _RED
    return colored


def display_problem(
    environment: Mapping[str, str],
    sockets: Path = Path("/tmp/.X11-unix"),  # noqa: S108 - the fixed place of X sockets
) -> str:
    """Return why no window can be opened; "" if one can.

    Checked before highgui is used, because its toolkit ends the process if there is no display.

    Args:
        environment: Environment variables, for DISPLAY.
        sockets: Folder of the X server's sockets.
    """
    display = environment.get("DISPLAY", "")
    match = re.fullmatch(r"(?P<host>[^:]*):(?P<number>\d+)(\.\d+)?", display)
    if match is None:
        return f"DISPLAY='{display}' is not a display" if display else "there is no display"
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
