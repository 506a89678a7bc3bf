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

import math
from functools import cached_property
from typing import Protocol


class Moment(float):
    """A simulated time in µs. A moment plus a delay is a moment, the difference of two a delay.

    So a time that is given in the place of a delay, as in `wake(now_usec + 1000)`, is an error and
    not a call at about twice the time.
    """

    def __add__(self, delay: float) -> Moment:
        """Return the moment that many µs later."""
        return Moment(float(self) + float(delay))

    __radd__ = __add__

    def __sub__(self, other: float) -> float:
        """Return the delay from another moment, or the moment that many µs before."""
        difference = float(self) - float(other)
        return difference if isinstance(other, Moment) else Moment(difference)


_ROUNDING_USEC = 0.01


class DutHost(Protocol):
    """What the simulator provides to a model: its pins, and simulated time.

    Tests of a model can implement it without a simulator.
    """

    def set(self, pin: str, level: bool | None, after_usec: float) -> None:
        """Drive a pin after a delay (µs), or release it (None)."""

    def level(self, pin: str) -> bool:
        """Return what a pin reads now."""

    def set_volts(self, pin: str, volts: float | None, after_usec: float) -> None:
        """Put a voltage on the analog lines that a pin is wired to, after a delay (µs)."""

    def wake(self, after_usec: float) -> None:
        """Call `advance` after a delay (µs)."""

    def now_usec(self) -> float:
        """Return the present."""

    def hold_sda(self, held: bool) -> None:
        """Hold the data line of the I2C bus low, or release it."""


class Dut:
    """Base class of models of devices under test.

    Time is simulated: µs since the device was switched on. It does not pass while your methods run.
    `on_edge` is called at the exact time of the edge, which is 20 µs (the delay of a wire) after
    the processor at the other end caused it. What you `set` then is on the line at that same time,
    or `after_usec` later. Your methods are called one at a time, in the order of time. Do not sleep
    in them, and do not read the real clock.

    Times are `Moment`s: `after_usec` is a delay, `at_usec` a time. One in the place of the other is
    an error, as are a delay below 0 and a time that has passed.

    Name your pins in `pins`; the bench wires them to lines: `wires = { light = "uno.4" }`. They are
    inputs until you `set` them. The part's `settings` are keyword arguments of `__init__`.
    """

    pins: tuple[str, ...] = ()
    host: DutHost
    """Set before `start` is called; `set`, `level` and `wake` use it."""

    def start(self) -> None:
        """Called once, at time 0: the device and the boards of the bench are switched on.

        Set the levels and voltages of your outputs here, and `wake` what shall happen by itself.
        Before it nothing is driven, and `__init__` cannot use pins. A reset of a board, or an
        unplugged cable, is none of this device: it goes on.
        """

    def on_edge(self, pin: str, level: bool, now_usec: float) -> None:
        """Called when something outside the device has changed the level of a pin.

        Args:
            pin: Its name in `pins`.
            level: The new level.
            now_usec: Simulated time, µs since the device was switched on.
        """

    def advance(self, now_usec: float) -> None:
        """Called at a time that `wake` asked for; `now_usec` is that time."""

    def set(
        self,
        pin: str,
        level: bool | None,
        after_usec: float = 0.0,
        *,
        at_usec: float | None = None,
    ) -> None:
        """Drive a pin, or release it, now or later.

        Args:
            pin: Its name in `pins`.
            level: True drives it high, False low, None releases it.
            after_usec: Delay until then, µs.
            at_usec: Simulated time of it instead, µs since the device was switched on.

        Raises:
            KeyError: There is no such pin.
            ValueError: The delay is a time, or below 0; or the time has passed.
        """
        self.host.set(pin, level, self._delay(after_usec, at_usec))

    def set_volts(
        self,
        pin: str,
        volts: float | None,
        after_usec: float = 0.0,
        *,
        at_usec: float | None = None,
    ) -> None:
        """Put a voltage on a pin that is wired to an analog line, now or later.

        Args:
            pin: Its name in `pins`.
            volts: 0 to 5 V; None releases it.
            after_usec: Delay until then, µs.
            at_usec: Simulated time of it instead, µs since the device was switched on.

        Raises:
            KeyError: There is no such pin.
            ValueError: The voltage is out of range, the pin is wired to no analog line, or a time
                is wrong as for `set`.
        """
        self.host.set_volts(pin, volts, self._delay(after_usec, at_usec))

    def level(self, pin: str) -> bool:
        """Return what a pin reads now; low when nothing drives it.

        Raises:
            KeyError: There is no such pin.
        """
        return self.host.level(pin)

    def wake(self, after_usec: float = 0.0, *, at_usec: float | None = None) -> None:
        """Have `advance` called later; each call of `wake` causes one.

        Args:
            after_usec: Delay until then, µs.
            at_usec: Simulated time of it instead, µs since the device was switched on.

        Raises:
            ValueError: A time is wrong as for `set`.
        """
        self.host.wake(self._delay(after_usec, at_usec))

    def _delay(self, after_usec: float, at_usec: float | None) -> float:
        """Return the delay that was asked for, µs."""
        if isinstance(after_usec, Moment):
            raise ValueError(  # noqa: TRY004 - a value that is misplaced, as the others here
                f"{after_usec:g} µs is a time, and after_usec a delay: write at_usec={after_usec:g}"
            )
        if at_usec is not None:
            if after_usec:
                raise ValueError("give either after_usec or at_usec")
            after_usec = float(at_usec) - self.host.now_usec()
        if not -_ROUNDING_USEC <= after_usec < math.inf:
            what = f"the delay {after_usec:g} µs" if at_usec is None else f"the time {at_usec:g} µs"
            raise ValueError(f"{what} cannot be: it is before the present, or no number")
        return max(0.0, after_usec)


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
