"""The tape: the events of a module's journal, which a replay repeats at their recorded times.

A delayed call is matched with a recorded one by its number and delay, a wait by its length. A match
ends when it ended in the recorded run, which is a little late as all real timers. Everything else
follows virtual time.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlink.clock import Clock
from mlink.recording.journal import reading as journal
from mlink.recording.journal.reading import read_journal
from mlink.transport.codec import is_small, small_decoder
from mlink.types import Frame, SignalBlock
from mlink.worker.input_port import Pulled, WorkerInput

_LATER_USEC = 1_000_000
"""How much later in µs than now a recorded call or wait may have been requested to match."""
_WAITS_WITHIN = 64
"""Nested waits that are searched for the end of the outer one."""


@dataclass(slots=True, eq=False)
class Event:
    """One recorded event: its time, and the clock readings after it."""

    time_usec: int
    length_usec: int = 0
    """Delay of a call, or length of a wait."""
    late_usec: int = 0
    """How late a call or wait was, where that was long."""
    clock: deque[int] | None = None
    """None without a reading: most events have none, and an empty deque needs 600 bytes."""


@dataclass(slots=True, eq=False)
class ItemEvent(Event):
    """A recorded item of an input; `what` identifies it (mlink.recording.journal.reading)."""

    port: WorkerInput | None = None
    what: Any = None
    seq: int = 0


class TapeClock:
    """Virtual time, but the recorded readings of the clock as long as there are any.

    A script that branches on the time then takes the same branches as in the recorded run.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: deque[int] = deque()
        self._last_usec = 0

    def follow(self, event: Event | None) -> None:
        """Use the recorded clock readings of an event from now on; None: virtual time."""
        self._answers = deque() if event is None or event.clock is None else event.clock

    @property
    def used_up(self) -> bool:
        """Whether no recorded reading of the last event is left."""
        return not self._answers

    def now_usec(self) -> int:
        """Return µs since the run's start; never less than in the last call."""
        now = self._answers.popleft() if self._answers else self._clock.now_usec()
        self._last_usec = max(self._last_usec, now)
        return self._last_usec

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""
        return self._clock.from_monotonic_ns(monotonic_ns)


