"""What the program knows of one run. Everything is bounded: a page may come late, or never."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from mlink.errors import ControlError
from mlink.peers import is_trusted
from mlink.view.messages import (
    Act,
    Acted,
    Batch,
    Begins,
    Ended,
    FeedBegins,
    FromRun,
    Gone,
    Items,
    LogLine,
    Look,
    Picture,
    RefusedActs,
    ShownBench,
    Status,
    Step,
    Stood,
    Stop,
    ToRun,
    Want,
)
from mlink.view.wire import pack, read_from_run

KEPT_ITEMS = 20_000
"""Items kept of each stream, for pages that come later."""
_KEPT_BATCHES = 2_000
KEPT_LINES = 2_000
_KEPT_ACTS = 200
_KEPT_VALUES = 200
"""Of one module."""
_ACTS_PER_S = 50
"""Commands of all pages together."""
NOTE_S = 0.1
"""Commands of one person that are refused for one reason within this time are one row of the
recording: who floods a page fills no disk."""
_MOST_REFUSED = 16
"""Rows of that time."""
_WAIT_FOR_PICTURE_S = 3.0
"""After this time a picture is asked for again: the feed may have had no frame."""
_RUN_BEHIND = 1 << 20
"""Bytes that wait for a run that reads nothing; more are not sent."""


class History:
    """The newest items of one stream, as they came."""

    def __init__(self) -> None:
        self._kept: deque[Items] = deque(maxlen=_KEPT_BATCHES)
        self._count = 0

    def add(self, items: Items) -> None:
        """Keep items; drop the oldest beyond 20,000."""
        if len(self._kept) == self._kept.maxlen:
            self._count -= self._kept[0].length
        self._kept.append(items)
        self._count += items.length
        while self._count > KEPT_ITEMS and len(self._kept) > 1:
            self._count -= self._kept.popleft().length

    def all(self) -> Items | None:
        """Return all that is kept as one; None where there is nothing."""
        if not self._kept:
            return None
        columns: dict[str, list[Any]] = {}
        for items in self._kept:
            for name, values in items.columns.items():
                if name == "data":
                    found = columns.setdefault(name, [[] for _ in values])
                    for channel, more in zip(found, values, strict=False):
                        channel += more
                else:
                    columns.setdefault(name, []).extend(values)
        newest = self._kept[-1]
        return Items(newest.stream, columns, sum(i.count for i in self._kept), last=newest.last)


class RunState:
    """One run: its bench, newest status, log, items, pictures and result."""

    def __init__(self) -> None:
        self.bench: ShownBench | None = None
        self.status: Status | None = None
        self.ended: Ended | None = None
        self.metadata: dict[str, dict[str, Any]] = {}
        self.log: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self.acts: deque[Acted] = deque(maxlen=_KEPT_ACTS)
        self.values: dict[str, dict[str, str]] = {}
        """Target → name → what it was set to by hand."""
        self._acts_s: deque[float] = deque(maxlen=_ACTS_PER_S)
        self._refused: dict[tuple[str, str], RefusedActs] = {}
        """Commands that were refused since the last note: by whom, why → the newest, and count."""
        self._noting: asyncio.TimerHandle | None = None
        self.lost_contact = False
        """Whether the run's connection has ended without a result: it was killed."""
        self.histories: dict[str, History] = {}
        self._wanted: dict[tuple[str, int], float] = {}
        """Pictures that the feed has been asked for, and when."""
        self._run: asyncio.StreamWriter | None = None
        self._feed: asyncio.StreamWriter | None = None
        self.stood: Stood | None = None
        """Where the run stands, if pages may step through it."""
        self._steps: asyncio.StreamWriter | None = None
        self._is_stepping = False
        self._observers: set[Callable[[FromRun], None]] = set()

    async def listen(self, path: str) -> asyncio.Server:
        """Wait at a Unix socket for the run and for its feed, until the server is closed."""
        return await asyncio.start_unix_server(self._read, path)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection of the run: its own, or its feed's."""
        try:
            if not is_trusted(writer.get_extra_info("socket")):
                return
            while (message := await read_from_run(reader)) is not None:
                self.take(message, writer)
        except ControlError as error:
            sys.stderr.write(f"{error}\n")
        finally:
            self.gone(writer)
            writer.close()

    def observe(self, observer: Callable[[FromRun], None]) -> Callable[[], None]:
        """Call `observer` with each message from now on; returns what ends that."""
        self._observers.add(observer)
        return lambda: self._observers.discard(observer)

    def take(self, message: FromRun, writer: asyncio.StreamWriter) -> None:
        """Take a message of the run or of its feed, which reads what is written to `writer`."""
        if isinstance(message, Begins):
            self.bench, self._run = message.bench, writer
        elif isinstance(message, Status):
            self.status = message
        elif isinstance(message, LogLine):
            self.log.append(message)
        elif isinstance(message, Ended):
            self.ended = message
        elif isinstance(message, FeedBegins):
            self.metadata, self._feed = message.metadata, writer
        elif isinstance(message, Batch):
            for items in message.items:
                self.histories.setdefault(items.stream, History()).add(items)
        elif isinstance(message, Picture):
            self._wanted.pop((message.stream, message.width), None)
        elif isinstance(message, Stood):
            self.stood, self._steps, self._is_stepping = message, writer, False
        elif isinstance(message, Acted):
            self.acts.append(message)
            self._note_value(message)
        self._pass_on(message)

    def _note_value(self, acted: Acted) -> None:
        name, equals, value = acted.act.text.partition("=")
        if equals and not acted.refused:
            values = self.values.setdefault(acted.act.target, {})
            if len(values) < _KEPT_VALUES or name.strip() in values:
                values[name.strip()] = value.strip()

    def never_came(self) -> None:
        """Note that the run's process has ended: if it never connected, there is no result."""
        if self._run is None and self.ended is None and not self.lost_contact:
            self.lost_contact = True
            self._pass_on(Gone())

    def gone(self, writer: asyncio.StreamWriter) -> None:
        """Note that the run, or its feed, has closed its connection."""
        if writer is self._feed:
            self._feed = None
        if writer is self._steps:
            self._steps = None
        if writer is self._run:
            self._run = None
            if self.ended is None:
                self.lost_contact = True
                self._pass_on(Gone())

    def want(self, stream: str, width: int) -> None:
        """Ask the feed for the next frame of a stream, if that has not been done just before."""
        now = asyncio.get_running_loop().time()
        asked = self._wanted.get((stream, width))
        if asked is not None and now - asked < _WAIT_FOR_PICTURE_S:
            return
        if self._send(self._feed, Want(stream, width)):
            self._wanted[stream, width] = now

    def stop(self, reason: str) -> bool:
        """Ask the run to stop; return False when it is not there."""
        return self._send(self._run, Stop(reason))

    def step(self, request: Step | Look) -> str:
        """Pass a step, or a look into a chip, on to the run; return why that is refused, or ""."""
        if self.stood is None:
            return "only a run in virtual time can be stepped through"
        if self._is_stepping:
            return "the run is still on its way"
        if not self._send(self._steps, request):
            return "the run does not last"
        self._is_stepping = isinstance(request, Step)
        return ""

    def act(self, act: Act, refused: str = "") -> str:
        """Pass a command of a page on to the feed, which records also a refused one.

        Args:
            act: The command.
            refused: Why its page may not give it; "" where it may.

        Returns:
            Why it is refused; "" where it is not.
        """
        if refused := refused or self._refusal():
            who = act.by, refused
            if who not in self._refused and len(self._refused) >= _MOST_REFUSED:
                who = next(reversed(self._refused))
            before = self._refused.get(who)
            count = 1 if before is None else before.count + 1
            self._refused[who] = RefusedActs(act, refused, count)
            if self._noting is None and self.bench is not None and self.bench.targets:
                self._noting = asyncio.get_running_loop().call_later(NOTE_S, self._note)
            return refused
        return "" if self._send(self._feed, act) else "the run has not begun, or has ended"

    def _note(self) -> None:
        """Let the feed record the commands that were refused since the last time."""
        self._noting = None
        for refused in self._refused.values():
            self._send(self._feed, refused)
        self._refused.clear()

    def _refusal(self) -> str:
        if self.bench is None or not self.bench.targets:
            return (self.bench and self.bench.no_control) or "the run cannot be commanded"
        now_s = asyncio.get_running_loop().time()
        if len(self._acts_s) == _ACTS_PER_S and now_s - self._acts_s[0] < 1.0:
            return f"more than {_ACTS_PER_S} commands in a second"
        self._acts_s.append(now_s)
        return ""

    def snapshot(self) -> dict[str, Any]:
        """Return all that a page needs at first, in plain values."""
        found = [history.all() for history in self.histories.values()]
        return {
            "bench": msgspec.to_builtins(self.bench),
            "status": msgspec.to_builtins(self.status),
            "ended": msgspec.to_builtins(self.ended),
            "lost_contact": self.lost_contact,
            "metadata": self.metadata,
            "stood": msgspec.to_builtins(self.stood),
            "values": self.values,
            "acts": msgspec.to_builtins(list(self.acts)),
            "log": msgspec.to_builtins(list(self.log)),
            "items": msgspec.to_builtins([items for items in found if items is not None]),
        }

    def _pass_on(self, message: FromRun) -> None:
        for observer in list(self._observers):
            observer(message)

    def _send(self, writer: asyncio.StreamWriter | None, message: ToRun) -> bool:
        if writer is None or writer.transport.get_write_buffer_size() > _RUN_BEHIND:
            return False
        writer.write(pack(message))
        return True
