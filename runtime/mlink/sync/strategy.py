"""What a synchroniser may do about a device's clock that drifts from the master timer."""

from __future__ import annotations

from mlink.types import ScriptFlags


class TimeSyncStrategy(ScriptFlags):
    """Flags that can be combined with `|` and `+`."""

    NONE = 0
    SHIFT_TIMESTAMPS_FWD = 1
    """Times may be moved later."""
    SHIFT_TIMESTAMPS_BWD = 2
    """Times may be moved earlier."""
    ADJUST_CLOCK = 4
    """The correction is passed to the device, which adjusts its clock itself."""
    WRITE_TSYNCFILE = 8
    """Pairs of device and master time are recorded, for corrections after the run."""


SHIFT_BOTH = TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
"""The strategies of a synchroniser on which none were set."""
