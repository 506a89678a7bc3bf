"""A camera's own clock, as the part of the simulation that drives its strobe line."""

from __future__ import annotations

from mlink_hil.dut import Dut


class StrobeLine(Dut):
    """Drives `out` high for each exposure of a camera that runs freely.

    Args:
        rate_hz: Exposures per second.
        exposure_usec: How long each lasts.
        begin_usec: When the first one begins.
        active_low: Whether the line is low for an exposure.
    """

    pins = ("out",)

    def __init__(
        self, rate_hz: float, exposure_usec: int, begin_usec: float = 0.0, active_low: bool = False
    ) -> None:
        self._rate_hz, self._exposure_usec = rate_hz, exposure_usec
        self._begin_usec, self._rest = begin_usec, active_low
        self._count = 0

    def start(self) -> None:
        """Begin at rest."""
        self.set("out", self._rest)
        self.wake(at_usec=self._begin_usec)

    def advance(self, now_usec: float) -> None:  # noqa: ARG002
        """Expose, and come back for the next one."""
        self.set("out", not self._rest)
        self.set("out", self._rest, after_usec=self._exposure_usec)
        self._count += 1
        self.wake(at_usec=self._begin_usec + self._count * 1e6 / self._rate_hz)
