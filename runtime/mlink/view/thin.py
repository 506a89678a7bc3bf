"""As many points as a page can show, of any number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def thinned(
    times: NDArray[Any], data: NDArray[np.float64], most: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return at most about `most` points: of each part its least, its greatest and its last value.

    Args:
        times: Time of each row, in order; shape (rows,).
        data: Values; shape (rows, channels). NaN where a channel has no value.
        most: Points that are wanted.
    """
    rows = len(times)
    if rows <= most:
        return times, data
    step = -(-rows // max(1, most // 3))
    starts = np.arange(0, rows, step)
    lasts = np.minimum(starts + step, rows) - 1
    found = np.empty((len(starts), 3, data.shape[1]))
    found[:, 0] = np.fmin.reduceat(data, starts)
    found[:, 1] = np.fmax.reduceat(data, starts)
    found[:, 2] = data[lasts]
    return (
        np.stack([times[starts], times[(starts + lasts) // 2], times[lasts]], axis=1).reshape(-1),
        found.reshape(-1, data.shape[1]),
    )


def plain(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers as JSON has them: what is not finite is None."""
    return [value if np.isfinite(value) else None for value in values.tolist()]
