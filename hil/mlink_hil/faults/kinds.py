"""The kinds of faults, and their form in a bench file; light to import.

    [[faults]]
    at_sec = 2.0            # master time
    for_sec = 0.5           # optional; without it, to the end of the run
    kind = "unplug"
    target = "uno"          # a device or a module, depending on the kind

All other keys are settings of the kind: the fields of its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias, get_args

import msgspec

MAX_SKEW_PPM = 100_000
_FASTEST_DISK = 1e12


def _tag(name: str) -> str:
    """Return the kind of a class's name: "slow-disk" of "SlowDisk"."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


def _not_shares(rates: Mapping[str, float]) -> list[str]:
    """Return the problems of settings that have to be shares."""
    return [f"{key}: must be a share, 0 to 1" for key, rate in rates.items() if not 0 <= rate <= 1]


class Fault(
    msgspec.Struct,
    tag_field="kind",
    tag=_tag,
    kw_only=True,
    frozen=True,
    forbid_unknown_fields=True,
):
    """A kind of fault and its target; subclasses add their settings.

    A subclass becomes a kind when it is in `AnyFault`; its fields are the keys of its table.
    """

    needs: ClassVar[Literal["board", "camera", "module"]] = "module"
    """What the target is: the device of a virtual board or camera, or a module."""
    lasts: ClassVar[bool] = True
    """Whether it has an end; a reset is of a moment."""

    target: str

    @property
    def kind(self) -> str:
        """Its kind, as in a bench file."""
        return _tag(type(self).__name__)

    def problems(self) -> list[str]:
        """Return the problems of the settings, each as "key: what".

        A key is a setting of the bench file; an empty list means that the fault can be scheduled.
        """
        return []

    def settings(self) -> dict[str, object]:
        """Return the settings: all fields but kind and target."""
        fields = msgspec.structs.asdict(self)
        return {key: value for key, value in fields.items() if key != "target"}


class Unplug(Fault, frozen=True):
    """Unplug a board: its port and its power vanish.

    At the end it is plugged in again, and boots.
    """

    needs: ClassVar = "board"


class BrownOut(Fault, frozen=True):
    """Hold a board in reset, as by a low supply.

    Its port stays; at the end it boots.
    """

    needs: ClassVar = "board"


class Reset(Fault, frozen=True):
    """Press a board's reset button."""

    needs: ClassVar = "board"
    lasts: ClassVar = False


class LineNoise(Fault, frozen=True):
    """Lose and corrupt bytes between board and host, chosen at random from a seed.

    `drop` and `corrupt` are independent; one of them must be above 0.
    """

    needs: ClassVar = "board"

    drop: float = 0.0
    """Share of the bytes that are lost, 0 to 1."""
    corrupt: float = 0.0
    """Share of the bytes in which one bit is inverted, 0 to 1."""
    direction: Literal["both", "to-board", "from-board"] = "both"
    seed: int = 1

    def problems(self) -> list[str]:
        """Return the problems of the settings."""
        rates = {"drop": self.drop, "corrupt": self.corrupt}
        found = _not_shares(rates)
        if not found and not any(rates.values()):
            found.append("drop: drop or corrupt must be above 0")
        return found


class StuckLine(Fault, frozen=True):
    """Hold a line of a board at ground or at 5 V, whatever is wired to it.

    `line` is a pin of its board (an Uno has 2 to 19; 14 is A0); `level` true is 5 V.
    """

    needs: ClassVar = "board"

    line: int
    level: bool


class SkewClock(Fault, frozen=True):
    """Make the clock of a board or a camera run fast (slow, below 0), in parts per million.

    At most ±`MAX_SKEW_PPM`; 0 is refused, as it would be no fault.
    """

    needs: ClassVar = "board"  # a camera has one, too

    ppm: float

    def problems(self) -> list[str]:
        """Return the problems of the settings."""
        if self.ppm == 0 or abs(self.ppm) > MAX_SKEW_PPM:
            return [f"ppm: must not be 0, nor beyond ±{MAX_SKEW_PPM}"]
        return []


class FreezePicture(Fault, frozen=True):
    """Make a camera send the same picture again and again, with new times."""

    needs: ClassVar = "camera"


class LateStamps(Fault, frozen=True):
    """Make a camera stamp its frames too late (too early, below 0), in µs."""

    needs: ClassVar = "camera"

    usec: int

    def problems(self) -> list[str]:
        """Return the problems of the settings."""
        return [] if self.usec else ["usec: must not be 0"]


class TriggerLosses(Fault, frozen=True):
    """Make a triggered camera lose frames, at random: shares of its triggers, 0 to 1.

    One of the three must be above 0.
    """

    needs: ClassVar = "camera"

    drop_triggers: float = 0.0
    """Triggers at which it makes no frame."""
    drop_frames: float = 0.0
    """Frames that are lost after it has numbered them."""
    extra_frames: float = 0.0
    """Frames that nothing has triggered."""

    def problems(self) -> list[str]:
        """Return the problems of the settings."""
        found = _not_shares(self.shares)
        if not found and not any(self.shares.values()):
            found.append("drop_triggers: one of the shares must be above 0")
        return found

    @property
    def shares(self) -> dict[str, float]:
        """Its settings, which the camera's order has, too."""
        return {
            "drop_triggers": self.drop_triggers,
            "drop_frames": self.drop_frames,
            "extra_frames": self.extra_frames,
        }


class Stall(Fault, frozen=True):
    """Stop a module's process (SIGSTOP): a hung script, a camera that delivers nothing.

    At the end the process goes on (SIGCONT); its queues may have overflowed meanwhile.
    """


class Kill(Fault, frozen=True):
    """Kill a module's process (SIGKILL)."""

    lasts: ClassVar = False


class SlowDisk(Fault, frozen=True):
    """Make a recorder's writes into the recording as slow as on a slow disk.

    A write of n bytes takes n / `bytes_per_sec` seconds longer, and `write_msec` besides.
    """

    bytes_per_sec: float
    write_msec: float = 0.0
    """Time that each write and each sync takes besides, in ms."""

    def problems(self) -> list[str]:
        """Return the problems of the settings."""
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
    | TriggerLosses
    | Stall
    | Kill
    | SlowDisk
)

KINDS: dict[str, type[Fault]] = {_tag(each.__name__): each for each in get_args(AnyFault)}


class Scheduled(msgspec.Struct, frozen=True):
    """A fault of a bench file, with its times in s."""

    fault: Fault
    at_sec: float
    """Master time."""
    for_sec: float | None = None
    """None: to the end of the run."""
