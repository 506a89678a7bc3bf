"""Handling of a camera that is lost during a run: by policy, end the run or wait for it.

How a camera is found and opened again is known to CameraSource only.
"""

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
_LOOK_SEC = 0.05
_RETRY_SEC = 0.5
"""Pause between attempts; udev takes about this long to name a device that was plugged in."""


class LossHandler:
    """Waits in the capture thread for a lost camera, and measures the time without it.

    Args:
        source: The camera to open again.
        log: Logger of the module.
        on_loss: What to do when it is lost: end the run as a failure, or wait.
        on_reconnect: What to do when it is back: end the run as a success, or continue.
        on_change: Called in the capture thread with "lost" and "open".
        request_stop: Ends the run as a success, with a reason.
    """

    def __init__(
        self,
        source: CameraSource,
        log: logging.Logger,
        *,
        on_loss: LossPolicy,
        on_reconnect: LossPolicy,
        on_change: Callable[[str], None],
        request_stop: Callable[[str], None],
    ) -> None:
        self.outages = 0
        self.outage_sec = 0.0
        """How often and how long the camera was away, including a loss that has not ended."""
        self.lost = False
        self._source = source
        self._log = log
        self._on_loss = on_loss
        self._on_reconnect = on_reconnect
        self._on_change = on_change
        self._request_stop = request_stop

    def recover(self, error: DeviceError, stopping: threading.Event) -> CameraBackend | None:
        """Wait for the camera, or raise the loss, according to `on_loss`.

        Args:
            error: The loss.
            stopping: Set when the run stops.

        Returns:
            The reopened camera; None if the run stopped while it was away.

        Raises:
            DeviceError: The loss is to end the run, or another camera came back.
        """
        began = time.monotonic()
        self.outages += 1
        self.lost = True
        self._on_change("lost")
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
        self._on_change("open")
        self._log.warning("%s is back after %.1f s", self._source.shown, time.monotonic() - began)
        if self._on_reconnect == "stop":
            self._request_stop(f"{self._source.shown} was away and is back")
        return backend

    def _wait(self, stopping: threading.Event) -> CameraBackend | None:
        """Try to open the camera until that works or the run stops."""
        reason = ""
        while not stopping.is_set():
            try:
                return self._reopen(stopping)
            except ChangedCameraError:
                raise
            except (DeviceError, OSError) as error:
                # OSError: its node has vanished, or not come, between two steps of the opening.
                text = error.message if isinstance(error, DeviceError) else str(error)
                if text != reason:
                    reason = text
                    self._log.info("still waiting: %s", reason)
            stopping.wait(_RETRY_SEC)
        return None

    def _reopen(self, stopping: threading.Event) -> CameraBackend | None:
        """Open the camera in a thread, which a stop does not wait for: it closes what it opens."""
        found: list[CameraBackend | BaseException] = []
        done = threading.Event()

        def attempt() -> None:
            try:
                found.append(self._source.reopen())
            except BaseException as error:  # noqa: BLE001 - raised by the caller
                found.append(error)
            finally:
                done.set()

        threading.Thread(target=attempt, name="reopen", daemon=True).start()
        while not done.wait(_LOOK_SEC):
            if stopping.is_set():
                self._source.abandon()
                return None
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]
