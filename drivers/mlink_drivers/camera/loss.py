"""What happens when the camera goes away during a run: by policy the end, or a wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraBackend
from mlink_drivers.camera.source import CameraSource, ChangedCameraError

LossPolicy = Literal["stop", "continue"]
_RETRY_SEC = 0.5
"""udev takes about this long to name a device that was plugged in."""


class LossHandler:
    """Waits in the capture thread for a lost camera; keeps account of the times without it.

    `tell` is called with "lost" and "open" when that changes, in the capture thread.
    """

    def __init__(
        self,
        source: CameraSource,
        log: logging.Logger,
        *,
        on_loss: LossPolicy,
        on_reconnect: LossPolicy,
        tell: Callable[[str], None],
        request_stop: Callable[[str], None],
    ) -> None:
        self.outages = 0
        self.outage_sec = 0.0
        """How often and how long the camera was away, those times that it came back included."""
        self.lost = False
        self._source = source
        self._log = log
        self._on_loss = on_loss
        self._on_reconnect = on_reconnect
        self._tell = tell
        self._request_stop = request_stop

    def recover(self, error: DeviceError, stopping: threading.Event) -> CameraBackend | None:
        """Return the camera when it is back, None when a stop was asked; else raise the loss."""
        began = time.monotonic()
        self.outages += 1
        self.lost = True
        self._tell("lost")
        if self._on_loss == "stop":
            raise error
        self._log.warning("%s; waiting for it", error.message)
        try:
            backend = self._wait(stopping)
        finally:
            self.outage_sec += time.monotonic() - began
        if backend is None:
            return None
        self.lost = False
        self._tell("open")
        self._log.warning("%s is back after %.1f s", self._source.shown, time.monotonic() - began)
        if self._on_reconnect == "stop":
            self._request_stop(f"{self._source.shown} was away and is back")
        return backend

    def _wait(self, stopping: threading.Event) -> CameraBackend | None:
        """Try to open the camera again until that works or a stop is asked."""
        reason = ""
        while not stopping.is_set():
            try:
                return self._source.reopen()
            except ChangedCameraError:
                raise
            except DeviceError as error:
                if error.message != reason:
                    reason = error.message
                    self._log.info("not yet: %s", reason)
            stopping.wait(_RETRY_SEC)
        return None
