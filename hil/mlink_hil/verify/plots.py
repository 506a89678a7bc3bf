"""Small PNG plots, drawn with OpenCV: a histogram, and values over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink_drivers.camera.opencv import cv2
from mlink_hil.verify.timing import Samples

_SIZE = (800, 400)
_LEFT, _TOP, _RIGHT, _BOTTOM = 100, 40, 20, 40
_INK, _BAR, _GRID = (40, 40, 40), (176, 111, 42), (225, 225, 225)
_BINS = 40


def write_plots(folder: Path, samples: Samples) -> list[Path]:
    """Write a histogram and, where there is a course of time, a plot over time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in samples.name)
    paths = [folder / f"{name}-histogram.png"]
    cv2.imwrite(str(paths[0]), draw_histogram(samples))
    if len(set(samples.times_usec)) > 1:
        paths.append(folder / f"{name}-over-time.png")
        cv2.imwrite(str(paths[1]), draw_course(samples))
    return paths


def draw_histogram(samples: Samples) -> NDArray[np.uint8]:
    """Draw how often which value came."""
    image = _paper(f"{samples.name}: {len(samples.values)} values")
    counts, limits = np.histogram(samples.values, _BINS)
    width, height = _area()
    for number, count in enumerate(counts):
        x0 = _LEFT + number * width // _BINS
        x1 = _LEFT + (number + 1) * width // _BINS - 1
        top = _TOP + height - int(count) * height // max(int(counts.max()), 1)
        cv2.rectangle(image, (x0, top), (x1, _TOP + height), _BAR, cv2.FILLED)
    _labels(image, (f"{limits[0]:.0f} us", f"{limits[-1]:.0f} us"), ("0", str(counts.max())))
    return image


def draw_course(samples: Samples) -> NDArray[np.uint8]:
    """Draw the values over time."""
    image = _paper(f"{samples.name} over time")
    times, values = np.array(samples.times_usec, float), np.array(samples.values, float)
    width, height = _area()
    span = max(float(np.ptp(times)), 1.0), max(float(np.ptp(values)), 1.0)
    xs = _LEFT + (times - times.min()) / span[0] * width
    ys = _TOP + height - (values - values.min()) / span[1] * height
    for x, y in zip(xs, ys, strict=True):
        cv2.circle(image, (round(x), round(y)), 2, _BAR, cv2.FILLED, cv2.LINE_AA)
    across = (f"{times.min() / 1e6:.1f} s", f"{times.max() / 1e6:.1f} s")
    _labels(image, across, (f"{values.min():.0f} us", f"{values.max():.0f} us"))
    return image


def _area() -> tuple[int, int]:
    return _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM


def _paper(title: str) -> NDArray[np.uint8]:
    image = np.full((_SIZE[1], _SIZE[0], 3), 255, np.uint8)
    width, height = _area()
    cv2.rectangle(image, (_LEFT, _TOP), (_LEFT + width, _TOP + height), _GRID, 1)
    _text(image, title, (_LEFT, _TOP - 14), 0.55)
    return image


def _labels(image: NDArray[Any], across: tuple[str, str], up: tuple[str, str]) -> None:
    width, height = _area()
    _text(image, across[0], (_LEFT, _TOP + height + 20), 0.45)
    _text_to(image, across[1], (_LEFT + width, _TOP + height + 20))
    _text_to(image, up[0], (_LEFT - 6, _TOP + height))
    _text_to(image, up[1], (_LEFT - 6, _TOP + 12))


def _text_to(image: NDArray[Any], text: str, end: tuple[int, int]) -> None:
    """Write a label that ends at a place."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    _text(image, text, (max(end[0] - width, 0), end[1]), 0.45)


def _text(image: NDArray[Any], text: str, place: tuple[int, int], scale: float) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
