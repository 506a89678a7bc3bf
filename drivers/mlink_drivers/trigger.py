"""What cameras and boards agree on: the line of a trigger or strobe, and the rows about its edges.

A camera asks a board (`mlink.module.Request`) for a `BoardLine`. The board sends an `EdgeRow` for
what the chip does or sees on it; the camera answers when it is ready, and with its count at the
end.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

EDGES_OUTPUT: Final = "triggers"
"""Output of the board."""
EDGES_INPUT: Final = "edges"
ANSWERS_OUTPUT: Final = "trigger"
"""Input and output of the camera; the board's input of the answers is `answers_input`."""
MOST_HZ: Final = 4000.0
LONGEST_PERIOD_USEC: Final = 500_000_000
LEAD_SPACING_USEC: Final = 150_000
"""Distance of the single pulses before a train; the delay of a frame has to be shorter."""


def answers_input(camera: str) -> str:
    """Return the id of the board's input for a camera's answers."""
    return f"{camera}-trigger"


class BoardLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a board: a train that it makes, or, without a rate, a strobe that it watches."""

    line: int
    """Number of the line on its board."""
    rate_hz: float = 0.0
    """Rate of the train; 0: the line is an input."""
    exposure_usec: int = 0
    """Width of a pulse of the train."""
    active_low: bool = False
    """Whether its pulses are low, on a line that rests high."""


class Trigger(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A train of pulses by a board's chip, each of which is to cause a frame."""

    board: str
    """Name of the `firmata-io` module."""
    line: int
    """The board's line, which no script can command then."""
    rate_hz: float
    """Pulses per second, 0.002 to 4000, rounded to ticks of 0.5 µs; default of `framerate`."""
    exposure_usec: int
    """Width of a pulse; cameras in a mode of trigger by width expose for as long."""
    active_low: bool = False
    """Whether its pulses are low, on a line that rests high."""

    def __post_init__(self) -> None:
        if not 1e6 / LONGEST_PERIOD_USEC <= self.rate_hz <= MOST_HZ:
            raise ValueError(f"trigger.rate_hz must be 0.002 to {MOST_HZ:g}, not {self.rate_hz}")
        longest = int(1e6 / self.rate_hz) - 10
        if not 10 <= self.exposure_usec <= longest:
            raise ValueError(
                f"trigger.exposure_usec must be 10 to {longest} at {self.rate_hz:g} Hz,"
                f" not {self.exposure_usec}"
            )

    def wish(self) -> BoardLine:
        """Return what the board has to do."""
        return BoardLine(self.line, self.rate_hz, self.exposure_usec, self.active_low)


class Strobe(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The line on which a camera shows its exposures, watched by a board."""

    board: str
    """Name of the `firmata-io` module."""
    line: int
    """The board's line to which the camera's strobe is wired."""
    active_low: bool = False
    """Whether the line is low while the camera exposes."""
    delay_usec: int | None = None
    """About the time from an edge to the driver's stamp of its frame; None where the line is
    silent until the camera starts, or the time is less than a period."""

    def wish(self) -> BoardLine:
        """Return what the board has to do."""
        return BoardLine(self.line, active_low=self.active_low)


class _Row(msgspec.Struct, frozen=True):
    """A row of a table, with a field for each column."""

    @classmethod
    def header(cls) -> list[str]:
        """Return the names of the columns."""
        return list(cls.__struct_fields__)

    @classmethod
    def read(cls, cells: list[str]) -> Self:
        """Return the row of these cells."""
        return msgspec.convert(dict(zip(cls.header(), cells, strict=True)), cls, strict=False)

    def cells(self) -> list[str]:
        """Return the row as texts."""
        return [str(value) for value in msgspec.structs.astuple(self)]


class EdgeRow(_Row, frozen=True):
    """A row of the board's output `triggers`; times are master µs by the chip's clock."""

    time_usec: int
    line: int
    event: str
    """"lead": a single pulse before the train; "train": where an edge of the train is; "edge": one
    that was seen; "lost": edges may have been lost; "off": no edges from now on; "end": the train
    has ended after `edge` edges."""
    edge: int = 0
    """Number of the edge, from 0; those of single pulses before a train are below 0."""
    period_usec: float = 0.0
    """Period of the train in master time."""
    uncertainty_usec: int = 0

    def cells(self) -> list[str]:
        """Return the row as texts."""
        period = f"{self.period_usec:.6f}" if self.period_usec else "0"
        return [
            str(self.time_usec), str(self.line), self.event, str(self.edge), period,
            str(self.uncertainty_usec),
        ]  # fmt: skip


class Answer(_Row, frozen=True):
    """A row of the camera's output `trigger`: what has happened to its frames and edges."""

    time_usec: int
    event: str
    """"ready", "aligned", "frame-missing", "edge-missing", "untriggered", "doubtful", "end"."""
    edge: int = -1
    """The edge; at the end the last one that was paired."""
    count: int = 1
    """How many; at the end the frames that were paired."""
    detail: str = ""
    delay_usec: int = 0
    """Delay from a frame's edge to the driver's time stamp."""
