"""Assigns the ends that the chip reports to the pulses that were commanded.

Commands that overlap make one pulse with one end. A command that reached the chip after that end
made another pulse, even if it was sent before the report arrived. Where noise takes a report its
command has no times, and not those of the next pulse. Values only; not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mlink_drivers.firmata.chip.pulse_times import PulseTimes

_LONGEST_SLACK_NS: Final = 1_000_000
"""Largest difference between the two clocks' times of the same moment."""


class _Sent(msgspec.Struct):
    """A command that was sent; its pulse does not end before `ends_ns`."""

    asked_usec: int
    commanded_ns: int
    due_ns: int
    sent_ns: int
    ends_ns: int
    noise: int
    """Count of the noise at that time."""
    cut: bool = False
    """Whether a later command has ended it."""


class ChipPulses:
    """Commanded pulses of all lines until the chip reports their ends.

    Args:
        noise: Returns a count that grows with each refused message of the chip and dropped byte.
    """

    def __init__(self, noise: Callable[[], int] = lambda: 0) -> None:
        self._noise = noise
        self._sent: dict[int, list[_Sent]] = {}

    @property
    def lines(self) -> list[int]:
        """Lines with a pulse whose end was not reported yet."""
        return sorted(line for line, sent in self._sent.items() if not all(s.cut for s in sent))

    def begin(
        self,
        line: int,
        asked_usec: int,
        commanded_ns: int,
        sent_ns: int,
        takes_usec: int = 0,
        due_ns: int = 0,
    ) -> None:
        """Add a command that is sent.

        Args:
            line: The output.
            asked_usec: Width of the pulse.
            commanded_ns: When it was commanded.
            sent_ns: When it is sent.
            takes_usec: Duration of the whole train, where it is longer than the width.
            due_ns: When its first edge is planned; 0 is at once.
        """
        ends_ns = sent_ns + max(asked_usec, takes_usec) * 1000
        due_ns = due_ns or commanded_ns
        sent = _Sent(asked_usec, commanded_ns, due_ns, sent_ns, ends_ns, self._noise())
        self._sent.setdefault(line, []).append(sent)

    def cut(self, line: int) -> None:
        """Mark the pulses of a line as ended early by another command."""
        for sent in self._sent.get(line, ()):
            sent.cut = True

    def since_ns(self, line: int) -> tuple[int, int]:
        """When the oldest command of a line that has not ended was sent, and its first edge due.

        Without one both are 0.
        """
        oldest = min(self._sent.get(line, ()), key=lambda sent: sent.sent_ns, default=None)
        return (oldest.sent_ns, max(oldest.sent_ns, oldest.due_ns)) if oldest else (0, 0)

    def ended(self, line: int, first_ns: int, last_ns: int, *, complete: bool) -> list[PulseTimes]:
        """Return the times of the commands that an end ends, and forget them.

        A command whose pulse was over when a later one of them was sent, and whose own report may
        have been lost meanwhile, has no times.

        Args:
            line: The output.
            first_ns: Time of the first edge.
            last_ns: Time of the last edge.
            complete: Whether the pulse ran to its end; False when it was stopped.
        """
        waiting = self._sent.get(line, [])
        ended = [sent for sent in waiting if sent.cut or (complete and _is_over(sent, last_ns))]
        if not ended:  # an end belongs to at least one command
            ended = waiting[:1] if complete else waiting[:]
        left = [sent for sent in waiting if sent not in ended]
        if left:
            self._sent[line] = left
        else:
            self._sent.pop(line, None)
        latest_ns, noise = max((sent.sent_ns for sent in ended), default=0), self._noise()
        lost = [sent for sent in ended if sent.ends_ns < latest_ns and noise > sent.noise]
        return [
            _times(line, sent, *((0, 0) if sent in lost else (first_ns, last_ns))) for sent in ended
        ]

    def give_up(self) -> list[PulseTimes]:
        """Return the commands without an end, and forget them."""
        left = [_times(line, sent, 0, 0) for line, all_ in self._sent.items() for sent in all_]
        self._sent.clear()
        return left


def _is_over(sent: _Sent, last_ns: int) -> bool:
    slack_ns = min((sent.ends_ns - sent.sent_ns) // 2, _LONGEST_SLACK_NS)
    return sent.ends_ns <= last_ns + slack_ns


def _times(line: int, sent: _Sent, first_ns: int, last_ns: int) -> PulseTimes:
    return PulseTimes(
        line,
        sent.asked_usec,
        sent.commanded_ns,
        sent.sent_ns,
        0,
        timed_by="chip",
        first_edge_ns=first_ns,
        last_edge_ns=last_ns,
        due_ns=sent.due_ns,
    )
