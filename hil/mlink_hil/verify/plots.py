"""Small PNG plots of a timing measurement: a histogram, and values over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlink.opencv import cv2
from mlink.recording.plot.canvas import EVENT, FAINT, Picture, canvas, text_width, write
from mlink_hil.verify.timing import Samples

_WIDTH, _HEIGHT = 800, 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 100, 40, 20, 40
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_BASE = _TOP + _PLOT_HEIGHT
_TITLE_SIZE, _LABEL_SIZE = 0.55, 0.45
_BINS = 40


def write_plots(folder: Path, samples: Samples) -> list[Path]:
    """Write a histogram and, where values have different times, a plot over time.

    Returns:
        The files written, named after the measurement.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in samples.name)
    paths = [folder / f"{name}-histogram.png"]
    cv2.imwrite(str(paths[0]), draw_histogram(samples))
    if len(set(samples.times_usec)) > 1:
        paths.append(folder / f"{name}-over-time.png")
        cv2.imwrite(str(paths[1]), draw_over_time(samples))
    return paths


def draw_histogram(samples: Samples) -> Picture:
    """Draw how often each range of values occurred, in 40 bins."""
    image = _frame(f"{samples.name}: {len(samples.values)} values")
    counts, limits = np.histogram(samples.values, _BINS)
    for number, count in enumerate(counts):
        x0 = _LEFT + number * _PLOT_WIDTH // _BINS
        x1 = _LEFT + (number + 1) * _PLOT_WIDTH // _BINS - 1
        top = _BASE - int(count) * _PLOT_HEIGHT // max(int(counts.max()), 1)
        cv2.rectangle(image, (x0, top), (x1, _BASE), EVENT, cv2.FILLED)
    _labels(image, (f"{limits[0]:.0f} µs", f"{limits[-1]:.0f} µs"), ("0", str(counts.max())))
    return image


def draw_over_time(samples: Samples) -> Picture:
    """Draw each value at its master time.

    The axes reach from the lowest to the highest time and value.
    """
    image = _frame(f"{samples.name} over time")
    times, values = np.array(samples.times_usec, float), np.array(samples.values, float)
    span = max(float(np.ptp(times)), 1.0), max(float(np.ptp(values)), 1.0)
    xs = _LEFT + (times - times.min()) / span[0] * _PLOT_WIDTH
    ys = _BASE - (values - values.min()) / span[1] * _PLOT_HEIGHT
    for x, y in zip(xs, ys, strict=True):
        cv2.circle(image, (round(x), round(y)), 2, EVENT, cv2.FILLED, cv2.LINE_AA)
    across = (f"{times.min() / 1e6:.1f} s", f"{times.max() / 1e6:.1f} s")
    _labels(image, across, (f"{values.min():.0f} µs", f"{values.max():.0f} µs"))
    return image


def _frame(title: str) -> Picture:
    image = canvas(_HEIGHT, _WIDTH)
    cv2.rectangle(image, (_LEFT, _TOP), (_LEFT + _PLOT_WIDTH, _BASE), FAINT, 1)
    write(image, title, _TOP - 14, _LEFT, size=_TITLE_SIZE)
    return image


def _labels(image: Picture, across: tuple[str, str], up: tuple[str, str]) -> None:
    """Write the ends of both axes, each as (lowest, highest)."""
    write(image, across[0], _BASE + 20, _LEFT, size=_LABEL_SIZE)
    _write_right(image, across[1], _BASE + 20, _LEFT + _PLOT_WIDTH)
    _write_right(image, up[0], _BASE, _LEFT - 6)
    _write_right(image, up[1], _TOP + 12, _LEFT - 6)


def _write_right(image: Picture, text: str, y: int, right: int) -> None:
    write(image, text, y, max(right - text_width(text, _LABEL_SIZE), 0), size=_LABEL_SIZE)
