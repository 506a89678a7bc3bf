"""What a `[virtual]` table can hold: each kind of part with its settings, in plain values.

    [virtual.light]
    type = "led"
    line = "uno.8"
    scene = "eye"

A part's `problems` tell what is wrong with it by itself, as (key, sentence).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from mlink_hil.sim.plan import LED_AT, LED_SIZE
from mlink_hil.uno import ANALOG_COUNT, FIRST_ANALOG, SUPPLY_VOLT
from mlink_hil.wiring.lines import parse_line, parse_pin

Problem: TypeAlias = tuple[str, str]

Color: TypeAlias = Literal["red", "green", "blue", "yellow", "white", "orange"]
_MAX_RATE_HZ = 10_000
_MAX_BOUNCES = 1000
_MAX_BOUNCE_USEC = 1_000_000
_MAX_DELAY_USEC = 1_000_000


class Part(msgspec.Struct, kw_only=True):
    """Base of all parts."""

    kind: ClassVar[str]

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield what is wrong with the settings by themselves."""
        yield from ()

    def lines(self) -> dict[str, str]:
        """Return the lines of boards that it is wired to, by the key that names each."""
        return {}

    def scene_key(self) -> str:
        """Return the scene that shows it; empty when none does."""
        return ""

    def wired(self) -> list[str]:
        """Return what it is wired to, in words, one connection each."""
        return list(self.lines().values())

    def detail(self) -> str:
        """Return what it is beyond its type, in a few words."""
        return ""


class Scene(Part, kw_only=True):
    """How the camera of a virtual scene takes its pictures."""

    kind: ClassVar[str] = "scene"
    device: str
    exposure_usec: int = 2_000
    readout_usec: int = 0
    """From the first row's exposure to the last row's: rolling readout; 0 exposes all at once."""
    noise: float = 0.0
    """Standard deviation of each pixel, in grey levels of 255."""
    seed: int = 0

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield what is wrong."""
        if not 0 < self.exposure_usec <= 10_000_000:
            yield "exposure_usec", "must be above 0 and at most 10 s"
        if not 0 <= self.readout_usec <= 1_000_000:
            yield "readout_usec", "must be 0 to 1 s"
        if not 0 <= self.noise <= 100:
            yield "noise", "must be 0 to 100 grey levels"

    def scene_key(self) -> str:
        """Return its device."""
        return self.device

    def detail(self) -> str:
        """Return how it exposes."""
        readout = f", read out in {self.readout_usec} µs" if self.readout_usec else ""
        return f"exposes {self.exposure_usec} µs{readout}"

    def wired(self) -> list[str]:
        """Return its device."""
        return [self.device]


class _Shown(Part, kw_only=True):
    """A part that stands in a scene."""

    line: str
    scene: str
    at: tuple[float, float] = LED_AT
    """Place in the picture: shares of its width and height."""
    size: float = LED_SIZE
    """Radius, as a share of the picture's width."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield what is wrong."""
        if not all(0 <= share <= 1 for share in self.at):
            yield "at", "shares of the picture's width and height are 0 to 1"
        if not 0.005 <= self.size <= 0.5:
            yield "size", "must be 0.005 to 0.5 of the picture's width"

    def lines(self) -> dict[str, str]:
        """Return its line."""
        return {"line": self.line}

    def scene_key(self) -> str:
        """Return its scene."""
        return self.scene

    def wired(self) -> list[str]:
        """Return its line, and where it is seen."""
        return [f"{self.line} → {self.scene}"]


class Led(_Shown, kw_only=True):
    """A light in a scene: as bright in a row as the share of its exposure that the line was on."""

    kind: ClassVar[str] = "led"
    color: Color = "red"
    active_low: bool = False

    def detail(self) -> str:
        """Return its color."""
        return f"{self.color}, lit when low" if self.active_low else self.color


