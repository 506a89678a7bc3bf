"""State of the digital inputs that port reports (0x90) cover. Values only.

A report that was sent before a line became an input is not valid for that line. So each line waits
for a fence: a version query (0xF9) sent between SET_PIN_MODE and REPORT_DIGITAL. Firmware answers
in order, so reports that arrive after the answer are valid.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from mlink_drivers.firmata.wire.protocol import PINS_PER_PORT

_REPORT_BYTES: Final = (0x7F, 0x3F80)
"""The levels in the two bytes of a report."""
_WHOLE: Final = 0x3FFF
_ASK_TIMES: Final = 4
"""After so many queries without an answer a change is taken as it was reported."""
_ANSWER_NS: Final = 5_000_000
"""Within this time the next report is the answer to the query, by all likelihood."""
_NO_LINE: Final = -1
"""In the place of a line: a version query that asks for a sign of life."""


class _Unsure(msgspec.Struct):
    """Changes in a report that the next report of the port has to confirm."""

    lines: int
    mask: int
    time_ns: int
    was_queried: bool
    """Whether the report answered a query with a cause."""
    asked: int = 1


class DigitalInputs:
    """State of the digital inputs of one board; not thread-safe.

    Lines are grouped in ports of eight, as in the reports.
    """

    def __init__(self) -> None:
        self._wanted: set[int] = set()
        self._fenced: deque[int] = deque()
        self._active: dict[int, int] = {}  # port → mask of lines that are live
        self._known: dict[int, int] = {}  # port → mask of lines whose state was reported
        self._state: dict[int, int] = {}  # port → last reported mask
        self._reported: dict[int, int] = {}  # the same, with the lines that are not live
        self._queries: dict[int, int] = {}  # port → queries that were not answered yet
        self._suspects: set[int] = set()
        """Ports that were queried with a cause, and have not reported since."""
        self._usual: dict[int, int] = {}
        """Port → mask of the lines that may be high in its reports: all that were inputs."""
        self._silent: dict[int, int] = {}
        """Port → mask of inputs without readings by reports, which have a level in these too."""
        self._doubted: dict[int, int] = {}
        """Port → mask of the other lines in its last report."""
        self._waiting: tuple[int, int] | None = None
        """When a look first found the oldest fence, in ns, and the fences that waited then."""
        self._unsure: dict[int, _Unsure] = {}
        self._to_ask: set[int] = set()
        self._answers = False
        """Whether the board answers queries of a port; before Firmata 2.4 it may not."""
        self.is_noisy = False
        """Whether bytes change on the line: a change of a level has to be confirmed."""
        self.time_ns = 0
        """When the changes that were returned last had been reported."""
        self.unconfirmed = 0
        """Changes of levels that the next report of the port has not confirmed."""
        self.is_strict = False
        """Whether the board reports levels of inputs only, as firmwares of Firmata do."""
        self.impossible = 0
        """Reports of which a byte is not used: with lines, or of ports, that are no inputs."""
        self.contradictions = 0
        """Reports that have changed nothing, so that they or those before were lost or wrong."""
        self.corrected: list[tuple[int, bool]] = []
        """Lines and levels that the answer to a query with a cause has corrected."""

    @property
    def ports(self) -> list[int]:
        """Ports with at least one input, sorted."""
        return sorted({line // PINS_PER_PORT for line in self._wanted})

    def expect(self, line: int) -> None:
        """Add an input whose mode is being set; its readings begin after the fence.

        The caller sends SET_PIN_MODE, a version query and REPORT_DIGITAL in this order.
        """
        self.forget(line)
        self._wanted.add(line)
        self._fenced.append(line)
        port, bit = divmod(line, PINS_PER_PORT)
        self._usual[port] = self._usual.get(port, 0) | 1 << bit
        self._queries[port] = self._queries.get(port, 0) + 1  # REPORT_DIGITAL is a query

    def forget(self, line: int, *, is_input: bool = False) -> None:
        """Remove a line; reports of its port that are still on their way do not count for it.

        Args:
            line: The line.
            is_input: Whether it is one all the same, such as that of a counter.
        """
        port, bit = divmod(line, PINS_PER_PORT)
        if is_input:
            self._silent[port] = self._silent.get(port, 0) | 1 << bit
        self._wanted.discard(line)
        self._active[port] = self._active.get(port, 0) & ~(1 << bit)
        self._known[port] = self._known.get(port, 0) & ~(1 << bit)
        if (unsure := self._unsure.get(port)) is not None:
            unsure.lines &= ~(1 << bit)

    def forget_all(self) -> None:
        """Remove all lines: the board has restarted and will not answer earlier queries."""
        self._wanted.clear()
        self._fenced.clear()
        self._waiting = None
        self._active.clear()
        self._known.clear()
        self._state.clear()
        self._reported.clear()
        self._queries.clear()
        self._suspects.clear()
        self._usual.clear()
        self._silent.clear()
        self._doubted.clear()
        self._unsure.clear()
        self._to_ask.clear()
        self._answers = False

    def query(self, *, suspicious: bool) -> list[int]:
        """Return the ports whose states to query.

        Args:
            suspicious: Whether there is a cause: lines that differ count as corrected.
        """
        self._queries = dict.fromkeys(self.ports, 1)  # earlier answers have come, or are lost
        self._suspects = set(self.ports) if suspicious else set()
        return self.ports

    def query_sign(self, repeat: bool) -> bool:
        """Return whether to send a version query for a sign of life; its answer is no fence.

        Args:
            repeat: Whether earlier queries had no answer for long: their answers were lost, and
                the answer to this one takes the place of the oldest.
        """
        if self._fenced:
            return repeat  # the answer to a query that is on its way is a sign
        self._fenced.append(_NO_LINE)
        return True

    def pass_fence(self) -> None:
        """Handle the answer to a version query: the oldest waiting line becomes active.

        Queries are answered in order, so each answer belongs to the oldest line.
        """
        if self._fenced:
            self._waiting = None
            line = self._fenced.popleft()
            if line in self._wanted:
                port, bit = divmod(line, PINS_PER_PORT)
                self._active[port] |= 1 << bit

    def pass_lost(self, now_ns: int, patience_ns: int) -> bool:
        """Pass the fences whose answers were lost, so that no line waits for ever.

        Args:
            now_ns: The present time.
            patience_ns: After it no report from before a fence is on its way.

        Returns:
            Whether there were any.
        """
        if not self._fenced:
            return False
        if self._waiting is None:
            self._waiting = now_ns, len(self._fenced)
        since_ns, count = self._waiting
        if now_ns - since_ns < patience_ns:
            return False
        for _ in range(count):
            self.pass_fence()
        return True

    def _whole(self, port: int, mask: int) -> int:
        """Return the mask of the lines of a report whose bytes can be as they were sent.

        Bits change on the line, in a port's number as in its levels. A board that reports more
        than its inputs does it again: then it is believed.
        """
        usual = self._usual.get(port)
        strange = mask & ~((usual or 0) | self._silent.get(port, 0))
        if not self.is_strict or (usual is not None and not strange):
            self._doubted.pop(port, None)
            return _WHOLE
        if port in self._doubted and not strange & ~self._doubted[port]:
            self._usual[port] = (usual or 0) | strange
            return _WHOLE
        self._doubted[port] = strange
        self.impossible += 1
        if usual is None:
            return 0
        return _WHOLE & ~sum(byte for byte in _REPORT_BYTES if strange & byte)

    def changes(self, port: int, mask: int, time_ns: int = 0) -> list[tuple[int, int]]:
        """Return (line, value) of the active inputs that are new or changed in a report.

        While the line is noisy, changes are returned once the next report of the port confirms
        them, and `take_to_ask` has the port; `time_ns` is when they were reported.

        Args:
            port: Port of the report; it has lines 8 × port to 8 × port + 7.
            mask: State of the port, one bit per line.
            time_ns: Arrival of the report.
        """
        whole = self._whole(port, mask)
        if not whole:
            return []
        if whole != _WHOLE:
            mask = mask & whole | self._reported.get(port, 0) & ~whole
        if self._reported.get(port) == mask:
            # A report that changes something may be the answer, or have crossed the query.
            if self._queries.get(port, 0):
                self._queries[port] -= 1
                self._answers = True
            else:
                self.contradictions += 1
        self._reported[port] = mask
        is_suspect = port in self._suspects
        self._suspects.discard(port)
        active = self._active.get(port, 0) & whole
        if not active:
            return []
        self.time_ns = time_ns
        unsure = self._unsure.pop(port, None)
        found = [] if unsure is None else self._confirm(port, unsure, mask, active)
        news = ((mask ^ self._state.get(port, 0)) | ~self._known[port]) & active
        if not news:
            return found
        if unsure is not None or (self.is_noisy and self._answers):
            self._unsure[port] = _Unsure(news, mask, time_ns, is_suspect)
            self._ask(port)
            return found
        return self._use(port, news, mask, is_suspect)

    def take_to_ask(self) -> list[int]:
        """Return the ports whose state to query, to confirm a change; they are forgotten then."""
        if not self._to_ask:
            return []
        ports, self._to_ask = sorted(self._to_ask), set()
        return ports

    def ask_again(self) -> list[tuple[int, int, int]]:
        """Ask again for what is not confirmed; return what has had no answer for long.

        Call it at intervals.

        Returns:
            Line, value and time of each change that is taken as it was reported.
        """
        found = []
        for port, unsure in list(self._unsure.items()):
            unsure.asked += 1
            if unsure.asked <= _ASK_TIMES:
                self._ask(port)
                continue
            del self._unsure[port]
            lines = unsure.lines & self._active.get(port, 0)
            used = self._use(port, lines, unsure.mask, unsure.was_queried)
            found += [(line, value, unsure.time_ns) for line, value in used]
        return found

    def _ask(self, port: int) -> None:
        self._to_ask.add(port)
        self._queries[port] = self._queries.get(port, 0) + 1

    def _confirm(self, port: int, unsure: _Unsure, mask: int, active: int) -> list[tuple[int, int]]:
        lines = unsure.lines & active
        others = lines & (mask ^ unsure.mask)
        self.unconfirmed += others.bit_count()
        # Later it may be an edge that came meanwhile: then the level is true since now at least.
        if others != lines and self.time_ns - unsure.time_ns <= _ANSWER_NS:
            self.time_ns = unsure.time_ns
        return self._use(port, lines & ~others, mask, unsure.was_queried)

    def _use(self, port: int, lines: int, mask: int, is_corrected: bool) -> list[tuple[int, int]]:
        self._known[port] |= lines
        self._state[port] = self._state.get(port, 0) & ~lines | mask & lines
        first = port * PINS_PER_PORT
        found = [(first + bit, mask >> bit & 1) for bit in range(PINS_PER_PORT) if lines >> bit & 1]
        if is_corrected:
            self.corrected += [(line, bool(level)) for line, level in found]
        return found
