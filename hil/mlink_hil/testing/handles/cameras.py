"""A test's handles for cameras: frames by index, and regions of their pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from mlink.errors import StreamError
from mlink.metadata import MetaSize
from mlink.types import Frame
from mlink_hil.testing.arguments import (
    check_after,
    check_area,
    check_seconds,
    check_usec,
    check_whole,
)
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.patterns import Pattern, crosses
from mlink_hil.testing.verdicts import Inconclusive, hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks

Fail: TypeAlias = Callable[[str, Event, int, Sequence[str]], None]
"""Fails the test with (message, event to draw a timeline after, its length in µs, channels)."""

_LATE_PICTURE_USEC = 10_000_000
"""How long after a deadline a picture may still be on its way to the test process."""


class Region:
    """A rectangle of a camera's picture, whose mean brightness is reported for each frame.

    What a frame shows began at some time since the frame before; the event's bounds include that.

    Args:
        run: The run.
        stream: The camera's stream.
        area: (x, y, width, height) in pixels from the top left.
    """

    def __init__(self, run: BenchRun, stream: str, area: tuple[int, int, int, int]) -> None:
        self._run = run
        x, y, width, height = area
        self.channel = f"{stream}[{x},{y} {width}×{height}]"
        run.watch_region(stream, area, self.channel)

    def brightens(self, above: float) -> Pattern:
        """Match the first frame in which the region is bright, after one in which it was not.

        Args:
            above: Lowest mean brightness, 0 to 255.
        """
        return crosses(self.channel, above, upwards=True)

    def darkens(self, below: float) -> Pattern:
        """Match the first frame in which the region is dark, after one in which it was not.

        Args:
            below: Mean brightness below which it is dark, 0 to 255.
        """
        return crosses(self.channel, below, upwards=False)

    @property
    def brightness(self) -> float:
        """Mean brightness in the newest frame, 0 to 255; StreamError before the first frame.

        Raises:
            StreamError: No frame has arrived yet.
        """
        last = self._run.history.last(self.channel)
        if last is None:
            raise StreamError(f"no frame of {self.channel} has arrived yet")
        return last.value


class Camera:
    """A camera of the bench, by the stream of its frames.

    Args:
        run: The run.
        stream: The camera's stream ("cam.video").
        fail: Fails the test.
    """

    def __init__(self, run: BenchRun, stream: str, fail: Fail) -> None:
        self._run = run
        self._fail = fail
        self.stream = stream

    def region(self, x: int, y: int, width: int, height: int) -> Region:
        """Return a rectangle of the picture, to expect light in it.

        Args:
            x: Left edge, in pixels from the left.
            y: Top edge, in pixels from the top.
            width: Width in pixels.
            height: Height in pixels.

        Raises:
            BenchError: It is not inside of the picture.
        """
        size = self._run.tap.metadata.get(self.stream, {}).get("size")
        check_area((x, y, width, height), size if isinstance(size, MetaSize) else None)
        return Region(self._run, self.stream, (int(x), int(y), int(width), int(height)))

    def frame(self, index: int) -> Event:
        """Return the event of a frame, with its time.

        Raises:
            BenchError: The index is no number.
            StreamError: The frame has not arrived.
        """
        check_whole("frame", "index", index, lowest=0)
        for event in self._run.history.of(self.stream):
            if event.value == index:
                return event
        raise StreamError(f"frame {index} of {self.stream} has not arrived")

    def next_frame(self, timeout_sec: float = 2.0) -> Event:
        """Wait for a frame taken from now on.

        Raises:
            StreamError: None arrived in time.
            MlinkError: The run has failed.
        """
        check_seconds("next_frame", "timeout_sec", timeout_sec)
        history, now = self._run.history, self._run.now_usec()
        found: list[Event] = []

        def has_arrived() -> bool:
            found[:] = history.of(self.stream, now)
            return bool(found)

        if not history.wait(has_arrived, timeout_sec):
            self._run.check()
            raise StreamError(
                f"{self.stream} sent no frame for {timeout_sec:g} s",
                remedy="Check the camera, and the run's log.",
            )
        return found[0]

    def picture(self, index: int = -1) -> Frame:
        """Return a frame with its pixels, by its index or the newest (-1).

        Only the newest 64 MB of frames are kept for this.

        Raises:
            BenchError: The index is no number.
            StreamError: The frame is not kept any more, or has not arrived.
            ControlError: The run has ended.
        """
        check_whole("picture", "index", index, lowest=-1)
        found = self._run.tap.fetch(self.stream, int(index))
        if found is None:
            if index < 0:
                raise StreamError(f"no frame of {self.stream} has arrived yet")
            raise StreamError(
                f"frame {index} of {self.stream} is not kept",
                remedy="Fetch it sooner: only the newest 64 MB of frames are kept.",
            )
        return found

    def wait_picture(
        self, shows: Callable[[NDArray[Any]], bool], *, within_usec: int, after: Event
    ) -> Frame:
        """Wait for the first frame, taken after an event, of which `shows(pixels)` is true.

        Args:
            shows: Called with the pixels of each frame, H×W or H×W×3 (BGR), for OpenCV and such.
            within_usec: Longest time after `after`; longer on a slow host.
            after: Where the time begins.

        Raises:
            ExpectationFailed: No frame within the time shows it.
            Inconclusive: A later one does, and the host was busy; or frames were missed, or were
                not kept until the test looked at them.
            MlinkError: The run has failed or ended.
        """
        check_usec("wait_picture", "within_usec", within_usec)
        check_after("wait_picture", "after", after, optional=False)
        history = self._run.history
        seen = after.time_usec
        within_usec = round(within_usec * self._run.slow)
        deadline = after.time_usec + within_usec
        name = getattr(shows, "__name__", "shows")
        head = (
            f"{name}() was not true for any picture of {self.stream} within {within_usec} µs "
            f"after {after}"
        )
        not_kept = 0
        while True:
            for event in history.of(self.stream, seen + 1):
                busy_usec = sum(self._run.starved_usec().values())
                if event.time_usec > deadline + busy_usec:
                    self._raise_unless_seen(head, not_kept, after, deadline)
                    self._fail(head, after, within_usec, [self.stream])
                seen = event.time_usec
                found = self._run.tap.fetch(self.stream, int(event.value))
                if found is None:
                    not_kept += 1
                elif shows(found.view):
                    if event.time_usec > deadline:
                        raise Inconclusive(f"{head}; it was later, but this machine was busy")
                    return found
            if self._run.now_usec() > deadline + _LATE_PICTURE_USEC:
                self._raise_unless_seen(head, not_kept, after, deadline)
                self._fail(f"{head}, and none came later", after, within_usec, [self.stream])
            if not self._run.alive:
                self._run.check()
                raise StreamError(f"the run ended while the test waited for {self.stream}")
            self._run.sleep(0.002)

    def _raise_unless_seen(self, head: str, not_kept: int, after: Event, until_usec: int) -> None:
        """Raise Inconclusive if a frame since an event may have shown what was expected."""
        if not_kept:
            raise Inconclusive(
                f"{head}\nbut {not_kept} frame(s) were not kept until the test looked at them"
            )
        if unseen := self._run.sight.unseen(self.stream, after.earliest_usec, until_usec):
            raise Inconclusive(f"{head}\nbut {unseen.text}")
        if self._run.tap.drained_usec < until_usec:
            raise Inconclusive(f"{head}\nbut the tap of this run lags behind")
