"""A voltage on an analog pin: a waveform in simulated time, and noise from a seed."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable

from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.plan import SensorPlan
from mlink_hil.uno import CLOCK_HZ, SUPPLY_VOLT


class Sensor:
    """Puts a voltage on a pin `rate_hz` times per second.

    Args:
        plan: The waveform and the noise.
        clock: The common clock.
        put: Called with (volts, cycle).
    """

    def __init__(
        self, plan: SensorPlan, clock: CommonClock, put: Callable[[float, int], object]
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._put = put
        self._random = random.Random(plan.seed)  # noqa: S311 - no secret
        self._wave = _wave(plan)
        self._step = round(CLOCK_HZ / plan.rate_hz)
        self._begin = 0

    def start(self) -> None:
        """Start the waveform; its time 0 is now."""
        self._begin = self._clock.cycle
        self._clock.at(self._begin, self._tick)

    def _tick(self, cycle: int) -> None:
        volts = self._wave((cycle - self._begin) / CLOCK_HZ)
        if self._plan.noise_volt:
            volts += self._random.gauss(0.0, self._plan.noise_volt)
        self._put(min(max(volts, 0.0), SUPPLY_VOLT), cycle)
        if self._plan.waveform != "constant" or self._plan.noise_volt:
            self._clock.at(cycle + self._step, self._tick)


def _wave(plan: SensorPlan) -> Callable[[float], float]:
    """Return the waveform, a function from seconds to volts."""
    low, span, hz = plan.low_volt, plan.high_volt - plan.low_volt, plan.hz
    match plan.waveform:
        case "sine":
            return lambda sec: low + span * (0.5 + 0.5 * math.sin(2 * math.pi * hz * sec))
        case "ramp":
            return lambda sec: low + span * (sec * hz % 1.0)
        case "square":
            return lambda sec: low + span * (sec * hz % 1.0 < 0.5)
        case "file":
            return _interpolate(plan.points)
    return lambda _sec: plan.high_volt


def _interpolate(points: list[tuple[float, float]]) -> Callable[[float], float]:
    """Return a function that interpolates linearly and repeats after the last point."""
    times = [sec for sec, _ in points]
    length = times[-1] - times[0]

    def volts(sec: float) -> float:
        at = times[0] + (sec % length if length > 0 else 0.0)
        right = min(bisect.bisect_right(times, at), len(points) - 1)
        (t0, v0), (t1, v1) = points[max(right - 1, 0)], points[right]
        return v1 if t1 <= t0 else v0 + (v1 - v0) * (at - t0) / (t1 - t0)

    return volts
