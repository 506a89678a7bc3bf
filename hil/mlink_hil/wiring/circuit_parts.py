"""Boards' serial lines, and parts at their lines: buttons, sensors, wires, devices under test.

[virtual.finger]
type = "button"
line = "uno.7"
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from mlink_hil.board_kinds import UNO
from mlink_hil.sim.plan import FIRST_I2C_ADDRESS, LAST_I2C_ADDRESS, AdapterKind
from mlink_hil.uno import (
    MOST_CLOCK_PPM,
    MOST_PHASE_USEC,
    SUPPLY_VOLT,
)
from mlink_hil.wiring.part import Part, Problem

_MAX_RATE_HZ = 10_000
MAX_BOUNCES = 1000
MAX_BOUNCE_USEC = 1_000_000
MAX_DELAY_USEC = 1_000_000


class Board(Part, kw_only=True):
    """How a simulated board is connected with the host."""

    kind: ClassVar[str] = "board"
    device: str
    adapter: AdapterKind = "none"
    """Between its serial line and the host: nothing; full-speed USB, whose frames of 1 ms bytes
    wait for; an FTDI converter with its latency timer of 16 ms, which mlink sets to 1 ms."""
    latency_timer_writable: bool = True
    """With "ftdi": whether mlink has the permission to set the timer."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself."""
        if not self.latency_timer_writable and self.adapter != "ftdi":
            yield "latency_timer_writable", 'only adapter = "ftdi" has a latency timer'

    def board_key(self) -> str:
        """Return its own device name."""
        return self.device

    def wired(self) -> list[str]:
        """Return its device name: the part itself is wired to nothing."""
        return [self.device]

    def detail(self) -> str:
        """Return its adapter."""
        fixed = "" if self.latency_timer_writable else ", 16 ms"
        return f"{self.adapter}{fixed}" if self.adapter != "none" else "no adapter"


