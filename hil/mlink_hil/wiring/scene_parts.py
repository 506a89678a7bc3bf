"""Parts that a virtual camera films: the scene itself, LEDs and servos.

[virtual.light]
type = "led"
line = "uno.8"
scene = "eye"
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from mlink_hil.sim.plan import LED_AT, LED_SIZE
from mlink_hil.wiring.part import Part, Problem

Color: TypeAlias = Literal["red", "green", "blue", "yellow", "white", "orange"]


class Scene(Part, kw_only=True):
    """How the camera of a virtual scene exposes its frames."""

    kind: ClassVar[str] = "scene"
    device: str
    exposure_usec: int = 2_000
    readout_usec: int = 0
    """µs from the first row's exposure to the last row's (rolling shutter); 0 is a global one."""
    noise: float = 0.0
    """Standard deviation of each pixel, in grey levels of 255."""
    seed: int = 0
    """Of the noise, and of what is random in a triggered camera."""
    trigger: str = ""
    """Line whose edges begin the exposures; empty: the camera runs freely."""
    strobe: str = ""
    """Line that the camera drives while it exposes, at its own `rate_hz`."""
    active_low: bool = False
    """Whether the line of the trigger or strobe is low for an exposure."""
    rate_hz: float = 0.0
    """Of a camera with a strobe."""
    begin_usec: float = 0.0
    """When the first exposure of a camera with a strobe begins, by the boards' clock."""
    delay_usec: int = 500
    """From the end of the readout to the driver's time stamp, with a trigger or strobe."""
    jitter_usec: int = 0
    """Longest time by which such a stamp is later, at random."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself."""
        if self.trigger and self.strobe:
            yield "strobe", "a camera with a trigger has none here: remove one of the two"
        if self.strobe and not 0.1 <= self.rate_hz <= 1e6 / (self.exposure_usec + 1):
            yield "rate_hz", "must be 0.1 or more, with a period longer than exposure_usec"
        if self.rate_hz and not self.strobe:
            yield "rate_hz", "is for a camera with a strobe; others have the module's framerate"
        if not 0 <= self.begin_usec <= 1e9:
            yield "begin_usec", "must be 0 to 1e9"
        for key in ("delay_usec", "jitter_usec"):
            if not 0 <= getattr(self, key) <= 1_000_000:
                yield key, "must be 0 to 1 s"
        if not 0 < self.exposure_usec <= 10_000_000:
            yield "exposure_usec", "must be above 0 and at most 10 s"
        if not 0 <= self.readout_usec <= 1_000_000:
            yield "readout_usec", "must be 0 to 1 s"
        if not 0 <= self.noise <= 100:
            yield "noise", "must be 0 to 100 grey levels"

    def lines(self) -> dict[str, str]:
        """Return the line of its trigger or strobe."""
        return {key: line for key in ("trigger", "strobe") if (line := getattr(self, key))}

    def scene_key(self) -> str:
        """Return its own device name."""
        return self.device

    def detail(self) -> str:
        """Return exposure and readout."""
        readout = f", read out in {self.readout_usec} µs" if self.readout_usec else ""
        return f"exposes {self.exposure_usec} µs{readout}"

    def wired(self) -> list[str]:
        """Return its device name, and the line of its trigger or strobe."""
        if self.trigger:
            return [f"{self.trigger} → {self.device}"]
        return [f"{self.device} → {self.strobe}"] if self.strobe else [self.device]


class _Shown(Part, kw_only=True):
    """A part that is driven by a line and drawn into a scene."""

    line: str
    scene: str
    """Device name of the scene."""
    at: tuple[float, float] = LED_AT
    """Place of its middle: shares of the picture's width and height."""
    size: float = LED_SIZE
    """Radius, as a share of the picture's width."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself."""
        if not all(0 <= share <= 1 for share in self.at):
            yield "at", "shares of the picture's width and height are 0 to 1"
        if not 0.005 <= self.size <= 0.5:
            yield "size", "must be 0.005 to 0.5 of the picture's width"

    def lines(self) -> dict[str, str]:
        """Return the line that drives it."""
        return {"line": self.line}

    def scene_key(self) -> str:
        """Return the device name of its scene."""
        return self.scene

    def wired(self) -> list[str]:
        """Return its line and the scene that shows it."""
        return [f"{self.line} → {self.scene}"]


class Led(_Shown, kw_only=True):
    """A light in a scene.

    In each row it is as bright as the share of that row's exposure for which its line was on.
    """

    kind: ClassVar[str] = "led"
    color: Color = "red"
    active_low: bool = False
    """Lit while its line is low."""

    def detail(self) -> str:
        """Return its color."""
        return f"{self.color}, lit when low" if self.active_low else self.color


class Servo(_Shown, kw_only=True):
    """An arm in a scene, which turns to the angle that the pulse width on its line means."""

    kind: ClassVar[str] = "servo"
    at: tuple[float, float] = (0.3, 0.7)
    size: float = 1 / 8
    min_usec: float = 544.0
    """Pulse width of 0°; the defaults are those of Arduino's Servo library."""
    max_usec: float = 2400.0
    """Pulse width of 180°."""
    speed_dps: float = 500.0
    """Degrees per second."""

    def problems(self, bench_dir: Path) -> Iterator[Problem]:
        """Yield each setting that is wrong by itself."""
        yield from super().problems(bench_dir)
        if not 0 < self.min_usec < self.max_usec <= 10_000:
            yield "min_usec", "must be above 0 and below max_usec, and max_usec at most 10000"
        if not 0 < self.speed_dps <= 1e6:
            yield "speed_dps", "must be above 0 and at most 1e6"
