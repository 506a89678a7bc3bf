"""OffsetRateFilter: agrees with the same model written in matrices."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlink.sync.kalman import OFFSET_WANDER, RATE_WANDER, OffsetRateFilter


class MatrixFilter:
    """State (offset, rate), with white noise on both, by the textbook's matrices."""

    def __init__(self, offset: float, variance: float, rate_deviation: float, age: float) -> None:
        self.state = np.array([offset, 0.0])
        at_measurement = np.diag([variance, rate_deviation**2])
        self.covariance = self.transition(age) @ at_measurement @ self.transition(age).T

    @staticmethod
    def transition(dt: float) -> np.ndarray:
        return np.array([[1.0, dt], [0.0, 1.0]])

    def predict(self, dt: float) -> None:
        move = self.transition(dt)
        noise = RATE_WANDER * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        noise[0, 0] += OFFSET_WANDER * dt
        self.state = move @ self.state
        self.covariance = move @ self.covariance @ move.T + noise

    def update(self, innovation: float, noise: float) -> None:
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + noise)
        self.state = self.state + gain * innovation
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])


def test_it_agrees_with_the_matrices() -> None:
    ours = OffsetRateFilter(5.0, 30.0, 100.0, 0.7)
    theirs = MatrixFilter(5.0, 30.0, 100.0, 0.7)
    rng = random.Random(1)
    for _ in range(200):
        dt, innovation, noise = rng.uniform(0.01, 3), rng.gauss(0, 20), rng.uniform(1, 500)
        ours.predict(dt)
        theirs.predict(dt)
        ours.update(innovation, noise)
        theirs.update(innovation, noise)
        assert [ours.offset, ours.rate] == pytest.approx(theirs.state)
        assert [
            [ours.offset_variance, ours.covariance],
            [ours.covariance, ours.rate_variance],
        ] == pytest.approx(theirs.covariance)


def test_a_step_keeps_the_rate_and_forgets_the_covariance() -> None:
    state = OffsetRateFilter(5.0, 30.0, 100.0, 0.7)
    state.predict(1.0)
    state.update(50.0, 10.0)
    rate, rate_variance = state.rate, state.rate_variance
    state.move_to(1000.0, 4.0)
    assert (state.offset, state.offset_variance, state.covariance) == (1000.0, 4.0, 0.0)
    assert (state.rate, state.rate_variance) == (rate, rate_variance)
