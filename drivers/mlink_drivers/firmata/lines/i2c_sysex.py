"""I2C and raw sysex of DEVICE_SPECIFIC commands; keeps what a restarted board needs again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.i2c import ChipI2C
from mlink_drivers.firmata.extra import I2CConfig, I2CTransfer, RawSysex, ScanI2C
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.arrival import wire_time_ns
from mlink_drivers.firmata.wire.budget import ByteBudget, i2c_reply_bytes
from mlink_drivers.firmata.wire.protocol import I2CMode, PinMode

_FLASH: Final = "Put mlink's firmware on the board (not a Leonardo): mlink flash DEVICE"
_ANSWER_BYTES: Final = 6
"""Bytes of an answer of mlink's firmware in addition to those of standard Firmata."""
_KHZ: Final = range(31, 401)
_USUAL_KHZ: Final = 100
_OVERHEAD_NS: Final = 500_000
_BYTE_NS: Final = 50_000
"""What the firmware needs for a transfer, and for each of its bytes, besides the bits on the bus.

A read of 32 bytes at 100 kHz was measured to take 4.6 ms.
"""

_Reading = tuple[int, int | None]
"""(address, register) of a continuous read."""


class I2CAndSysex:
    """Sends I2C requests and sysex messages; called in the module's main thread.

    Args:
        session: The connection to the board.
        send: Sends encoded messages; a lost board is not an error.
        budget: Counts continuous reads.
        check_budget: Checks the budget after a read was added.
        chip: Transfers by mlink's firmware; None to use only the messages of standard Firmata.
    """

    def __init__(
        self,
        session: Session,
        send: Callable[[bytes], None],
        budget: ByteBudget,
        check_budget: Callable[[], None],
        chip: ChipI2C | None = None,
    ) -> None:
        self._session = session
        self._send = send
        self._budget = budget
        self._check_budget = check_budget
        self._chip = chip
        self._config: bytes = b""
        self._khz = _USUAL_KHZ
        self._continuous: dict[_Reading, bytes] = {}

    @property
    def _by_chip(self) -> ChipI2C | None:
        return self._chip if self._chip is not None and self._chip.available else None

    @property
    def is_on(self) -> bool:
        """Whether an order has switched I2C on."""
        return bool(self._config)

    def execute(self, order: RawSysex | I2CConfig | I2CTransfer | ScanI2C) -> None:
        """Send an order.

        Raises:
            DeviceError: The board has no I2C or cannot do this, or a continuous read does not fit
                on the line.
        """
        if isinstance(order, RawSysex):
            self._send(encode.sysex(order.id, order.payload))
            return
        self._require_i2c()
        if isinstance(order, I2CConfig):
            self._config = encode.i2c_config(order.delay_usec) + self._speed(order.khz)
            self._khz = order.khz or _USUAL_KHZ
            self._send(self._config)
            return
        begin = b""
        if not self._config:  # the firmware ignores requests before the configuration
            begin = self._config = encode.i2c_config()
        if isinstance(order, ScanI2C):
            if self._by_chip is None:
                raise self._lacks("scan of the I2C bus (StandardFirmata may hang in one)")
            self._send(begin)
            self._by_chip.scan()
            return
        self._send(begin + self._transfer(order))
        self._session.occupy(self._duration_ns(order))

    def replay(self) -> bytes:
        """Return the messages that restore I2C and its continuous reads on a restarted board."""
        if self._by_chip is not None:
            return self._config + self._by_chip.replay()
        return self._config + b"".join(self._continuous.values())

    def _speed(self, khz: int) -> bytes:
        if not khz:
            return b""
        if khz not in _KHZ:
            raise DeviceError(
                f"an I2C bus of {khz} kHz is not possible",
                remedy=f"Give {_KHZ[0]} to {_KHZ[-1]} kHz; usual are 100 and 400.",
            )
        if self._by_chip is None:
            if khz == _USUAL_KHZ:
                return b""
            raise self._lacks(f"I2C of {khz} kHz: it is 100 kHz there")
        return chip_encode.i2c_speed(khz)

    def _transfer(self, order: I2CTransfer) -> bytes:
        key = (order.address, order.register)
        if order.mode is I2CMode.STOP_READING:
            for known in [k for k in self._continuous if k[0] == order.address]:
                if order.register is None or known == key:
                    del self._continuous[known]
                    self._budget.remove(("i2c", *known))
        elif order.mode is I2CMode.READ_CONTINUOUSLY:
            more = _ANSWER_BYTES if self._by_chip is not None else 0
            self._budget.add(("i2c", *key), i2c_reply_bytes(order.count) + more)
            self._check_budget()
            self._continuous[key] = b""
        if self._by_chip is not None:
            return self._by_chip.transfer(order)
        return self._standard(order, key)

    def _duration_ns(self, order: I2CTransfer) -> int:
        """Return for how long the board makes a transfer, and reads no other message."""
        if order.mode is I2CMode.STOP_READING:
            return 0
        sent = 1 + len(order.data or order.register_data)
        received = 1 + order.count if order.count else 0
        bus_ns = _OVERHEAD_NS + (sent + received) * (_BYTE_NS + 9 * 1_000_000 // self._khz)
        if (rate := self._session.transport.baud_rate) <= 0:
            return bus_ns
        # It waits until the answer before has left.
        return max(bus_ns, wire_time_ns(i2c_reply_bytes(order.count) + _ANSWER_BYTES, rate))

    def _standard(self, order: I2CTransfer, key: _Reading) -> bytes:
        """Return the messages of standard Firmata, whose registers have one byte."""
        register = order.register_data
        if order.mode is I2CMode.WRITE:
            return encode.i2c_request(order.address, order.mode, order.data)
        if order.mode is I2CMode.STOP_READING:
            return encode.i2c_request(order.address, order.mode, register[-1:])
        before = b""
        if len(register) > 1:
            if order.repeated_start or order.mode is I2CMode.READ_CONTINUOUSLY:
                what = "a repeated start" if order.repeated_start else "repeated reads"
                raise self._lacks(f"{what} with an I2C register of 16 bits")
            before = encode.i2c_request(order.address, I2CMode.WRITE, register)
            register = b""
        restart = register and order.repeated_start is not False
        data = register + bytes((order.count,))
        request = encode.i2c_request(order.address, order.mode, data, restart=bool(restart))
        if order.mode is I2CMode.READ_CONTINUOUSLY:
            self._continuous[key] = request
        return before + request

    def _lacks(self, what: str) -> DeviceError:
        return DeviceError(f"{self._session.description} has no {what}", remedy=_FLASH)

    def _require_i2c(self) -> None:
        board = self._session.description
        if not board.layout.pins_with(PinMode.I2C):
            raise DeviceError(
                f"{board} has no pin with I2C",
                remedy="Upload a firmware with I2C (StandardFirmata has it) or use another board.",
            )
