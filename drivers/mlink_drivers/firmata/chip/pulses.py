"""Pulses that the chip makes: which were commanded, and which of them an end that it reports ends.

Commands that flow together make one pulse with one end. A command that reached the chip after the
end made a pulse of its own, though it was sent before the report came. Values only; not
thread-safe.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mlink_drivers.firmata.chip.pulse_times import PulseTimes

_LONGEST_SLACK_NS: Final = 1_000_000
"""What the two clocks' times of one moment differ by, at most."""


class _Sent(msgspec.Struct):
    """A command that has been sent, and when the pulse cannot end before."""

    asked_usec: int
    commanded_ns: int
    sent_ns: int
    ends_ns: int
    cut: bool = False
    """Whether the line was told something else since."""


class ChipPulses:
    """Commanded pulses of all lines, until the chip has told their ends."""

    def __init__(self) -> None:
        self._sent: dict[int, list[_Sent]] = {}

    @property
    def lines(self) -> list[int]:
        """Lines that pulse, as far as is known."""
        return sorted(line for line, sent in self._sent.items() if not all(s.cut for s in sent))

    def begin(
        self, line: int, asked_usec: int, commanded_ns: int, sent_ns: int, takes_usec: int = 0
    ) -> None:
        """Note a command that was sent; it takes `takes_usec` in all, where that is longer."""
        ends_ns = sent_ns + max(asked_usec, takes_usec) * 1000
        self._sent.setdefault(line, []).append(_Sent(asked_usec, commanded_ns, sent_ns, ends_ns))

    def cut(self, line: int) -> None:
        """Note that a line was told something else: what pulses on it is stopped."""
        for sent in self._sent.get(line, ()):
            sent.cut = True

    def ended(self, line: int, first_ns: int, last_ns: int, *, complete: bool) -> list[PulseTimes]:
        """Return the commands that an end reported by the chip ends, with its times."""
        waiting = self._sent.get(line, [])
        ended = [sent for sent in waiting if sent.cut or (complete and _is_over(sent, last_ns))]
        if not ended:  # an end ends the first command at least
            ended = waiting[:1] if complete else waiting[:]
        left = [sent for sent in waiting if sent not in ended]
        if left:
            self._sent[line] = left
        else:
            self._sent.pop(line, None)
        return [_times(line, sent, first_ns, last_ns) for sent in ended]

    def give_up(self) -> list[PulseTimes]:
        """Return what has no end yet, and forget it."""
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
    )
