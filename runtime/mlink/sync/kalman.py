"""A Kalman filter of two clocks' offset and rate.

Plain floats in µs, µs/s and s: NumPy would cost more per sample than the arithmetic does.
"""

from __future__ import annotations

RATE_WANDER = 0.1**2
"""Variance a rate gains per second, in (µs/s)²/s.

The rate of a quartz that warms up changes by some 0.03 µs/s per second for minutes. The estimate
lags behind such a change; this value keeps the lag as small as the noise (docs/synchronisers.md).
"""

OFFSET_WANDER = 0.1**2
"""Variance an offset gains per second, in µs²/s: white frequency noise of a quartz."""


class OffsetRateFilter:
    """Estimate of a clock's offset o and rate r, with their covariance.

    The model is o' = o + r·dt, r' = r, with white noise on both: the constant-velocity model with
    white acceleration noise (Bar-Shalom et al., Estimation with Applications to Tracking and
    Navigation, ch. 6.2).
    """

    __slots__ = ("covariance", "offset", "offset_variance", "rate", "rate_variance")

    def __init__(
        self, offset: float, offset_variance: float, rate_deviation: float, age_s: float
    ) -> None:
        """Begin with an offset measured some time ago, and a rate of 0 with a wide deviation.

        Args:
            offset: In µs.
            offset_variance: Of that measurement, in µs².
            rate_deviation: Standard deviation of the unknown rate, in µs/s (ppm).
            age_s: Time since the offset was measured, in s.
        """
        self.offset = offset
        self.rate = 0.0
        self.rate_variance = rate_deviation**2
        self.covariance = self.rate_variance * age_s
        self.offset_variance = offset_variance + self.covariance * age_s

    def predict(self, dt: float) -> None:
        """Advance the estimate by `dt` seconds without a measurement."""
        wander = RATE_WANDER * dt
        self.offset += self.rate * dt
        self.offset_variance += (
            dt * (2 * self.covariance + dt * self.rate_variance)
            + OFFSET_WANDER * dt
            + wander * dt * dt / 3
        )
        self.covariance += dt * (self.rate_variance + wander / 2)
        self.rate_variance += wander

    def update(self, innovation: float, noise: float) -> None:
        """Correct the estimate by a measured offset.

        Args:
            innovation: Measured − predicted offset, in µs.
            noise: Variance of the measurement, in µs².
        """
        total = self.offset_variance + noise
        gain, rate_gain = self.offset_variance / total, self.covariance / total
        self.offset += gain * innovation
        self.rate += rate_gain * innovation
        self.rate_variance -= rate_gain * self.covariance
        self.covariance *= noise / total
        self.offset_variance *= noise / total

    def move_to(self, offset: float, variance: float) -> None:
        """Set a new offset (µs) and its variance (µs²) after a step of the clock; keep the rate."""
        self.offset = offset
        self.offset_variance = variance
        self.covariance = 0.0