class Tape:
    """A module's journal, read for the module that replays it.

    Args:
        path: The journal.
        ports: Inputs of replayed sources. Those that the journal has with the same data type and
            source get their items from the tape.
        sources: Input port → the stream that it subscribes to ("module.port").
    """

    def __init__(
        self, path: Path, ports: Iterable[WorkerInput], sources: Mapping[str, str]
    ) -> None:
        recorded = read_journal(path)
        by_id = {port.id: port for port in ports}
        taped: dict[int, WorkerInput] = {}
        for number, known in enumerate(recorded.header.inputs):
            port = by_id.get(known.id)
            if (
                port is not None
                and port.data_type.name == known.data_type
                and sources.get(port.id) == known.source
            ):
                taped[number] = port
        self.ports = list(taped.values())
        self.missing = 0
        """Items that the module received in the lab and that the recording does not have."""
        self.last_usec = 0
        """Time of the last item or call before the module's stop()."""
        self.start: Event | None = None
        self.stop: Event | None = None
        self.finish: Event | None = None
        self._sent_before_stop = 0
        self._waited_at_stop = False
        self._items: deque[ItemEvent] = deque()
        self._timers: dict[int, Event] = {}
        self._waits: deque[Event] = deque()
        self._arrived: dict[str, deque[Pulled]] = {port.id: deque() for port in self.ports}
        self._decoders = {
            port.id: small_decoder(port.data_type)
            for port in self.ports
            if is_small(port.data_type)
        }
        self._read(recorded.records(), taped)

    def _read(self, records: Iterable[journal.Record], taped: Mapping[int, WorkerInput]) -> None:
        event = Event(0)
        for record in records:
            time_usec = record.time_usec
            match record:
                case journal.ClockAnswer():
                    if event.clock is None:
                        event.clock = deque()
                    event.clock.append(time_usec)
                case journal.Item():
                    port = taped.get(record.port)
                    event = item = ItemEvent(time_usec, port=port, what=record.what, seq=record.seq)
                    self._note_last(time_usec)
                    if port is not None:
                        self._items.append(item)
                case journal.Timer():
                    self._note_last(time_usec)
                    event = self._timers[record.number] = Event(
                        time_usec, record.delay_usec, record.late_usec
                    )
                case journal.Sent():
                    self._sent_before_stop += self.stop is None
                case journal.Wait():
                    self._waited_at_stop |= self.stop is not None
                    event = Event(time_usec, record.length_usec, record.late_usec)
                    self._waits.append(event)
                case journal.Start():
                    event = self.start = Event(time_usec)
                case journal.Stop():
                    event = self.stop = Event(time_usec)
                case journal.Finish():
                    event = self.finish = Event(time_usec)

    def _note_last(self, time_usec: int) -> None:
        if self.finish is None:
            self.last_usec = time_usec

    @property
    def next_usec(self) -> int | None:
        """Time of the next item in µs; None when none is left."""
        return self._items[0].time_usec if self._items else None

    def stop_is_next(self, sent: int) -> bool:
        """Return whether the recorded module saw the stop outside of a wait, at this point.

        Args:
            sent: Number of small items that the module has sent so far.
        """
        return (
            self.stop is not None
            and not self._waited_at_stop
            and not self._waits
            and sent >= self._sent_before_stop
        )

    def timer(self, number: int, delay_usec: int, due_usec: int) -> Event:
        """Return the event of a delayed call; a new one where the journal has no match.

        Args:
            number: Number of the call in its module, from 0.
            delay_usec: Its delay.
            due_usec: When it is due in virtual time.
        """
        event = self._timers.get(number)
        if event is not None and event.length_usec == delay_usec:
            event.time_usec = max(event.time_usec, due_usec)
            if event.time_usec <= due_usec + event.late_usec + _LATER_USEC:
                return event
        return Event(due_usec)

    def wait(self, timeout_usec: int, now_usec: int) -> Event | None:
        """Return the recorded end of a wait; all items that it dispatched come before it.

        Args:
            timeout_usec: Length of the wait.
            now_usec: Virtual time at its beginning.

        Returns:
            None when the journal has no such wait: the script has changed.
        """
        while self._waits and self._waits[0].time_usec < now_usec:
            self._waits.popleft()
        latest_usec = now_usec + timeout_usec + _LATER_USEC
        # A nested wait (in a handler) ends before the outer one, so its record comes first.
        for event in itertools.islice(self._waits, _WAITS_WITHIN):
            on_time_usec = event.time_usec - event.late_usec
            if event.length_usec == timeout_usec and on_time_usec <= latest_usec:
                self._waits.remove(event)
                return event
        return None

    def pull(self) -> None:
        """Receive the items that the replayed sources have sent."""
        for port in self.ports:
            for pulled in port.pull():
                if port.id not in self._decoders:  # small items are on the tape itself
                    self._arrived[port.id].append(pulled)

    def pop(self) -> tuple[ItemEvent, Pulled | None]:
        """Return the next event and its item; None for an item that is not in the recording.

        Small items are decoded from the journal; frames and blocks come from the replayed source.
        """
        event = self._items.popleft()
        assert event.port is not None
        decode = self._decoders.get(event.port.id)
        if decode is not None:
            return event, Pulled(event.seq, event.what, decode(event.what))
        arrived = self._arrived[event.port.id]
        number, wanted = event.what
        while arrived:
            item = arrived[0].item
            if _is_recorded(item, number, wanted):
                if isinstance(item, Frame):
                    item.index = number  # the recording of a killed run has no frame numbers
                return event, arrived.popleft()
            # items that the lab's script lost come before; items its recorder lost are absent
            if isinstance(item, Frame) and item.time_usec > wanted:
                break
            if not any(_is_recorded(pulled.item, number, wanted) for pulled in arrived):
                break
            arrived.popleft()
        self.missing += 1
        return event, None


def _is_recorded(item: Any, number: int, more: int) -> bool:
    """Return whether an item is the recorded one: a frame by its time, a block by its start."""
    if isinstance(item, SignalBlock):
        return (int(item.timestamps[0]) if item.rows else 0, item.rows) == (number, more)
    return bool(item.time_usec == more)