class Servo(_Shown, kw_only=True):
    """An arm in a scene, which turns to the angle that the pulses on the line tell."""

    kind: ClassVar[str] = "servo"
    at: tuple[float, float] = (0.3, 0.7)
    size: float = 1 / 8
    min_usec: float = 544.0
    max_usec: float = 2400.0
    """Pulse widths of 0° and 180°; the defaults are the Arduino library's."""
    speed_dps: float = 500.0
    """Degrees per second."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield what is wrong."""
        yield from super().problems(bench_dir)
        if not 0 < self.min_usec < self.max_usec <= 10_000:
            yield "min_usec", "must be above 0, below max_usec, and that at most 10000"
        if not 0 < self.speed_dps <= 1e6:
            yield "speed_dps", "must be above 0"


class Bounce(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a contact bounces: a pattern that is always the same, or a random one."""

    pattern_usec: list[float] = []
    """Times between the edges after the first: open, closed, open, …"""
    count: int = 0
    """At most so many openings, their number and times random."""
    longest_usec: float = 500.0
    seed: int = 1


class Button(Part, kw_only=True):
    """A contact from a line to ground, or to 5 V. A test presses it by driving the line."""

    kind: ClassVar[str] = "button"
    line: str
    active_low: bool = True
    bounce: Bounce = msgspec.field(default_factory=Bounce)
    presses_hz: float = 0.0
    """How often it is pressed by itself; 0 leaves that to a test."""
    press_msec: float = 50.0
    seed: int = 1

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield what is wrong."""
        bounce = self.bounce
        if bounce.pattern_usec and bounce.count:
            yield "bounce", "has a pattern and a count; give one of them"
        if len(bounce.pattern_usec) % 2:
            yield "bounce.pattern_usec", "needs an even number of times, so that it ends closed"
        if not all(0 < usec <= _MAX_BOUNCE_USEC for usec in bounce.pattern_usec):
            yield "bounce.pattern_usec", "times must be above 0 and at most 1 s"
        if not 0 <= bounce.count <= _MAX_BOUNCES:
            yield "bounce.count", f"must be 0 to {_MAX_BOUNCES}"
        if not 1 <= bounce.longest_usec <= _MAX_BOUNCE_USEC:
            yield "bounce.longest_usec", "must be 1 µs to 1 s"
        if not 0 <= self.presses_hz <= 200:
            yield "presses_hz", "must be 0 to 200"
        if not 0 < self.press_msec <= 1e6:
            yield "press_msec", "must be above 0"

    def detail(self) -> str:
        """Return what a press does."""
        told = ["to ground" if self.active_low else "to 5 V"]
        if self.bounce.pattern_usec or self.bounce.count:
            told.append("bounces")
        if self.presses_hz:
            told.append(f"presses itself at {self.presses_hz:g} Hz")
        return ", ".join(told)

    def lines(self) -> dict[str, str]:
        """Return its line."""
        return {"line": self.line}


class Sensor(Part, kw_only=True):
    """A voltage on an analog line: a waveform between two voltages, and noise."""

    kind: ClassVar[str] = "sensor"
    line: str
    waveform: Literal["constant", "sine", "ramp", "square", "file"] = "sine"
    low_volt: float = 0.0
    high_volt: float = SUPPLY_VOLT
    hz: float = 1.0
    file: str = ""
    """Two columns, seconds and volts, repeated when it is over (waveform = "file")."""
    noise_volt: float = 0.0
    seed: int = 1
    rate_hz: float = 1000.0
    """How often the voltage is set."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield what is wrong."""
        if not 0 <= self.low_volt <= self.high_volt <= SUPPLY_VOLT:
            yield "low_volt", f"0 ≤ low_volt ≤ high_volt ≤ {SUPPLY_VOLT:g} must hold"
        if not 0 < self.hz <= _MAX_RATE_HZ:
            yield "hz", f"must be above 0 and at most {_MAX_RATE_HZ}"
        if not 0 < self.rate_hz <= _MAX_RATE_HZ:
            yield "rate_hz", f"must be above 0 and at most {_MAX_RATE_HZ}"
        if not (math.isfinite(self.noise_volt) and 0 <= self.noise_volt <= SUPPLY_VOLT):
            yield "noise_volt", f"must be 0 to {SUPPLY_VOLT:g}"
        if (self.waveform == "file") != bool(self.file):
            yield "file", 'goes with waveform = "file", and that with a file'
        elif self.file and not (bench_dir / self.file).is_file():
            yield "file", f"there is no file {bench_dir / self.file}"
        try:
            pin = parse_line(self.line).pin
        except ValueError:
            return  # told with the other lines
        if pin not in range(FIRST_ANALOG, FIRST_ANALOG + ANALOG_COUNT):
            yield "line", "is no analog input; they are A0 to A5"

    def detail(self) -> str:
        """Return its waveform."""
        match self.waveform:
            case "file":
                return self.file
            case "constant":
                return f"{self.high_volt:g} V"
        return f"{self.waveform}, {self.low_volt:g} to {self.high_volt:g} V, {self.hz:g} Hz"

    def lines(self) -> dict[str, str]:
        """Return its line."""
        return {"line": self.line}


class Wire(Part, kw_only=True):
    """A wire between lines of boards."""

    kind: ClassVar[str] = "wire"
    ends: list[str]
    delay_usec: float = 0.0
    """How much later than over any wire a change is at the other end."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield what is wrong."""
        if len(set(self.ends)) < 2:
            yield "ends", "a wire has two ends or more, and they differ"
        if not 0 <= self.delay_usec <= _MAX_DELAY_USEC:
            yield "delay_usec", "must be 0 to 1 s"
        elif self.delay_usec and len(self.ends) > 2:
            yield "delay_usec", "is for a wire of two ends; make several wires"

    def wired(self) -> list[str]:
        """Return its ends."""
        return [" – ".join(self.ends)]

    def detail(self) -> str:
        """Return its delay."""
        return f"{self.delay_usec:g} µs late" if self.delay_usec else ""

    def lines(self) -> dict[str, str]:
        """Return its ends."""
        return {f"ends[{number}]": end for number, end in enumerate(self.ends)}


class _UnderTest(Part, kw_only=True):
    """A device under test, wired to boards' lines."""

    wires: dict[str, str]
    """Its pins, and the line that each is wired to."""

    def lines(self) -> dict[str, str]:
        """Return the boards' ends of its wires."""
        return {f"wires.{pin}": line for pin, line in self.wires.items()}

    def wired(self) -> list[str]:
        """Return its wires."""
        return [f"{pin} – {line}" for pin, line in self.wires.items()]


class Chip(_UnderTest, kw_only=True):
    """An ATmega328P with a firmware of its own; its pins are named as an Uno's."""

    kind: ClassVar[str] = "chip"
    firmware: str
    """Intel hex or ELF, from the folder of the bench."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield what is wrong."""
        if not (bench_dir / self.firmware).is_file():
            yield "firmware", f"there is no file {bench_dir / self.firmware}"
        for pin in self.wires:
            try:
                parse_pin(pin)
            except ValueError as error:
                yield f"wires.{pin}", str(error)

    def detail(self) -> str:
        """Return its firmware."""
        return self.firmware


class Model(_UnderTest, kw_only=True):
    """A Python class (`mlink_hil.dut.Dut`), which names its pins."""

    kind: ClassVar[str] = "model"
    source: str
    """"file.py:ClassName", from the folder of the bench."""
    settings: dict[str, Any] = {}
    """Keyword arguments of the class."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield what is wrong."""
        file, colon, name = self.source.partition(":")
        if not colon or not name.isidentifier():
            yield "source", 'is not of the form "file.py:ClassName"'
        elif not (bench_dir / file).is_file():
            yield "source", f"there is no file {bench_dir / file}"

    def detail(self) -> str:
        """Return its class."""
        return self.source


KINDS: dict[str, type[Part]] = {
    part.kind: part for part in (Scene, Led, Servo, Button, Sensor, Wire, Chip, Model)
}
