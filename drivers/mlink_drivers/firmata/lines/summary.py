"""What the summary of a run has of a board: its texts, its traffic, what was lost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from mlink.module import ModuleContext
from mlink_drivers.firmata.lines.host_counters import HostCounters
from mlink_drivers.firmata.lines.output.commands import LineCommands
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session

_TEXTS_SHOWN: Final = 20
"""Different texts of a board that are shown; further ones are counted together."""
_OTHER_TEXTS: Final = "more texts, which the stream `replies` has"


class BoardTexts:
    """Reports a text of the board once, and at the end how often it came; `replies` has every one.

    Args:
        name: The board's name in messages.
        log: Receives the texts.
        note: Adds a row to the table of events: (what, text).
    """

    def __init__(self, name: str, log: logging.Logger, note: Callable[[str, str], object]) -> None:
        self._name = name
        self._log = log
        self._note = note
        self._counts: Counter[str] = Counter()

    def take(self, text: str) -> None:
        """Count a text, and report it when it is new."""
        if text not in self._counts and len(self._counts) >= _TEXTS_SHOWN:
            text = _OTHER_TEXTS
        self._counts[text] += 1
        if self._counts[text] == 1:
            self._log.warning("%s reports: %s", self._name, text)
            self._note("says", text)

    def report(self) -> None:
        """Log how often the texts came that came more than once."""
        for text, count in self._counts.items():
            if count > 1:
                self._log.warning("%s reported %d times: %s", self._name, count, text)


def report_traffic(
    context: ModuleContext[Any],
    session: Session,
    readings: Readings,
    commands: LineCommands,
    punctuality: Mapping[str, float],
) -> None:
    """Report counts of readings, commands and bytes, and how punctual commands were."""
    statistics = session.statistics
    context.report("readings_sent", readings.sent)
    context.report("commands_executed", commands.executed)
    for key, figure in punctuality.items():
        context.report(key, figure)
    context.report("bytes_in", statistics.bytes_in)
    context.report("bytes_out", statistics.bytes_out)
    context.report("resync_bytes", statistics.dropped_bytes)
    if statistics.oversized:
        context.report("messages_too_long", statistics.oversized)
    if readings.decimated:
        context.report("samples_decimated", readings.decimated)


def report_losses(
    context: ModuleContext[Any],
    session: Session,
    commands: LineCommands,
    host_counters: HostCounters,
) -> None:
    """Report steps of encoders that were not counted, and messages that were not sent."""
    if missed := host_counters.missed:
        context.report("counts_missed_by_board", missed)
        context.note_loss(
            f"{missed} step(s) of an encoder were not counted: both of its lines had changed in"
            f" one report of {session.name}",
            "Turn it slower, or use mlink's firmware: mlink flash DEVICE.",
        )
    if count := commands.undelivered:
        context.report("messages_undelivered", count)
        context.note_loss(
            f"{count} message(s) to {session.name} were not sent: it was away",
            "Check its cable and its supply.",
        )
