"""The system clock beside CLOCK_MONOTONIC, and how wrong it may be (adjtimex(2))."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Final, NamedTuple

_UNSYNCHRONISED: Final = 5
"""Returned by adjtimex: TIME_ERROR."""
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    ]


class Reading(NamedTuple):
    """One look at both clocks."""

    offset_ns: int
    """System clock less CLOCK_MONOTONIC, ns."""
    error_usec: float
    """Time that the look has taken, µs."""


def read_clocks() -> Reading:
    """Return the best of a few looks at both clocks."""
    looks = []
    for _ in range(5):
        before = time.monotonic_ns()
        system = time.time_ns()
        after = time.monotonic_ns()
        looks.append(Reading(system - (before + after) // 2, (after - before) / 2000))
    return min(looks, key=lambda look: look.error_usec)


def clock_error_usec() -> float | None:
    """Return how wrong the system clock may be, in µs; None while nothing synchronises it."""
    found = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return None
    return float(found.maxerror) if 0 <= state < _UNSYNCHRONISED else None


def boot_id() -> str:
    """Return the id of this machine's boot; "" if it is not known."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
