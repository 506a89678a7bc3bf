"""`virtual:scene`: a camera that draws its frames, with number and time of each in the picture.

Number and time are drawn as text for people and as cells for tests (`read_marks`). Frame n is due n
periods after the start and can be read until frame n + 4 is due, as with a camera driver of four
buffers; a later reader misses it, and the numbers show the gap. The items of a `[virtual]` table
are drawn by `stage.py`. A frame's time is the end of its first row's exposure; it is delivered when
its last row has been read out. Where the scene has a trigger (`exposures.py`), number and mark of a
frame are those of its exposure and of its edge, and its stamp is that of a driver.
"""

from __future__ import annotations

import math
import select
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2
from mlink_drivers.camera.backend import CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_hil.scene.exposures import Exposures
from mlink_hil.scene.faults import CameraFaults
from mlink_hil.scene.marks import ROWS, SMALLEST_WIDTH, Marks, cell_size, draw_marks, read_marks
from mlink_hil.scene.stage import Stage
from mlink_hil.sim.plan import ScenePlan, read_plan
from mlink_hil.uno import MOST_PHASE_USEC

__all__ = ["Marks", "SceneCamera", "read_marks"]

_LONGEST_WAIT_NSEC = 1_000_000_000
_BUFFERS = 4
"""Frames kept for a late reader: as many as OpenCV requests from a V4L2 driver."""
OPTIONS = ("seed", "phase_usec")
"""Options that a device string may have."""
_ADDED_OPTIONS = ("plan", "orders")
"""The file with the scene's items, and the socket that receives faults; added by the device
provider."""
_SHOWN_OPTIONS = (
    "seed=N, phase_usec=N (delay of the first frame), and board=NAME&led=PIN for a light in it; "
    "or a [virtual] table."
)


