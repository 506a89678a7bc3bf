"""A Kalman filter of two clocks' offset and rate, in plain floats (µs, µs/s, s)."""

from __future__ import annotations

RATE_WANDER = 0.1**2
"""Variance a rate gains per second, in (µs/s)²/s.

A quartz that warms up gains some 0.03 µs/s per second for minutes on end. That is no noise: the
estimate lags behind it, and this value keeps the lag as small as the noise (see the study)."""

OFFSET_WANDER = 0.1**2
"""Variance an offset gains per second, in µs²/s: the white frequency noise of a quartz."""


class OffsetRateFilter:
    """Offset o and its rate r with their covariance; constant rate, wandering slowly.

    The model is that of any clock steering filter: o' = o + r·dt, r' = r, with white noise on both
    (Bar-Shalom et al., Estimation with Applications to Tracking and Navigation, ch. 6.2).
    """

    __slots__ = ("covariance", "offset", "offset_variance", "rate", "rate_variance")

    def __init__(
        self, offset: float, offset_variance: float, rate_deviation: float, age_s: float
    ) -> None:
        """Begin with an offset that held `age_s` seconds ago and an unknown rate around 0."""
        self.offset = offset
        self.rate = 0.0
        self.rate_variance = rate_deviation**2
        self.covariance = self.rate_variance * age_s
        self.offset_variance = offset_variance + self.covariance * age_s

    def predict(self, dt: float) -> None:
        """Move on by `dt` seconds."""
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
        """Take in a measured offset, `innovation` µs above the predicted, of variance `noise`."""
        total = self.offset_variance + noise
        gain, rate_gain = self.offset_variance / total, self.covariance / total
        self.offset += gain * innovation
        self.rate += rate_gain * innovation
        self.rate_variance -= rate_gain * self.covariance
        self.covariance *= noise / total
        self.offset_variance *= noise / total

    def move_to(self, offset: float, variance: float) -> None:
        """Begin a new offset after a step of the clock; its rate is what it was."""
        self.offset = offset
        self.offset_variance = variance
        self.covariance = 0.0