class Bounce(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a contact bounces: always by the same pattern, or at random.

    Without a pattern and with `count` 0 the contact does not bounce.
    """

    pattern_usec: list[float] = []
    """µs between the edges after the first: open, closed, open, …"""
    count: int = 0
    """Openings at most, their number and times random; 0 for none."""
    longest_usec: float = 500.0
    """Longest time between two edges, µs."""
    seed: int = 1


class Button(Part, kw_only=True):
    """A contact from a line to ground, or to 5 V. A test presses it by driving the line."""

    kind: ClassVar[str] = "button"
    line: str
    active_low: bool = True
    """Connects to ground, not to 5 V."""
    bounce: Bounce = msgspec.field(default_factory=Bounce)
    presses_hz: float = 0.0
    """Presses per second by itself; at 0 a test presses it."""
    press_msec: float = 50.0
    """How long such a press lasts."""
    seed: int = 1
    """Of the random times between such presses, ±20 %."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself.

        Times are limited to 1 s, `count` to 1000, `presses_hz` to 200.
        """
        bounce = self.bounce
        if bounce.pattern_usec and bounce.count:
            yield "bounce", "has both pattern_usec and count; set one of them"
        if len(bounce.pattern_usec) % 2:
            yield "bounce.pattern_usec", "needs an even number of times, so that it ends closed"
        if not all(0 < usec <= MAX_BOUNCE_USEC for usec in bounce.pattern_usec):
            yield "bounce.pattern_usec", "times must be above 0 and at most 1 s"
        if not 0 <= bounce.count <= MAX_BOUNCES:
            yield "bounce.count", f"must be 0 to {MAX_BOUNCES}"
        if not 1 <= bounce.longest_usec <= MAX_BOUNCE_USEC:
            yield "bounce.longest_usec", "must be 1 µs to 1 s"
        if not 0 <= self.presses_hz <= 200:
            yield "presses_hz", "must be 0 to 200"
        if not 0 < self.press_msec <= 1e6:
            yield "press_msec", "must be above 0 and at most 1e6"

    def detail(self) -> str:
        """Return what a press connects the line to, and whether it bounces or presses itself."""
        details = ["to ground" if self.active_low else "to 5 V"]
        if self.bounce.pattern_usec or self.bounce.count:
            details.append("bounces")
        if self.presses_hz:
            details.append(f"presses itself at {self.presses_hz:g} Hz")
        return ", ".join(details)

    def lines(self) -> dict[str, str]:
        """Return its line."""
        return {"line": self.line}


class Sensor(Part, kw_only=True):
    """A voltage on an analog line: a waveform between two voltages, and noise.

    Voltages are 0 to 5 V; the noise is normally distributed and repeats with its seed.
    """

    kind: ClassVar[str] = "sensor"
    line: str
    waveform: Literal["constant", "sine", "ramp", "square", "file"] = "sine"
    """"constant" is high_volt all the time."""
    low_volt: float = 0.0
    high_volt: float = SUPPLY_VOLT
    hz: float = 1.0
    """Periods of the waveform per second."""
    file: str = ""
    """With waveform = "file": two columns, seconds and volts, repeated from the start."""
    noise_volt: float = 0.0
    """Standard deviation of the voltage."""
    seed: int = 1
    """Of the noise."""
    rate_hz: float = 1000.0
    """How often per second the voltage changes."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield each setting that is wrong by itself.

        A file is looked for in the folder of the bench.
        """
        if not 0 <= self.low_volt <= self.high_volt <= SUPPLY_VOLT:
            yield "low_volt", f"0 ≤ low_volt ≤ high_volt ≤ {SUPPLY_VOLT:g} must hold"
        if not 0 < self.hz <= _MAX_RATE_HZ:
            yield "hz", f"must be above 0 and at most {_MAX_RATE_HZ}"
        if not 0 < self.rate_hz <= _MAX_RATE_HZ:
            yield "rate_hz", f"must be above 0 and at most {_MAX_RATE_HZ}"
        if not (math.isfinite(self.noise_volt) and 0 <= self.noise_volt <= SUPPLY_VOLT):
            yield "noise_volt", f"must be 0 to {SUPPLY_VOLT:g}"
        if (self.waveform == "file") != bool(self.file):
            yield "file", 'needs waveform = "file", and that needs a file'
        elif self.file and not (bench_dir / self.file).is_file():
            yield "file", f"there is no file {bench_dir / self.file}"

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
    """A wire between lines of boards and chips."""

    kind: ClassVar[str] = "wire"
    ends: list[str]
    delay_usec: float = 0.0
    """µs that a change takes to the other end, beyond those of any other wire."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself."""
        if len(set(self.ends)) < 2:
            yield "ends", "a wire has at least two ends, and they differ"
        if not 0 <= self.delay_usec <= MAX_DELAY_USEC:
            yield "delay_usec", "must be 0 to 1 s"
        elif self.delay_usec and len(self.ends) > 2:
            yield "delay_usec", "needs a wire of two ends; use several wires"

    def wired(self) -> list[str]:
        """Return its ends as one connection.

        One connection for both ends, not one each.
        """
        return [" – ".join(self.ends)]

    def detail(self) -> str:
        """Return its delay."""
        return f"{self.delay_usec:g} µs late" if self.delay_usec else ""

    def lines(self) -> dict[str, str]:
        """Return its ends."""
        return {f"ends[{number}]": end for number, end in enumerate(self.ends)}


class _UnderTest(Part, kw_only=True):
    """A device under test."""

    wires: dict[str, str]
    """The line that each of its pins is wired to."""
    delays_usec: dict[str, float] = {}
    """µs that a change takes along the wire of a pin, beyond those of any other wire."""

    def delay_problems(self) -> Iterator[Problem]:
        """Yield each wrong delay."""
        for pin, usec in self.delays_usec.items():
            if pin not in self.wires:
                yield f"delays_usec.{pin}", "there is no wire at this pin"
            elif not 0 <= usec <= MAX_DELAY_USEC:
                yield f"delays_usec.{pin}", "must be 0 to 1 s"

    def lines(self) -> dict[str, str]:
        """Return the lines at the boards' ends of its wires."""
        return {f"wires.{pin}": line for pin, line in self.wires.items()}

    def wired(self) -> list[str]:
        """Return its wires, one connection each."""
        return [f"{pin} – {line}" for pin, line in self.wires.items()]


class Chip(_UnderTest, kw_only=True):
    """An ATmega328P with a firmware of its own; its pins are named as an Uno's."""

    kind: ClassVar[str] = "chip"
    firmware: str
    """Intel hex or ELF file, relative to the bench's folder."""
    clock_ppm: float = 0.0
    """Error of its crystal, ppm; positive is fast."""
    phase_usec: float = 0.0
    """For how long its firmware has run when the simulation begins, µs."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield each setting that is wrong by itself."""
        yield from self.delay_problems()
        if not -MOST_CLOCK_PPM <= self.clock_ppm <= MOST_CLOCK_PPM:
            yield "clock_ppm", f"must be −{MOST_CLOCK_PPM} to {MOST_CLOCK_PPM}"
        if not 0 <= self.phase_usec <= MOST_PHASE_USEC:
            yield "phase_usec", f"must be 0 to {MOST_PHASE_USEC}"
        if not (bench_dir / self.firmware).is_file():
            yield "firmware", f"there is no file {bench_dir / self.firmware}"
        for pin in self.wires:
            try:
                UNO.pin(pin)
            except ValueError as error:
                yield f"wires.{pin}", str(error)

    def detail(self) -> str:
        """Return its firmware."""
        return self.firmware


class Model(_UnderTest, kw_only=True):
    """A device under test as a Python class (`mlink_hil.dut.Dut`), which names its pins.

    The class runs in the program that simulates the boards (`dut.py` is its interface).
    """

    kind: ClassVar[str] = "model"
    source: str
    """"file.py:ClassName", relative to the bench's folder."""
    settings: dict[str, Any] = {}
    """Keyword arguments of the class."""
    wires: dict[str, str] = {}
    """The line that each of its pins is wired to."""
    i2c: str = ""
    """The board whose I2C bus it is on (`mlink_hil.dut.I2cDevice`)."""
    address: int = 0
    """Its address there; 0 for that of the class."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield each setting that is wrong by itself."""
        yield from self.delay_problems()
        file, colon, name = self.source.partition(":")
        if not colon or not name.isidentifier():
            yield "source", f"'{self.source}' is not of the form \"file.py:ClassName\""
        elif not (bench_dir / file).is_file():
            yield "source", f"there is no file {bench_dir / file}"
        if self.address and not self.i2c:
            yield "address", "it is on no I2C bus; set i2c to the name of a board"
        elif self.address and not FIRST_I2C_ADDRESS <= self.address <= LAST_I2C_ADDRESS:
            yield "address", f"{self.address:#04x} is not in 0x08 to 0x77"

    def board_key(self) -> str | None:
        """Return the board whose I2C bus it is on."""
        return self.i2c or None

    def wired(self) -> list[str]:
        """Return its wires and its I2C bus, one connection each."""
        return super().wired() + ([f"I2C – {self.i2c}"] if self.i2c else [])

    def detail(self) -> str:
        """Return its file and class, and its address."""
        return self.source + (f", {self.address:#04x}" if self.address else "")
