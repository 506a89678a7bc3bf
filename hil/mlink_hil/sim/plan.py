"""What the programs that simulate a `[virtual]` table are told: plain values, as JSON in a file.

`CircuitPlan` is for the program of the boards and chips that are wired together (`sim.circuit`),
`ScenePlan` for a scene's camera. Times are µs of simulated time, pins are numbers of an Uno's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from mlink.errors import DeviceError

WIRE_USEC = 20.0
"""How long a change takes along a wire between two simulated processors."""


class BoardPlan(msgspec.Struct, kw_only=True):
    """A board with a serial port, or (without `tty`) a chip by itself."""

    name: str
    control: str
    tty: str = ""
    simulator: str = "yasimavr"
    firmware: str = ""
    """Path of its firmware, hex or ELF."""
    firmware_name: str = ""
    clock_ppm: float = 0.0
    """How much too fast its crystal is."""


class ModelPlan(msgspec.Struct, kw_only=True):
    """A device under test in Python."""

    name: str
    file: str
    class_name: str
    pins: list[str]
    settings: dict[str, Any] = {}


class ContactPlan(msgspec.Struct, kw_only=True):
    """A button on a board's pin."""

    board: str
    pin: int
    level: bool
    """What it connects the pin to when it is pressed."""
    pattern_usec: list[float] = []
    bounces: int = 0
    longest_usec: float = 0.0
    bounce_seed: int = 0
    presses_hz: float = 0.0
    press_msec: float = 0.0
    seed: int = 0


class SensorPlan(msgspec.Struct, kw_only=True):
    """A voltage on a board's analog pin."""

    board: str
    pin: int
    waveform: str
    low_volt: float
    high_volt: float
    hz: float
    points: list[tuple[float, float]] = []
    """(seconds, volts) of a waveform from a file."""
    noise_volt: float = 0.0
    seed: int = 0
    rate_hz: float = 1000.0


End: TypeAlias = tuple[str, str]
"""One end of a wire: (board, chip or model; its pin)."""


class DelayPlan(msgspec.Struct, kw_only=True):
    """A wire between two nets that takes its time."""

    ends: tuple[End, End]
    """A pin of each net."""
    delay_usec: float


class CircuitPlan(msgspec.Struct, kw_only=True):
    """Boards, chips and models on one clock, and what is between them."""

    boards: list[BoardPlan]
    models: list[ModelPlan] = []
    nets: list[list[End]] = []
    delays: list[DelayPlan] = []
    contacts: list[ContactPlan] = []
    sensors: list[SensorPlan] = []
    wire_usec: float = WIRE_USEC


LED_AT = (0.75, 0.75)
"""Default place of an LED in the picture: shares of its width and height."""
LED_SIZE = 1 / 24
"""Default radius of an LED, as a share of the picture's width."""


class ShownPlan(msgspec.Struct, kw_only=True):
    """Something in a scene, on a pin of a board or chip."""

    name: str
    control: str
    pin: int
    at: tuple[float, float]
    size: float


class LedPlan(ShownPlan, kw_only=True, tag="led"):
    """A light in a scene."""

    color: str = "red"
    active_low: bool = False


class ServoPlan(ShownPlan, kw_only=True, tag="servo"):
    """An arm in a scene."""

    min_usec: float
    max_usec: float
    speed_dps: float


class ScenePlan(msgspec.Struct, kw_only=True):
    """How a scene's camera films, and what stands in the scene."""

    exposure_usec: int = 2_000
    readout_usec: int = 0
    noise: float = 0.0
    seed: int = 0
    items: list[LedPlan | ServoPlan] = []


PlanT = TypeVar("PlanT", CircuitPlan, ScenePlan)


def write_plan(path: Path, plan: CircuitPlan | ScenePlan) -> None:
    """Write a plan where its program will read it."""
    path.write_bytes(msgspec.json.encode(plan))


def read_plan(path: Path, kind: type[PlanT]) -> PlanT:
    """Read a plan; DeviceError when there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise DeviceError(f"the plan {path} of this run cannot be read: {error}") from error
