"""Steps through a run in virtual time: to a moment, to an edge of a pin, with a look into chips.

A program (`mlink.Run`) and the fixture `bench` of a test share it. Where the run stands, nothing of
it goes on and no time-out counts; all limits are in virtual time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard

from mlink.devices import PinEdge, SimulatedChip, Simulation
from mlink.engine.virtual_time.participant import Participant
from mlink.errors import BenchError, ControlError

LIMIT_USEC = 10_000_000
"""Longest virtual time that is waited for an edge, unless another is given."""
EdgeOf: TypeAlias = tuple[str, int, Literal["rising", "falling", "any"]]
"""(board or chip, number of its pin, which edge)."""
_MOST_USEC = 1 << 50
"""Latest master time that can be waited for: 35 years."""
_LEVELS: dict[object, tuple[bool, ...]] = {
    "rising": (True,),
    "falling": (False,),
    "any": (False, True),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a run in virtual time stands.

    Attributes:
        time_usec: Master time, µs.
        edge: The edge that it stands at; None where it stands at a time.
    """

    time_usec: int
    edge: PinEdge | None = None


class Stepping:
    """Lets virtual time pass up to a moment or an edge, and gives a look into chips.

    Args:
        participant: Takes part in the run's virtual time.
        simulation: Returns the simulated devices of the run; None without any.
    """

    def __init__(
        self, participant: Participant, simulation: Callable[[], Simulation | None]
    ) -> None:
        self._participant = participant
        self._simulation = simulation

    def run_until(
        self,
        time_usec: int | None = None,
        *,
        edge: EdgeOf | None = None,
        limit_usec: int = LIMIT_USEC,
    ) -> Moment:
        """Let virtual time pass, then stand still.

        Args:
            time_usec: Master time at which to stand, µs.
            edge: (board or chip, pin, "rising", "falling" or "any"): to stand at the next such
                edge, right after the instruction that caused it.
            limit_usec: Longest virtual time that is waited for the edge, µs.

        Returns:
            Where the run stands.

        Raises:
            BenchError: An argument is wrong.
            DeviceError: There is no such chip or pin.
            ControlError: The edge did not come in time, or the run has ended before.
        """
        if (time_usec is None) == (edge is None):
            raise BenchError(
                "run_until needs either a time or an edge",
                remedy='For example time_usec=1_500_000, or edge=("uno", 13, "rising").',
            )
        limit_usec = _usec("limit_usec", limit_usec, 1)
        if edge is not None:
            return self._run_to_edge(edge, limit_usec)
        now_usec = self._participant.now_usec
        left_usec = _usec("time_usec", time_usec, now_usec) - now_usec
        self._wait(lambda: False, left_usec)
        return Moment(self._participant.now_usec)

    def pause(self) -> Moment:
        """Let the run stand still where it is.

        Raises:
            ControlError: The run has ended.
        """
        self._participant.pause()
        if self._participant.ended:
            raise ControlError("the run has ended: it cannot stand still")
        return Moment(self._participant.now_usec)

    def go_on(self) -> None:
        """Let the run go on without standing."""
        self._participant.go_on()

    def chip(self, name: str, elf: str | os.PathLike[str] | None = None) -> SimulatedChip:
        """Return a simulated board or chip, to look into it while the run stands.

        Args:
            name: Its key in [devices], or its name in [virtual].
            elf: ELF file of its firmware, for its symbols; None takes its firmware if that is one.

        Raises:
            BenchError: The bench has no simulated devices, or an argument is of a wrong type.
            DeviceError: There is no such chip.
        """
        if not isinstance(name, str) or not isinstance(elf, str | os.PathLike | None):
            raise BenchError(
                f"chip(name={name!r}, elf={elf!r}): a name and a path, or no path, are needed",
                remedy='Write for example chip("uno"), or chip("uno", "firmware.elf").',
            )
        self._check_stands()
        simulation = self._simulation()
        if simulation is None:
            raise BenchError(
                f"this bench has no simulated device '{name}'",
                remedy="Look at its tables [devices] and [virtual].",
            )
        return simulation.chip(name, None if elf is None else Path(elf), self._check_stands)

    def _check_stands(self) -> None:
        if self._participant.ended:
            raise ControlError("the run has ended: its chips are gone")
        if not self._participant.has_turn:
            raise ControlError(
                "a chip can be looked into while the run stands still",
                remedy="Call pause() or run_until(…) before.",
            )

    def _run_to_edge(self, wanted: EdgeOf, limit_usec: int) -> Moment:
        name, pin, which = _parts(wanted)
        chip, since_usec = self.chip(name), self._participant.now_usec
        before = chip.halt([pin])
        seen: list[PinEdge] = []

        def has_come() -> bool:
            if not self._participant.ended:
                seen.extend(chip.take_edges())
            return any(each.level in _LEVELS[which] for each in seen)

        try:
            came = self._wait(has_come, limit_usec)
            now_usec = self._participant.now_usec
            if came:
                found = next(each for each in seen if each.level in _LEVELS[which])
                zero_ns = self._participant.zero_usec * 1000
                return Moment(now_usec, found._replace(time_ns=found.time_ns - zero_ns))
            counts = [now - then for now, then in zip(chip.halt([]), before, strict=True)]
            raise ControlError(
                f"no {'' if which == 'any' else which + ' '}edge on {name}.{pin} within "
                f"{limit_usec} µs after {since_usec} µs; {_what_was_seen(chip, pin, counts)}",
                remedy="Check the pin and what should move it, or give a longer limit_usec.",
            )
        finally:
            if not self._participant.ended:
                chip.halt([])

    def _wait(self, done: Callable[[], bool], usec: int) -> bool:
        """Let virtual time pass; ControlError when the run ends meanwhile."""
        came = self._participant.wait(done, usec / 1e6)
        if not came and self._participant.ended:
            raise ControlError(
                f"the run has ended on the way from {self._participant.now_usec} µs",
                remedy="Look at its result: it has failed, was stopped, or its length is over.",
            )
        return came


def _what_was_seen(chip: SimulatedChip, pin: int, counts: list[int]) -> str:
    state = chip.pin(pin)
    level = "high" if state.level else "low"
    by = ("the chip drives it", "it is driven from outside", "nothing drives it")
    source = by[0] if state.output else by[1] if state.driven else by[2]
    others = ", ".join(
        f"{number} ({count})" for number, count in enumerate(counts) if count and number != pin
    )
    return (
        f"meanwhile it had {counts[pin]} edges, now it is {level} and {source}; "
        f"other pins with edges: {others or 'none'}"
    )


def _parts(edge: EdgeOf) -> EdgeOf:
    """Return the checked parts of an edge."""
    match edge:
        case (str() as name, pin, str() as which) if _is_whole(pin) and which in _LEVELS:
            return name, int(pin), which
    raise BenchError(
        f"{edge!r} is not an edge",
        remedy='Write (board, pin, "rising", "falling" or "any"), such as ("uno", 13, "rising").',
    )


def _usec(name: str, value: object, lowest: int) -> int:
    if not _is_whole(value) or not lowest <= value <= _MOST_USEC:
        raise BenchError(
            f"{name} = {value!r}: a whole number of µs is needed, {lowest} or later"
            + (f", and at most {_MOST_USEC}" if _is_whole(value) and value > lowest else ""),
            remedy="Virtual time does not go back; start the run again, with the same seed, for "
            "an earlier moment.",
        )
    return int(value)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)
