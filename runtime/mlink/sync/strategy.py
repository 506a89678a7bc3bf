"""What a synchroniser may do about a device's clock that walks away from the master timer."""

from __future__ import annotations

import enum


class TimeSyncStrategy(enum.IntFlag):
    """Flags; plain arithmetic works on them, as scripts do it."""

    NONE = 0
    SHIFT_TIMESTAMPS_FWD = 1
    """Times may be moved later."""
    SHIFT_TIMESTAMPS_BWD = 2
    """Times may be moved earlier."""
    ADJUST_CLOCK = 4
    """The device is told the correction and moves its clock itself."""
    WRITE_TSYNCFILE = 8
    """Pairs of device and master time are recorded for correction afterwards."""


SHIFT_BOTH = TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
"""What synchronisers do when nothing else is asked for."""
