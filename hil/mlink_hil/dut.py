"""A device as a small Python class, for `[virtual.NAME] type = "model"`.

Write a class such as this one into a file beside the bench:

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

from functools import cached_property
from typing import Protocol


class DutHost(Protocol):
    """What the simulator provides to a model: its pins, and simulated time.

    Tests of a model can implement it without a simulator.
    """

    def set(self, pin: str, level: bool | None, after_usec: float) -> None:
        """Drive a pin after a delay (µs), or release it (None)."""

    def level(self, pin: str) -> bool:
        """Return what a pin reads now."""

    def wake(self, after_usec: float) -> None:
        """Call `advance` after a delay (µs)."""

    def hold_sda(self, held: bool) -> None:
        """Hold the data line of the I2C bus low, or release it."""


class Dut:
    """Base class of models of devices under test.

    Time is simulated: µs since the device was switched on. It does not pass while your methods run.
    `on_edge` is called at the exact time of the edge, which is 20 µs (the delay of a wire) after
    the processor at the other end caused it. What you `set` then is on the line at that same time,
    or `after_usec` later. Your methods are called one at a time, in the order of time. Do not sleep
    in them, and do not read the real clock.

    Name your pins in `pins`; the bench wires them to lines: `wires = { light = "uno.4" }`. They are
    inputs until you `set` them. The part's `settings` are keyword arguments of `__init__`.
    """

    pins: tuple[str, ...] = ()
    host: DutHost
    """Set before `start` is called; `set`, `level` and `wake` use it."""

    def start(self) -> None:
        """Called when the device is switched on; set your outputs here."""

    def on_edge(self, pin: str, level: bool, now_usec: float) -> None:
        """Called when something outside the device has changed the level of a pin.

        Args:
            pin: Its name in `pins`.
            level: The new level.
            now_usec: Simulated time, µs since the device was switched on.
        """

    def advance(self, now_usec: float) -> None:
        """Called at a time that `wake` asked for; `now_usec` is that time."""

    def set(self, pin: str, level: bool | None, after_usec: float = 0.0) -> None:
        """Drive a pin, or release it, now or later.

        Args:
            pin: Its name in `pins`.
            level: True drives it high, False low, None releases it.
            after_usec: Simulated time until then, µs.

        Raises:
            KeyError: There is no such pin.
        """
        self.host.set(pin, level, after_usec)

    def level(self, pin: str) -> bool:
        """Return what a pin reads now; low when nothing drives it.

        Raises:
            KeyError: There is no such pin.
        """
        return self.host.level(pin)

    def wake(self, after_usec: float) -> None:
        """Have `advance` called later; each call of `wake` causes one.

        Args:
            after_usec: Simulated time until then, µs.
        """
        self.host.wake(after_usec)


class I2cDevice(Dut):
    """Base class of models on a board's I2C bus: `i2c = "uno"` in the part's table.

    A device has registers. A write begins with the number of one; its further bytes go to
    `on_write`. A read begins at the last written register and gets what `on_read` returns. By
    default both use the bytes of `registers`. It may have pins as well, such as an alert line.

    Write a class such as this one:

        from mlink_hil.dut import I2cDevice

        class Thermometer(I2cDevice):
            address = 0x48

            def on_read(self, register, now_usec):
                return round((20 + now_usec / 1e6) * 256).to_bytes(2, "big")
    """

    address: int = 0
    """7 bits, 0x08 to 0x77; the part's key `address` replaces it."""
    register_bytes: int = 1
    """How many bytes of a write are the number of a register, high byte first; 0 to 2."""
    present: bool = True
    """Set it to False, and the device acknowledges its address no more."""

    @cached_property
    def registers(self) -> bytearray:
        """65,536 bytes, 0 at the start."""
        return bytearray(1 << 16)

    def hold_sda(self, held: bool) -> None:
        """Hold the data line low, which blocks the bus, or release it."""
        self.host.hold_sda(held)

    def on_write(self, register: int, data: bytes, now_usec: float) -> None:
        """Called at the end of each write.

        Args:
            register: The number that the write began with.
            data: The bytes after it; may be none.
            now_usec: Simulated time, µs since the device was switched on.
        """
        del now_usec
        for at, byte in enumerate(data, register):
            self.registers[at % len(self.registers)] = byte

    def on_read(self, register: int, now_usec: float) -> bytes:
        """Called at the begin of each read.

        Args:
            register: The number that was written last.
            now_usec: Simulated time, µs since the device was switched on.

        Returns:
            The bytes to send; behind their end the host reads 0xFF.
        """
        del now_usec
        return bytes(self.registers[register:])
