"""The kinds of faults, and how a bench file writes them down; light to import.

    [[faults]]
    at_sec = 2.0            # master time
    for_sec = 0.5           # left out: to the end of the run
    kind = "unplug"
    target = "uno"          # a device or a module, as the kind has it

Everything that is not about when and where is a setting of the kind.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, get_args

import msgspec

MAX_SKEW_PPM = 100_000
_LINES = range(2, 20)
_FASTEST_DISK = 1e12


def _tag(name: str) -> str:
    """Return a class's kind: slow-disk of SlowDisk."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


class Fault(
    msgspec.Struct,
    tag_field="kind",
    tag=_tag,
    kw_only=True,
    frozen=True,
    forbid_unknown_fields=True,
):
    """What is broken; `target` says where."""

    needs: ClassVar[Literal["board", "camera", "module"]] = "module"
    """What its target is: a virtual board or camera, by its device, or a module."""
    lasts: ClassVar[bool] = True
    """Whether it has an end; a reset has none."""

    target: str

    @property
    def kind(self) -> str:
        """Its kind, as a bench file has it."""
        return _tag(type(self).__name__)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, each as "key: what"."""
        return []

    def settings(self) -> dict[str, object]:
        """Return what there is besides kind and target."""
        fields = msgspec.structs.asdict(self)
        return {key: value for key, value in fields.items() if key != "target"}


class Unplug(Fault, frozen=True):
    """Pull the cable of a board: its port and its power vanish; at the end it is plugged in."""

    needs: ClassVar = "board"


class BrownOut(Fault, frozen=True):
    """Let a board's supply sag: held in reset, its port stays; at the end it boots."""

    needs: ClassVar = "board"


class Reset(Fault, frozen=True):
    """Push a board's reset button."""

    needs: ClassVar = "board"
    lasts: ClassVar = False


class LineNoise(Fault, frozen=True):
    """Lose and corrupt bytes between board and host, by chance, from a seed."""

    needs: ClassVar = "board"

    drop: float = 0.0
    """Share of the bytes that are lost, 0 to 1."""
    corrupt: float = 0.0
    """Share of the bytes of which one bit is turned over, 0 to 1."""
    direction: Literal["both", "to-board", "from-board"] = "both"
    seed: int = 1

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        rates = (("drop", self.drop), ("corrupt", self.corrupt))
        found = [f"{key}: is a share, 0 to 1" for key, rate in rates if not 0 <= rate <= 1]
        if not found and self.drop == self.corrupt == 0:
            found.append("drop: give drop or corrupt, a share of the bytes above 0")
        return found


class StuckLine(Fault, frozen=True):
    """Short a line of a board to ground or to 5 V, whatever is wired to it."""

    needs: ClassVar = "board"

    line: int
    level: bool

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        return [] if self.line in _LINES else ["line: an Uno has 2 to 19 (14 is A0)"]


class SkewClock(Fault, frozen=True):
    """Let the clock of a board or a camera run fast, or slow (below 0), by parts per million."""

    needs: ClassVar = "board"  # a camera has one, too

    ppm: float

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        if self.ppm == 0 or abs(self.ppm) > MAX_SKEW_PPM:
            return [f"ppm: is not 0, and at most ±{MAX_SKEW_PPM}"]
        return []


class FreezePicture(Fault, frozen=True):
    """Let a camera send the same picture again and again, with new times."""

    needs: ClassVar = "camera"


class LateStamps(Fault, frozen=True):
    """Let a camera stamp its frames late (early, below 0), in µs."""

    needs: ClassVar = "camera"

    usec: int

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        return [] if self.usec else ["usec: is not 0"]


class Stall(Fault, frozen=True):
    """Stop a module's process: a hung script, a camera that delivers nothing."""


class Kill(Fault, frozen=True):
    """Kill a module's process."""

    lasts: ClassVar = False


class SlowDisk(Fault, frozen=True):
    """Let a recorder's writes into the recording take as long as on a slow disk."""

    bytes_per_sec: float
    write_msec: float = 0.0
    """What each write and each sync takes besides, in ms."""

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        found = []
        if not 0 < self.bytes_per_sec <= _FASTEST_DISK:
            found.append("bytes_per_sec: must be above 0")
        if not 0 <= self.write_msec <= 60_000:
            found.append("write_msec: must be 0 to 60000")
        return found


AnyFault: TypeAlias = (
    Unplug
    | BrownOut
    | Reset
    | LineNoise
    | StuckLine
    | SkewClock
    | FreezePicture
    | LateStamps
    | Stall
    | Kill
    | SlowDisk
)

KINDS: dict[str, type[Fault]] = {_tag(each.__name__): each for each in get_args(AnyFault)}


class Scheduled(msgspec.Struct, frozen=True):
    """A fault of a bench file: what, from when, for how long."""

    fault: Fault
    at_sec: float
    for_sec: float | None = None
    """None: to the end of the run."""
