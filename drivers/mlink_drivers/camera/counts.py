"""What became of the frames of a camera: every one is counted once."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class CaptureCounts:
    """What became of the frames; each is counted once."""

    sent: int = 0
    stale: int = 0
    """Taken before the start."""
    disordered: int = 0
    """Stamped no later than the frame before."""
    repeated: int = 0
    """The driver returned the previous frame again."""
    damaged: int = 0
    """Could not be decoded."""
    unsent: int = 0
    """No shared memory was free."""
    lost: int = 0
    """Missing before they reached us, by the source's numbers or by the intervals."""
    estimated: int = 0
    """Sent, but stamped by arrival since the source had no time for them."""
    timeouts: int = 0
    """Grabs that brought nothing; no frames."""

    def troubles(self) -> dict[str, int]:
        """Return the counts that are not zero, without `sent`."""
        counts = {field.name: int(getattr(self, field.name)) for field in fields(self)}
        return {name: count for name, count in counts.items() if count and name != "sent"}
