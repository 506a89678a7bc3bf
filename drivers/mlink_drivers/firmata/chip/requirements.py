"""What an order of a script needs of the board's firmware; what it lacks is refused in words."""

from __future__ import annotations

from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.chip.extra import Move, Stepper, StopStepper
from mlink_drivers.firmata.chip.messages import Feature
from mlink_drivers.firmata.chip.orders import ChipOrders
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.wire.arrival import BITS_PER_BYTE
from mlink_drivers.firmata.wire.budget import WARN_SHARE

NO_FIRMWARE_REMEDY: Final = "Put mlink's firmware on the board: mlink flash DEVICE"
_COUNTER_BYTES: Final = 38
"""Length of a counter's report."""


class ChipRequirements:
    """Checks of orders against what the firmware of the board can do.

    Args:
        session: The session with the chip.
        orders: The orders that the chip has received.
    """

    def __init__(self, session: ChipSession, orders: ChipOrders) -> None:
        self._session = session
        self._orders = orders

    def require_edges(self, line: int) -> None:
        """Check that the chip timestamps a line's edges.

        Raises:
            DeviceError: The firmware has no clock, or the line no interrupt.
        """
        features = self._session.features
        if not self._session.keeps_time or features is None:
            raise DeviceError(
                f"edges of line {line} cannot be used: the board's firmware has no clock",
                remedy=NO_FIRMWARE_REMEDY,
            )
        if line not in features.edge_pins:
            known = ", ".join(map(str, sorted(features.edge_pins))) or "none"
            raise DeviceError(
                f"edges of line {line} cannot be used: it has no interrupt",
                remedy=f"Use one of the lines {known}.",
            )

    @property
    def has_firmware(self) -> bool:
        """Whether the board has mlink's firmware."""
        return self._session.features is not None

    @property
    def counters_warning(self) -> str:
        """A warning when the line is too slow for the rows of counters, else an empty string."""
        features, capacity = self._session.features, self._session.baud_rate / BITS_PER_BYTE
        orders = [order for _, order, _ in self._orders.counters.values()]
        wanted = sum(_COUNTER_BYTES * 1000 / order.period_msec for order in orders)
        if features is None or not features.highest_baud or wanted <= WARN_SHARE * capacity:
            return ""
        slowest = min(order.period_msec for order in orders) * wanted / (WARN_SHARE * capacity)
        return (
            f"the rows of counters need {wanted:.0f} bytes/s of a line with {capacity:.0f}: no"
            f" count is lost, but they come about every {slowest:.0f} ms. Set a longer period_msec,"
            " or a higher fast_baud_rate"
        )

    def require_counters(self, line: int) -> None:
        """Check that the firmware counts edges.

        Raises:
            DeviceError: It does not: it is another one, or older.
        """
        if not self._session.has(Feature.COUNTERS):
            raise DeviceError(
                f"line {line}: the board's firmware has no counters", remedy=NO_FIRMWARE_REMEDY
            )

    def require_steppers(self, order: Stepper | Move | StopStepper) -> None:
        """Check that the firmware moves steppers, and that the one of an order was set.

        Raises:
            DeviceError: It does not: it is another one, or older; or there is no such stepper.
        """
        if not self._session.has(Feature.STEPPERS):
            has_others = self._session.has(Feature.COUNTERS)
            raise DeviceError(
                f"stepper {order.index}: the board's firmware has no steppers",
                remedy="The Leonardo has no room for them: use an Uno, a Nano or a Mega. Present"
                " firmware: mlink flash DEVICE"
                if has_others
                else NO_FIRMWARE_REMEDY,
            )
        if not isinstance(order, Stepper) and order.index not in self._orders.steppers:
            raise DeviceError(
                f"stepper {order.index} is not set",
                remedy="Call ms.stepper(…) first, and again after a safe state or another use of"
                " its lines.",
            )
