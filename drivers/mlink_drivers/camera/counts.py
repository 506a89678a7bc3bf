"""Counts of a camera's frames by what happened to them."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class CaptureCounts:
    """Frames by what happened to them.

    The stream's count of sent items is `sent` + `lost` + `damaged` + `unsent`: the last three are
    gaps in it. A `disordered` frame is `lost` too, or a gap of its own if nothing shows it missing.
    """

    sent: int = 0
    stale: int = 0
    """Not sent: taken before the start."""
    disordered: int = 0
    """Not sent: stamped no later than the frame before."""
    repeated: int = 0
    """Not sent: the driver returned the previous frame again."""
    damaged: int = 0
    """Not sent: could not be decoded."""
    unsent: int = 0
    """Not sent: no shared memory was free."""
    lost: int = 0
    """Never received, by the source's frame numbers or by the intervals between frames."""
    inferred: int = 0
    """Of `lost`: shown by the intervals, beside numbers that are not complete."""
    estimated: int = 0
    """Sent (and counted there too) with the arrival time, since the source had no time for them."""
    lead_in: int = 0
    """Not sent: of the single pulses before the train of a trigger."""
    timeouts: int = 0
    """Calls of `grab` that returned nothing; no frames."""

    def troubles(self) -> dict[str, int]:
        """Return all counts but `sent` that are not zero, by name."""
        counts = {field.name: int(getattr(self, field.name)) for field in fields(self)}
        return {name: count for name, count in counts.items() if count and name != "sent"}
