"""Turns what a tap reports into events of a history."""

from __future__ import annotations

import time

from mlink.tap import messages
from mlink.tap.link import Item
from mlink_hil.testing.events import Event
from mlink_hil.testing.history import History


class ItemEvents:
    """Adds an event for each item: a callback for `TapLink`.

    Readings and commands get the channel "module.port.line", frames and rows that of their stream.
    Commands and rows have no time of their own: their lower bound reaches back to the moment at
    which the tap's queue was last empty.
    """

    def __init__(self, history: History) -> None:
        self._history = history

    def __call__(self, item: Item, uncertainty_usec: int) -> None:
        """Add an item's event, its times uncertain by ± `uncertainty_usec`."""
        match item:
            case messages.Reading():
                channel = f"{item.stream}.{item.line}"
                self._add(channel, item.time_usec, item.value, uncertainty_usec)
            case messages.Command():
                channel = f"{item.stream}.{item.line}"
                waited_usec = item.time_usec - item.since_usec
                self._add(channel, item.time_usec, item.value, uncertainty_usec, waited_usec)
            case messages.FrameSeen():
                self._add(item.stream, item.time_usec, item.index, uncertainty_usec)
            case messages.Row():
                event = Event(
                    item.stream,
                    item.time_usec,
                    early_usec=item.time_usec - item.since_usec,
                    cells=tuple(item.cells),
                )
                self._history.add([event])

    def _add(
        self, channel: str, time_usec: int, value: float, bound_usec: int, waited_usec: int = 0
    ) -> None:
        last = self._history.last(channel)
        event = Event(
            channel,
            time_usec,
            value,
            bound_usec + waited_usec,
            bound_usec,
            previous=None if last is None else last.value,
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
    """

    def __init__(self, history: History, channel: str, bound_usec: int) -> None:
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
        event = Event(
            self._channel,
            time_usec,
            mean,
            early_usec,
            self._bound_usec,
            previous=previous,
            noted_ns=time.monotonic_ns(),
        )
        self._history.add([event])
