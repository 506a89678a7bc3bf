"""What a module met in the recorded run, so that a replay lets it meet the same at the same times.

A delayed call or a wait that ended is taken for the recorded one when it is the same in number and
length: it then ends when it ended in the lab, a little late. All else follows virtual time.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.clock import Clock
from mlink.recording import journal as told
from mlink.recording.journal import read_journal
from mlink.transport.codec import is_small, small_decoder
from mlink.types import Frame, SignalBlock
from mlink.worker.ports import Pulled, WorkerInput

_LATE_USEC = 1_000_000
"""How late a call may have been in the lab to be taken for the same one."""
_WAITS_WITHIN = 64
"""Waits within a wait that are looked through for its own end."""


@dataclass(slots=True, eq=False)
class Met:
    """Something the module met: when, and what the clock said to it then."""

    time_usec: int
    length_usec: int = 0
    """Of a delayed call or a wait."""
    clock: deque[int] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class MetItem(Met):
    """An item on one of the inputs."""

    port: WorkerInput | None = None
    what: Any = None
    seq: int = 0


class TapeClock:
    """Virtual time, but what the clock said in the lab as long as that is known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: deque[int] = deque()
        self._last_usec = 0

    def follow(self, met: Met | None) -> None:
        """Something happens: give the answers that were given then."""
        self._answers = deque() if met is None else met.clock

    @property
    def told_all(self) -> bool:
        """Whether no answer of the lab is left for what happened last."""
        return not self._answers

    def now_usec(self) -> int:
        """Return µs since the run's start; never less than before."""
        now = self._answers.popleft() if self._answers else self._clock.now_usec()
        self._last_usec = max(self._last_usec, now)
        return self._last_usec

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""
        return self._clock.from_monotonic_ns(monotonic_ns)


class Tape:
    """A module's journal, in the hands of the module that is to meet the same again.

    `ports` are the inputs whose items come from the tape: those of replayed sources.
    """

    def __init__(
        self, path: Path, ports: Iterable[WorkerInput], sources: Mapping[str, str]
    ) -> None:
        journal = read_journal(path)
        by_id = {port.id: port for port in ports}
        taped: dict[int, WorkerInput] = {}
        for number, known in enumerate(journal.header.inputs):
            port = by_id.get(known.id)
            if (
                port is not None
                and port.data_type.value == known.data_type
                and sources.get(port.id) == known.source
            ):
                taped[number] = port
        self.ports = list(taped.values())
        self.missing = 0
        """Items that the module met in the lab and that the recording does not hold."""
        self.last_usec = 0
        """When the module met the last of it before its stop() was called."""
        self.start: Met | None = None
        self.stop: Met | None = None
        self.finish: Met | None = None
        self._sent_before_stop = 0
        self._waited_at_stop = False
        self._items: deque[MetItem] = deque()
        self._timers: dict[int, Met] = {}
        self._waits: deque[Met] = deque()
        self._arrived: dict[str, deque[Pulled]] = {port.id: deque() for port in self.ports}
        self._decoders = {
            port.id: small_decoder(port.data_type)
            for port in self.ports
            if is_small(port.data_type)
        }
        self._read(journal.records(), taped)

    def _read(self, records: Iterable[told.Record], taped: Mapping[int, WorkerInput]) -> None:
        met = Met(0)
        for record in records:
            time_usec = record.time_usec
            match record:
                case told.ClockAnswer():
                    met.clock.append(time_usec)
                case told.Item():
                    port = taped.get(record.port)
                    met = item = MetItem(time_usec, port=port, what=record.what, seq=record.seq)
                    self._note_last(time_usec)
                    if port is not None:
                        self._items.append(item)
                case told.Timer():
                    self._note_last(time_usec)
                    met = self._timers[record.number] = Met(time_usec, record.delay_usec)
                case told.Sent():
                    self._sent_before_stop += self.stop is None
                case told.Wait():
                    self._waited_at_stop |= self.stop is not None
                    met = Met(time_usec, record.length_usec)
                    self._waits.append(met)
                case told.Start():
                    met = self.start = Met(time_usec)
                case told.Stop():
                    met = self.stop = Met(time_usec)
                case told.Finish():
                    met = self.finish = Met(time_usec)

    def _note_last(self, time_usec: int) -> None:
        if self.finish is None:
            self.last_usec = time_usec

    @property
    def next_usec(self) -> int | None:
        """When the next item is to be met; None when there is none left."""
        return self._items[0].time_usec if self._items else None

    def stop_is_next(self, sent: int) -> bool:
        """Whether the module saw the stop here, between two waits, with so many small items sent.

        Else it saw it while it waited.
        """
        return (
            self.stop is not None
            and not self._waited_at_stop
            and not self._waits
            and sent >= self._sent_before_stop
        )

    def timer(self, number: int, delay_usec: int, due_usec: int) -> Met:
        """Return when a delayed call is to be made."""
        met = self._timers.get(number)
        if met is not None and met.length_usec == delay_usec:
            met.time_usec = max(met.time_usec, due_usec)
            if met.time_usec <= due_usec + _LATE_USEC:
                return met
        return Met(due_usec)

    def wait(self, timeout_usec: int, now_usec: int) -> Met | None:
        """Return the end of a wait in the lab, which everything that it brought came before.

        None when there was no such wait: the script has changed.
        """
        while self._waits and self._waits[0].time_usec < now_usec:
            self._waits.popleft()
        latest_usec = now_usec + timeout_usec + _LATE_USEC
        # A wait within a wait (in a handler) ends before it, and so stands before it.
        for met in itertools.islice(self._waits, _WAITS_WITHIN):
            if met.time_usec > latest_usec:
                break
            if met.length_usec == timeout_usec:
                self._waits.remove(met)
                return met
        return None

    def pull(self) -> None:
        """Take in what the replayed sources have sent."""
        for port in self.ports:
            for pulled in port.pull():
                if port.id not in self._decoders:  # what is small is on the tape itself
                    self._arrived[port.id].append(pulled)

    def pop(self) -> tuple[MetItem, Pulled | None]:
        """Return the next item to be met; None for it when the recording does not hold it."""
        met = self._items.popleft()
        assert met.port is not None
        decode = self._decoders.get(met.port.id)
        if decode is not None:
            return met, Pulled(met.seq, met.what, decode(met.what))
        arrived = self._arrived[met.port.id]
        number, wanted = met.what
        while arrived:
            item = arrived[0].item
            if _is_that(item, number, wanted):
                if isinstance(item, Frame):
                    item.index = number  # a recording that a kill left does not know its frames'
                return met, arrived.popleft()
            # what the lab's script missed comes before; what its recorder missed is not there
            if isinstance(item, Frame) and item.time_usec > wanted:
                break
            if not any(_is_that(pulled.item, number, wanted) for pulled in arrived):
                break
            arrived.popleft()
        self.missing += 1
        return met, None


def _is_that(item: Any, number: int, more: int) -> bool:
    """Whether this is what the journal tells of: a frame by its time, a block by its beginning."""
    if isinstance(item, SignalBlock):
        return (int(item.timestamps[0]) if item.rows else 0, item.rows) == (number, more)
    return bool(item.time_usec == more)
