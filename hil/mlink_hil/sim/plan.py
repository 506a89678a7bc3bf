"""Input files of the simulator: plain values, as JSON.

`CircuitPlan` is for the program of the boards and chips that are wired together (`sim/circuit/`),
`ScenePlan` for a scene's camera (`scene/`). Times are µs of simulated time; pins are numbered as on
the board; on an Uno 14 is A0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from mlink.errors import DeviceError

WIRE_USEC = 20.0
"""Delay of a wire between two simulated processors, µs."""


FIRST_I2C_ADDRESS, LAST_I2C_ADDRESS = 0x08, 0x77
"""Others of the 7 bits have a meaning of their own on an I2C bus."""
AdapterKind: TypeAlias = Literal["none", "usb", "ftdi"]
"""What is between a board's serial line and the host."""


class BoardPlan(msgspec.Struct, kw_only=True):
    """A board with a serial port, or, with an empty `tty`, a chip."""

    name: str
    control: str
    """Path of its control socket."""
    tty: str = ""
    """Path of the link to its serial port."""
    simulator: str = "yasimavr"
    kind: str = "uno"
    """Name of its kind in `board_kinds.py`; a chip is that of an Uno."""
    firmware: str = ""
    """Path of its firmware, hex or ELF."""
    firmware_name: str = ""
    """Name to report; by default the file's."""
    clock_ppm: float = 0.0
    """Error of its crystal; positive is fast."""
    phase_usec: float = 0.0
    """For how long its firmware has run when the boards' common time begins."""
    adapter: AdapterKind = "none"
    latency_timer_writable: bool = True
    """Whether a driver may set the latency timer of an FTDI adapter."""


class ModelPlan(msgspec.Struct, kw_only=True):
    """A device under test as a Python class."""

    name: str
    file: str
    class_name: str
    pins: list[str]
    """Names of the pins that are wired."""
    settings: dict[str, Any] = {}
    i2c: str = ""
    """Name of the board whose I2C bus it is on; empty for none."""
    address: int = 0
    """Its address there; 0 for that of the class."""


class ContactPlan(msgspec.Struct, kw_only=True):
    """A button on a board's pin, pressed by clients or by itself.

    Both kinds of random values are reproducible, by `bounce_seed` and `seed`.
    """

    board: str
    pin: int
    level: bool
    """Level of the pin while it is pressed."""
    pattern_usec: list[float] = []
    """Times between the edges of a bounce; empty for random ones."""
    bounces: int = 0
    """Most openings of a random bounce."""
    longest_usec: float = 0.0
    """Longest time between two edges of a random bounce."""
    bounce_seed: int = 0
    presses_hz: float = 0.0
    """Presses per second by itself."""
    press_msec: float = 0.0
    seed: int = 0


class SensorPlan(msgspec.Struct, kw_only=True):
    """A voltage on a board's analog pin.

    `waveform` is "constant" (`high_volt`), "sine", "ramp", "square" or "file" (`points`).
    """

    board: str
    pin: int
    waveform: str
    low_volt: float
    high_volt: float
    hz: float
    points: list[tuple[float, float]] = []
    """(seconds, volts) of a waveform from a file."""
    noise_volt: float = 0.0
    """Standard deviation of the voltage."""
    seed: int = 0
    rate_hz: float = 1000.0
    """How often per second the voltage changes."""


End: TypeAlias = tuple[str, str]
"""One end of a wire: (name of a board, chip or model; its pin)."""


class DelayPlan(msgspec.Struct, kw_only=True):
    """A wire with a delay of its own, between two nets."""

    ends: tuple[End, End]
    """A pin of each net."""
    delay_usec: float


class CircuitPlan(msgspec.Struct, kw_only=True):
    """Boards, chips and models on one clock, and how they are wired."""

    boards: list[BoardPlan]
    models: list[ModelPlan] = []
    nets: list[list[End]] = []
    """Pins that are connected with each other."""
    delays: list[DelayPlan] = []
    contacts: list[ContactPlan] = []
    sensors: list[SensorPlan] = []
    wire_usec: float = WIRE_USEC


LED_AT = (0.75, 0.75)
"""Default place of an LED in the picture: shares of its width and height."""
LED_SIZE = 1 / 24
"""Default radius of an LED, as a share of the picture's width."""


class ShownPlan(msgspec.Struct, kw_only=True):
    """An item of a scene, driven by a pin of a board or chip."""

    name: str
    control: str
    """Path of the board's control socket."""
    pin: int
    at: tuple[float, float]
    """Its middle: shares of the picture's width and height."""
    size: float
    """Its radius, as a share of the picture's width."""


class LedPlan(ShownPlan, kw_only=True, tag="led"):
    """An LED in a scene."""

    color: str = "red"
    active_low: bool = False


class ServoPlan(ShownPlan, kw_only=True, tag="servo"):
    """A servo in a scene."""

    min_usec: float
    """Pulse width of 0°."""
    max_usec: float
    """Pulse width of 180°."""
    speed_dps: float
    """Degrees per second."""


class TriggerPlan(msgspec.Struct, kw_only=True):
    """The line whose edges begin a camera's exposures."""

    control: str
    """Path of the board's control socket."""
    pin: int
    active_low: bool = False


class ScenePlan(msgspec.Struct, kw_only=True):
    """How a scene's camera exposes, and the items in the scene."""

    exposure_usec: int = 2_000
    readout_usec: int = 0
    """From the first row's exposure to the last row's."""
    noise: float = 0.0
    """Standard deviation of a pixel, in grey levels of 255."""
    seed: int = 0
    trigger: TriggerPlan | None = None
    delay_usec: int = 0
    """Of a triggered camera: from the end of the readout to the driver's time stamp."""
    jitter_usec: int = 0
    """Longest time by which such a stamp is later, at random."""
    items: list[LedPlan | ServoPlan] = []


PlanT = TypeVar("PlanT", CircuitPlan, ScenePlan)


def write_plan(path: Path, plan: CircuitPlan | ScenePlan) -> None:
    """Write a plan to a file, for `read_plan` in another process."""
    path.write_bytes(msgspec.json.encode(plan))


def read_plan(path: Path, kind: type[PlanT]) -> PlanT:
    """Return the plan in a file.

    Args:
        path: A file that `write_plan` has written.
        kind: CircuitPlan or ScenePlan.

    Raises:
        DeviceError: The file cannot be read or decoded.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise DeviceError(f"the plan {path} of this run cannot be read: {error}") from error