class SceneCamera:
    """Renders `virtual:scene?seed=N`; implements CameraBackend (`camera/backend.py`).

    Times are those of the camera's own clock, which is CLOCK_MONOTONIC until a fault skews it.
    """

    def __init__(self) -> None:
        self._background: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self._stage: Stage | None = None
        self._exposures: Exposures | None = None
        self._look_ns: int | None = None
        """When to look whether a triggered camera is silent; None: a second after the next look."""
        self._poll: select.epoll | None = None
        self._faults = CameraFaults("")
        self._frozen: NDArray[np.uint8] | None = None
        """The picture that is repeated while the camera is frozen."""
        self._framerate = 0.0
        self._now_ns = time.monotonic_ns
        self._start_ns = 0
        self._phase_ns = 0
        self._next = 0
        """Number of the next frame."""
        self._time_ns = 0
        """When the frame last grabbed was taken, ns of CLOCK_MONOTONIC."""
        self._mark_ns = 0
        """The time in its picture: the same, or that of its trigger."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Render the background in the requested size.

        Raises:
            DeviceError: The size is too small for the marks, or an option of the address is wrong.
        """
        width, height = request.size
        if width < SMALLEST_WIDTH or height < ROWS * cell_size(width):
            raise DeviceError(
                f"{width}×{height} is too small for a scene",
                remedy=f"A scene is at least {SMALLEST_WIDTH} pixels wide, and {ROWS}/32 of "
                "its width high.",
            )
        options = _options_of(address)
        seed = _number(options, "seed", "0")
        phase_usec = _number(options, "phase_usec", "0")
        if not 0 <= phase_usec <= MOST_PHASE_USEC:
            raise DeviceError(
                f"the phase_usec of the scene is out of range: {phase_usec}",
                remedy=f"It is the delay of the first frame, 0 to {MOST_PHASE_USEC} µs.",
            )
        self._phase_ns = phase_usec * 1000
        if "plan" in options:
            self._stage = Stage(
                read_plan(Path(options["plan"]), ScenePlan), width, height, request.now_ns()
            )
            self._background = self._stage.background
            if self._stage.plan.trigger is not None:
                self._exposures = Exposures(self._stage.plan)
        else:
            self._background = _render_background(width, height, seed)
        self._faults = CameraFaults(options.get("orders", ""))
        self._framerate = request.framerate
        self._now_ns = request.now_ns
        return CameraInfo(
            shape=self._background.shape,
            dtype=self._background.dtype,
            framerate=request.framerate,
            timestamp_source="host" if self._exposures else "generator",
            # the time is the first row's; lower rows are exposed up to this much later
            uncertainty_usec=self._uncertainty_usec(),
            steady=self._exposures is None,
        )

    def _uncertainty_usec(self) -> int:
        if self._stage is None:
            return 0
        plan = self._stage.plan
        if self._exposures is None:
            return plan.readout_usec
        return plan.exposure_usec + plan.readout_usec + plan.delay_usec + plan.jitter_usec

    def start(self) -> None:
        """Set the time of frame 0 to now, or later by the phase of the device string."""
        # Whole µs: master time and mark of a frame then differ by a constant, without rounding.
        own_ns = self._faults.clock.own(self._now_ns())
        self._start_ns = -(-(own_ns + self._phase_ns) // 1000) * 1000
        self._next = 0
        if self._exposures is not None:
            self._exposures.start(self._now_ns())

    def grab(self) -> Stamp | NoFrame:
        """Wait until the next frame is due; skip those that are no longer kept.

        Returns:
            Time and number of the frame, or NOT_YET when none is due within a second.
        """
        self._faults.look(self._now_ns())
        if self._exposures is not None:
            return self._grab_triggered(self._exposures)
        clock = self._faults.clock
        readout_nsec = self._stage.readout_ns if self._stage else 0
        elapsed_nsec = clock.own(self._now_ns() - readout_nsec) - self._start_ns
        newest = math.floor(elapsed_nsec * self._framerate / 1e9)
        self._next = max(self._next, newest - (_BUFFERS - 1))
        stamp_ns = self._due(self._next)
        due_ns = clock.true(stamp_ns)
        wait_nsec = due_ns + readout_nsec - self._now_ns()
        if wait_nsec > _LONGEST_WAIT_NSEC:
            time.sleep(_LONGEST_WAIT_NSEC / 1e9)
            return NoFrame.NOT_YET
        if wait_nsec > 0:
            time.sleep(wait_nsec / 1e9)
            self._faults.look(self._now_ns())
        self._time_ns = self._mark_ns = due_ns
        self._next += 1
        return Stamp(stamp_ns + self._faults.order.late_usec * 1000, self._next - 1)

    def _grab_triggered(self, exposures: Exposures) -> Stamp | NoFrame:
        """Wait until the frame of an exposure is ready, or for a second without one."""
        if self._look_ns is None:
            self._look_ns = self._now_ns() + _LONGEST_WAIT_NSEC
        while True:
            exposures.look(self._faults.order)
            exposure = exposures.next()
            until_ns = exposure.stamp_ns if exposure is not None else self._look_ns
            if (left_nsec := until_ns - self._now_ns()) <= 0:
                break
            exposures.wait(left_nsec)
        self._look_ns = None
        if exposure is None:
            return NoFrame.TIMEOUT
        exposures.take()
        self._next, self._mark_ns = exposure.number + 1, exposure.began_ns
        exposed_nsec = self._stage.plan.exposure_usec * 1000 if self._stage is not None else 0
        self._time_ns = exposure.began_ns + exposed_nsec
        return Stamp(exposure.stamp_ns + self._faults.order.late_usec * 1000, exposure.number)

    def due_ns(self) -> int:
        """Return when the next frame can be grabbed without a wait."""
        self._faults.look(self._now_ns())
        if self._exposures is not None:
            self._exposures.look(self._faults.order)
            exposure = self._exposures.next()
            self._look_ns = self._now_ns() + _LONGEST_WAIT_NSEC
            return exposure.stamp_ns if exposure is not None else self._look_ns
        readout_nsec = self._stage.readout_ns if self._stage else 0
        return self._faults.clock.true(self._due(self._next)) + readout_nsec

    def fileno(self) -> int:
        """Descriptor that is readable when a fault may have changed what `due_ns` returns."""
        if self._exposures is None or self._exposures.fileno() < 0:
            return self._faults.fileno()
        if self._poll is None:
            self._poll = select.epoll()
            for fd in (self._faults.fileno(), self._exposures.fileno()):
                if fd >= 0:
                    self._poll.register(fd, select.EPOLLIN)
        return self._poll.fileno()

    def _due(self, number: int) -> int:
        """Return when a frame is taken: ns on the camera's clock, rounded to whole µs."""
        return self._start_ns + round(number * 1e6 / self._framerate) * 1000

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Draw the frame last grabbed, or copy the one that the camera is frozen at.

        Args:
            into: H×W×3, uint8, BGR.

        Returns:
            True: a drawn frame is never damaged.
        """
        if self._frozen is not None and self._faults.order.frozen:
            np.copyto(into, self._frozen)
            return True
        self._draw(into)
        self._frozen = into.copy() if self._faults.order.frozen else None
        return True

    def _draw(self, into: NDArray[Any]) -> None:
        """Draw the frame last grabbed."""
        number, time_usec = self._next - 1, self._mark_ns // 1000
        np.copyto(into, self._background)
        draw_marks(into, number, time_usec)
        if self._stage is not None:
            self._stage.draw(into, self._time_ns)
        self._write_text(into, number, time_usec)
        if self._stage is not None:
            self._stage.add_noise(into)

    def _write_text(self, into: NDArray[Any], number: int, time_usec: int) -> None:
        """Write the frame's number and time as text."""
        height, width = into.shape[:2]
        seconds = (self._time_ns - self._start_ns) / 1e9
        scale = min(1.0, width / 640)  # drawing large letters would cost more than the rest
        texts = (f"frame {number}", f"{seconds:.6f} s  ({time_usec} us)")
        if self._stage is not None:  # one small line, to leave room for the items
            place = round(16 * scale), height - round(12 * scale)
            _put_text(into, "   ".join(texts), place, 0.45 * scale, 1)
            return
        for line, text in enumerate(texts):
            place = round(16 * scale), round(height * 0.5 + line * 36 * scale)
            _put_text(into, text, place, scale, 2)

    def close(self) -> None:
        """Release the background, the fault socket and the boards."""
        self._faults.close()
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        if self._exposures is not None:
            self._exposures.close()
        if self._stage is not None:
            self._stage.close()
            self._stage = None
        self._background = np.empty((0, 0, 3), np.uint8)


def _put_text(
    into: NDArray[Any], text: str, place: tuple[int, int], scale: float, thick: int
) -> None:
    white = (255, 255, 255)
    cv2.putText(into, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, white, thick, cv2.LINE_8)


def _options_of(address: str) -> dict[str, str]:
    """Return the options in an address' query; DeviceError for an unknown one."""
    query = address.partition("?")[2]
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - {*OPTIONS, *_ADDED_OPTIONS}):
        raise DeviceError(
            f"a scene has no option {', '.join(unknown)}",
            remedy=f"Options of a scene: {_SHOWN_OPTIONS}",
        )
    return options


def _number(options: dict[str, str], key: str, default: str) -> int:
    """Return an option that is a whole number; DeviceError when it is not."""
    try:
        return int(options.get(key, default))
    except ValueError as error:
        raise DeviceError(
            f"the {key} of the scene is not a whole number: {options[key]!r}",
            remedy=f"Write virtual:scene?{key}=1.",
        ) from error


def _render_background(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Return a dim gradient with discs at places that depend on the seed only."""
    random = np.random.default_rng(seed % (1 << 63))
    image = np.empty((height, width, 3), np.uint8)
    image[...] = np.linspace(20, 90, height, dtype=np.uint8)[:, None, None]
    for _ in range(8):
        center = (int(random.integers(width)), int(random.integers(height // 4, height)))
        color = [int(value) for value in random.integers(40, 140, 3)]
        cv2.circle(image, center, max(2, width // 16), color, cv2.FILLED)
    return image
