"""A device under test as a small Python class, for `[virtual.NAME] type = "model"`.

from mlink_hil.dut import Dut

class Lamp(Dut):
    '''Shines for two seconds after each press.'''

    pins = ("button", "light")

    def on_edge(self, pin, level, now_usec):
        if pin == "button" and not level:
            self.set("light", True)
            self.wake(2_000_000)

    def advance(self, now_usec):
        self.set("light", False)
"""

from __future__ import annotations

from typing import Protocol


class DutHost(Protocol):
    """What stands behind a model: its pins, and simulated time."""

    def set(self, pin: str, level: bool | None, after_usec: float) -> None:
        """Drive a pin, or let it go."""

    def level(self, pin: str) -> bool:
        """Read a pin."""

    def wake(self, after_usec: float) -> None:
        """Call `advance` then."""


class Dut:
    """Base of models of devices under test: what you can rely on.

    Time is simulated, in µs since the device was switched on; it stands still while your methods
    run, and is exact: an `on_edge` comes at the moment of the edge (one wire's length, 20 µs, after
    the processor that made it), and what you `set` then is on the line at that same moment, or
    `after_usec` later. Your methods are called one at a time, in the order of time; you may not
    sleep, nor look at the real clock.

    Name your pins in `pins`; the bench wires them to lines: `wires = { light = "uno.4" }`. They are
    inputs until you `set` them. Settings of the bench come as keyword arguments to `__init__`.
    """

    pins: tuple[str, ...] = ()
    host: DutHost
    """Given before `start`; `set`, `level` and `wake` use it."""

    def start(self) -> None:
        """Power is on: set your outputs."""

    def on_edge(self, pin: str, level: bool, now_usec: float) -> None:
        """Called when a pin's level has changed by something else than yourself."""

    def advance(self, now_usec: float) -> None:
        """Called at a moment that you asked for by `wake`."""

    def set(self, pin: str, level: bool | None, after_usec: float = 0.0) -> None:
        """Drive a pin high or low, or let it go (None), now or later."""
        self.host.set(pin, level, after_usec)

    def level(self, pin: str) -> bool:
        """Return what a pin reads now; one that nothing drives reads low."""
        return self.host.level(pin)

    def wake(self, after_usec: float) -> None:
        """Let `advance` be called so much later; several calls ask for several."""
        self.host.wake(after_usec)
