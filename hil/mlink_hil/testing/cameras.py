"""Handles of a test on cameras: frames by number, regions of the picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from mlink.errors import StreamError
from mlink.types import Frame
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.events import Event
from mlink_hil.testing.patterns import Pattern, crosses
from mlink_hil.testing.verdicts import Inconclusive

Fail: TypeAlias = Callable[[str, Event, int, Sequence[str]], None]
"""Fails the test with (message, event to draw a timeline after, its length in µs, channels)."""

_LATE_PICTURE_USEC = 10_000_000
"""How long after a deadline a picture may still be under way to the test."""


class Region:
    """A rectangle of a camera's picture, whose mean brightness is followed frame by frame.

    The light of an event came on at some time since the frame before: its bounds say so.
    """

    def __init__(self, run: BenchRun, stream: str, area: tuple[int, int, int, int]) -> None:
        self._run = run
        x, y, width, height = area
        self.channel = f"{stream}[{x},{y} {width}×{height}]"
        run.watch_region(stream, area, self.channel)

    def brightens(self, above: float) -> Pattern:
        """Look for the first frame that is at least this bright (0 to 255)."""
        return crosses(self.channel, above, upwards=True)

    def darkens(self, below: float) -> Pattern:
        """Look for the first frame that is darker than this."""
        return crosses(self.channel, below, upwards=False)

    @property
    def brightness(self) -> float:
        """Mean brightness in the newest frame, 0 to 255."""
        last = self._run.history.last(self.channel)
        if last is None:
            raise StreamError(f"no frame has come yet for {self.channel}")
        return last.value


class Camera:
    """A camera of the bench, by the stream of its frames."""

    def __init__(self, run: BenchRun, stream: str, fail: Fail) -> None:
        self._run = run
        self._fail = fail
        self.stream = stream

    def region(self, x: int, y: int, width: int, height: int) -> Region:
        """Follow a rectangle of the picture, in pixels from the top left."""
        return Region(self._run, self.stream, (x, y, width, height))

    def frame(self, index: int) -> Event:
        """Return when a frame was taken, by its number; StreamError when it has not come."""
        for event in self._run.history.of(self.stream):
            if event.value == index:
                return event
        raise StreamError(f"frame {index} of {self.stream} has not come")

    def next_frame(self, timeout_sec: float = 2.0) -> Event:
        """Wait for a frame taken from now on."""
        history, now = self._run.history, self._run.now_usec()
        found: list[Event] = []

        def come() -> bool:
            found[:] = history.of(self.stream, now)
            return bool(found)

        if not history.wait(come, timeout_sec):
            self._run.check()
            raise StreamError(
                f"{self.stream} sent no frame for {timeout_sec:g} s",
                remedy="Does the camera still deliver? See the run's log.",
            )
        return found[0]

    def picture(self, index: int = -1) -> Frame:
        """Return a frame with its pixels: the newest (-1), or one by its number.

        The newest 64 MB of frames are kept for this.
        """
        found = self._run.tap.fetch(self.stream, index)
        if found is None:
            which = "no frame" if index < 0 else f"frame {index}"
            raise StreamError(
                f"{which} of {self.stream} is kept",
                remedy="Ask sooner: only the newest 64 MB of frames are kept.",
            )
        return found

    def wait_picture(
        self, shows: Callable[[NDArray[Any]], bool], *, within_usec: int, after: Event
    ) -> Frame:
        """Wait for the first frame, taken after an event, of which `shows(pixels)` is true.

        For OpenCV and the like. ExpectationFailed when none within the time shows it.
        """
        history = self._run.history
        seen = after.time_usec
        within_usec = round(within_usec * self._run.slow)
        deadline = after.time_usec + within_usec
        head = (
            f"no picture of {self.stream} within {within_usec} µs after {after} shows what was "
            "looked for"
        )
        while True:
            for event in history.of(self.stream, seen + 1):
                busy_usec = sum(self._run.starved_usec().values())
                if event.time_usec > deadline + busy_usec:
                    self._fail(head, after, within_usec, [self.stream])
                seen = event.time_usec
                found = self._run.tap.fetch(self.stream, int(event.value))
                if found is not None and shows(found.view):
                    if event.time_usec > deadline:
                        raise Inconclusive(f"{head}; a later one does, and this machine was busy")
                    return found
            if self._run.now_usec() > deadline + _LATE_PICTURE_USEC:
                self._fail(f"{head}, and no later one came", after, within_usec, [self.stream])
            if not self._run.alive:
                self._run.check()
                raise StreamError(f"the run ended while {self.stream} was watched")
            time.sleep(0.002)
