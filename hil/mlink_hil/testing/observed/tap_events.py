"""Turns what a tap reports into events of a history."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlink.tap import messages
from mlink.tap.link import Item
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History


class ItemEvents:
    """Adds an event for each item: a callback for `TapLink`.

    Readings and commands get the channel "module.port.line", frames and rows that of their stream.
    Commands and rows have no time of their own: theirs is that of their sending.

    Args:
        history: Receives the events.
        lost: Returns how many items of a stream are missing so far.
    """

    def __init__(self, history: History, lost: Callable[[str], int]) -> None:
        self._history = history
        self._lost = lost
        self._lost_before: dict[str, int] = {}
        """What was missing of a channel's stream at the channel's last event."""

    def __call__(self, item: Item, uncertainty_usec: int) -> None:
        """Add an item's event, its times uncertain by ± `uncertainty_usec`."""
        match item:
            case messages.Reading():
                channel = f"{item.stream}.{item.line}"
                self._add(item.stream, channel, item.time_usec, item.value, uncertainty_usec)
            case messages.Command():
                channel = f"{item.stream}.{item.line}"
                self._add(item.stream, channel, item.time_usec, item.value, uncertainty_usec)
            case messages.FrameSeen():
                self._add(item.stream, item.stream, item.time_usec, item.index, uncertainty_usec)
            case messages.Row():
                event = Event(item.stream, item.time_usec, cells=tuple(item.cells))
                self._history.add([event])

    def _add(
        self,
        stream: str,
        channel: str,
        time_usec: int,
        value: float,
        bound_usec: int,
    ) -> None:
        last, lost = self._history.last(channel), self._lost(stream)
        after_loss = lost != self._lost_before.get(channel, 0)
        self._lost_before[channel] = lost
        event = Event(
            channel,
            time_usec,
            value,
            bound_usec,
            bound_usec,
            previous=None if last is None else last.value,
            after_loss=after_loss,
            noted_ns=time.monotonic_ns(),
        )
        self._history.add([event])


class RegionEvents:
    """Adds an event for each frame's brightness in a region: a callback for `TapLink`.

    What a frame shows may have begun at any time since the frame before it, so an event's lower
    bound reaches back to that frame.

    Args:
        history: Receives the events.
        channel: The region's channel.
        bound_usec: Uncertainty of the frames' times in µs.
        lost: Returns how many frames are missing so far.
    """

    def __init__(
        self, history: History, channel: str, bound_usec: int, lost: Callable[[], int]
    ) -> None:
        self._lost = lost
        self._lost_before = lost()
        self._history = history
        self._channel = channel
        self._bound_usec = bound_usec
        self._last: tuple[int, float] | None = None
        """(time in µs, mean brightness) of the last frame."""

    def __call__(self, time_usec: int, mean: float) -> None:
        """Add the event of a frame."""
        early_usec, previous = self._bound_usec, None
        if self._last is not None:
            early_usec += time_usec - self._last[0]
            previous = self._last[1]
        self._last = (time_usec, mean)
        lost = self._lost()
        after_loss, self._lost_before = lost != self._lost_before, lost
        event = Event(
            self._channel,
            time_usec,
            mean,
            early_usec,
            self._bound_usec,
            previous=previous,
            after_loss=after_loss,
            noted_ns=time.monotonic_ns(),
        )
        self._history.add([event])
