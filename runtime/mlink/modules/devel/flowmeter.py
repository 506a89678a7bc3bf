"""The `flowmeter` module: counts the items of a stream and shows their rate."""

from __future__ import annotations

from typing import Any, Final

from mlink.module import Module
from mlink.modules.devel.catalog import FlowMeterSettings
from mlink.modules.devel.ticks import Ticks

_PERIOD_S: Final = 0.1
_SMOOTHING: Final = 0.35
"""Weight of the newest rate in the mean that is shown."""


class FlowMeterModule(Module[FlowMeterSettings]):
    """Counts items; ten times a second it shows total, rate, mean and peak."""

    _ticks: Ticks | None = None
    _total = 0
    _shown = 0
    _rate = 0.0
    _peak = 0.0

    def prepare(self) -> None:
        """Count what arrives."""
        self.context.inputs["data-in"].on_item = self._count

    def start(self) -> None:
        """Begin to show."""
        self._ticks = Ticks(self.context, round(_PERIOD_S * 1e9), self._show)

    def stop(self) -> None:
        """Report what was counted."""
        self.close()
        seconds = self.context.clock.now_usec() / 1e6
        self.context.report("items", self._total)
        self.context.report("rate_mean_hz", round(self._total / seconds, 2) if seconds > 0 else 0.0)
        self.context.report("rate_peak_hz", round(self._peak, 2))

    def close(self) -> None:
        """Show no more."""
        if self._ticks is not None:
            self._ticks.close()

    def _count(self, _item: Any) -> None:
        self._total += 1

    def _show(self, _number: int) -> None:
        rate = (self._total - self._shown) / _PERIOD_S
        self._shown = self._total
        self._rate += _SMOOTHING * (rate - self._rate)
        self._peak = max(self._peak, self._rate)
        seconds = self.context.clock.now_usec() / 1e6
        mean = self._total / seconds if seconds > 0 else 0.0
        lit = "●" if rate else "○"
        rates = f"{self._rate:.1f}/s, mean {mean:.1f}/s, peak {self._peak:.1f}/s"
        self.context.set_status(f"{lit} {self._total} items, {rates}")
