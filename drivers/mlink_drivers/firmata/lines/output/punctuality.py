"""How late the commands to a board were sent and executed, and which intervals were not kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mlink.lateness import LATE_NS, TOLERANCE_NS, Intervals, Lateness
from mlink.types import LineCommand, LineCommandKind
from mlink_drivers.firmata.chip.pulse_times import PulseTimes

_WRITES: Final = (
    LineCommandKind.WRITE_DIGITAL,
    LineCommandKind.WRITE_ANALOG,
    LineCommandKind.WRITE_DIGITAL_PULSE,
    LineCommandKind.WRITE_ANALOG_PULSE,
)


class Punctuality:
    """The delays of commands and pulses, and their intervals on each line.

    Each method belongs to one thread: `sent` to that of the commands, `made_by_host` to the pulse
    timer's, `made_by_chip` to the reader's.

    Args:
        warn: Called with a warning when an interval was not kept, at most once a second each for
            commands and pulses.
        now_ns: Returns the present time, ns; virtual in virtual time.
    """

    def __init__(
        self, warn: Callable[[str], None], now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._sent: Final = Lateness()
        self._executed: Final = Lateness()
        self._commands: Final = Intervals(warn, now_ns)
        self._pulses: Final = Intervals(warn, now_ns)
        self._last: dict[int, tuple[int, int]] = {}
        """Line → (asked ns, delay ns) of its last write."""

    def sent(self, command: LineCommand, asked_ns: int, sent_ns: int) -> None:
        """Take the times of a command that was sent to the board.

        Args:
            command: The command.
            asked_ns: When a module has sent it.
            sent_ns: When its messages were written to the port.
        """
        late_ns = sent_ns - asked_ns
        self._sent.note(late_ns)
        if command.kind in _WRITES:
            line = command.line_id
            last = self._last.get(line)
            self._last[line] = asked_ns, late_ns
            if last is not None:
                off_ns = late_ns - last[1]
                if off_ns > TOLERANCE_NS or -off_ns > TOLERANCE_NS:
                    text = f"line {line}: commands {{asked}} apart were sent {{made}} apart"
                    self._commands.check(asked_ns - last[0], off_ns, text)

    def made_by_host(self, line: int, asked_ns: int, made_ns: int) -> None:
        """Take the width of a pulse that the host's timer has ended.

        Args:
            line: The output.
            asked_ns: The width that was asked for.
            made_ns: The time between its two writes.
        """
        text = f"line {line}: a pulse of {{asked}} lasted {{made}}"
        self._pulses.check(asked_ns, made_ns - asked_ns, text)

    def made_by_chip(self, pulse: PulseTimes) -> None:
        """Take the times of a pulse; those that the chip did not report are ignored."""
        late_ns = pulse.first_edge_ns - pulse.due_ns
        if pulse.first_edge_ns and late_ns > -LATE_NS:  # else it has renewed a running pulse
            self._executed.note(late_ns)

    def figures(self) -> dict[str, float]:
        """Return the figures for the run's summary."""
        figures = self._sent.figures("command") | self._executed.figures("pulse")
        missed = self._commands.missed + self._pulses.missed
        return figures | ({"intervals_not_kept": missed} if missed else {})
