"""Second-order sections of the stages of a `signalfilter`, by SciPy."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.modules.signals.catalog import CUSTOM, FILTER_EXTRA, StageSettings

try:
    from scipy import signal
except ImportError as _error:
    raise ModuleError("the module signalfilter needs SciPy", remedy=FILTER_EXTRA) from _error

_RESPONSES: Final = ("lowpass", "highpass", "bandpass", "bandstop")


def sections(stages: list[StageSettings], rate_hz: float) -> NDArray[np.float64]:
    """Return the sections of all stages, one after the other; shape (sections, 6).

    Args:
        stages: The stages, at least one.
        rate_hz: Sample rate of the stream; 0 if it is unknown.

    Raises:
        ModuleError: A stage needs the sample rate, or has a frequency above half of it.
    """
    return np.vstack([_sections(stage, number, rate_hz) for number, stage in enumerate(stages, 1)])


def _sections(stage: StageSettings, number: int, rate_hz: float) -> NDArray[np.float64]:
    if stage.family == CUSTOM:
        given = np.array(stage.sos, np.float64).reshape(-1, 6)
        return given / given[:, 3:4]
    if not rate_hz > 0:
        raise ModuleError(
            f"stage {number} needs the sample rate, and the stream has no `sample_rate`",
            remedy="Set it in the source's metadata, or give the sections yourself (family 4).",
        )
    edges: Any = stage.edges
    if max(edges) >= rate_hz / 2:
        raise ModuleError(
            f"stage {number} has a frequency of {max(edges):g} Hz, which must be below half the "
            f"sample rate of {rate_hz:g} Hz",
            remedy="Lower freq1 or freq2, or sample faster.",
        )
    kind = _RESPONSES[stage.response]
    edges = edges[0] if len(edges) == 1 else edges
    match stage.family:
        case 0:
            found = signal.butter(stage.order, edges, kind, fs=rate_hz, output="sos")
        case 1:
            found = signal.cheby1(
                stage.order, stage.ripple_db, edges, kind, fs=rate_hz, output="sos"
            )
        case 2:
            found = signal.cheby2(
                stage.order, stage.stopband_db, edges, kind, fs=rate_hz, output="sos"
            )
        case _:
            found = signal.tf2sos(*signal.iirnotch(edges, stage.q_factor, fs=rate_hz))
    return np.asarray(found, np.float64)


def is_stable(found: NDArray[np.float64]) -> bool:
    """Return whether all poles are inside of the unit circle."""
    return bool(all(np.all(np.abs(np.roots(each[3:])) < 1) for each in found))


class Filter:
    """Filters blocks of samples, with a state for each channel that goes on from block to block.

    Args:
        found: The sections.
        channels: Number of channels.
    """

    def __init__(self, found: NDArray[np.float64], channels: int) -> None:
        self._sections = found
        self._state = np.zeros((len(found), 2, channels))
        self._last = np.zeros(channels)
        self.not_finite = 0
        """Samples that were no numbers: they stay so, and the filter holds the one before."""

    def __call__(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the filtered samples, of shape (N, channels)."""
        if not len(samples):
            return samples
        wrong = ~np.isfinite(samples)
        if count := int(np.count_nonzero(wrong)):
            self.not_finite += count
            samples = self._held(samples, wrong)
        self._last = samples[-1].copy()
        filtered, self._state = signal.sosfilt(self._sections, samples, axis=0, zi=self._state)
        filtered[wrong] = np.nan
        return np.asarray(filtered)

    def _held(self, samples: NDArray[np.float64], wrong: NDArray[Any]) -> NDArray[np.float64]:
        whole = np.vstack((self._last, samples))
        rows = np.arange(len(whole))[:, None]
        good = np.vstack((np.zeros_like(self._last, bool), wrong))
        newest = np.maximum.accumulate(np.where(good, 0, rows), axis=0)
        return np.asarray(np.take_along_axis(whole, newest, axis=0)[1:])
