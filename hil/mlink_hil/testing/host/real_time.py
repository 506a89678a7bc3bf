"""Whether the virtual boards of a run kept real time while a test lasted.

A processor may be too slow to simulate its boards without any process waiting for it: then all that
the boards do is late. A simulation that is 20 ms behind skips the rest (its "slip"), and times
measured meanwhile are those of the host, not of what is tested.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlink.errors import DeviceError
from mlink_hil.control.messages import StatsReply
from mlink_hil.control.watcher import BoardLink


class RealTime:
    """Compares the slip of virtual boards with that at the creation of this object.

    Args:
        boards: Device → its link; empty on a real bench.
    """

    def __init__(self, boards: Mapping[str, BoardLink]) -> None:
        self._boards = boards
        self._before = self._ask()

    def slip_usec(self) -> float:
        """Return what all boards together gave up, in µs; 0 on a real bench."""
        return sum(self._slips().values())

    def lapse(self, least_usec: float = 0) -> str:
        """Describe which boards did not keep real time; "" when all did, and on a real bench.

        Args:
            least_usec: What they must have given up together, in µs.
        """
        slips = self._slips()
        if not slips or sum(slips.values()) < least_usec:
            return ""
        found = ", ".join(f"{name} gave up {usec / 1000:.1f} ms" for name, usec in slips.items())
        return f"\nbut this machine was too slow to simulate in real time: {found}"

    def _slips(self) -> dict[str, float]:
        slips = {
            name: now.slip_usec - self._before[name].slip_usec
            for name, now in self._ask().items()
            if name in self._before
        }
        return {name: usec for name, usec in slips.items() if usec > 0}

    def _ask(self) -> dict[str, StatsReply]:
        found = {}
        for name, link in self._boards.items():
            try:
                found[name] = link.stats()
            except DeviceError:
                continue  # unplugged
        return found
