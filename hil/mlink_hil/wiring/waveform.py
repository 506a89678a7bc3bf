"""Reads the file of a sensor's waveform."""

from __future__ import annotations

import math
from pathlib import Path

from mlink.errors import DeviceError

_MAX_ROWS = 1_000_000


def read_waveform(name: str, path: Path) -> list[tuple[float, float]]:
    """Return the points of a waveform as (seconds, volts), in the order of time.

    The file has two columns, separated by commas, semicolons or spaces. A first row with names,
    empty rows and rows that begin with "#" are skipped.

    Args:
        name: The sensor's name in the `[virtual]` table, for messages.
        path: The file.

    Raises:
        DeviceError: The file cannot be read, a row is not two numbers, the time goes
            back, or there are too many rows.
    """
    points: list[tuple[float, float]] = []
    where = f"[virtual.{name}] file: {path}"
    try:
        rows = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{where} cannot be read: {error}") from error
    if len(rows) > _MAX_ROWS:
        raise DeviceError(
            f"{where} has {len(rows)} lines; a waveform may have {_MAX_ROWS}",
            remedy="Sample the waveform more coarsely, or cut it.",
        )
    for number, row in enumerate(rows, start=1):
        cells = row.replace(";", " ").replace(",", " ").split()
        if not cells or row.startswith("#"):
            continue
        try:
            sec, volts = (float(cell) for cell in cells)
        except ValueError as error:
            if number == 1:
                continue  # names of columns
            raise DeviceError(
                f"{where}, line {number} is not two numbers",
                remedy="Write seconds and volts, one pair per line.",
            ) from error
        if not (math.isfinite(sec) and math.isfinite(volts)):
            raise DeviceError(
                f"{where}, line {number}: time and voltage must be finite",
                remedy="Remove the line, or write the number.",
            )
        if points and sec <= points[-1][0]:
            raise DeviceError(
                f"{where}, line {number}: {sec:g} s is not later than the line before",
                remedy="Sort the lines by time, without repeating one.",
            )
        points.append((sec, volts))
    if not points:
        raise DeviceError(f"{where} holds no points", remedy="Write at least one pair of numbers.")
    return points
