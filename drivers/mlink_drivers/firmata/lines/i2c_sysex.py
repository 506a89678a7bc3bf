"""I2C and raw sysex of DEVICE_SPECIFIC commands; keeps what a restarted board needs again."""

from __future__ import annotations

from collections.abc import Callable

from mlink.errors import DeviceError
from mlink_drivers.firmata.extra import I2CConfig, I2CTransfer, RawSysex
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.budget import ByteBudget, i2c_reply_bytes
from mlink_drivers.firmata.wire.protocol import I2CMode, PinMode

_Reading = tuple[int, int | None]
"""(address, register) of a continuous read."""


class I2CAndSysex:
    """Sends I2C requests and sysex messages; called in the module's main thread.

    Args:
        session: The connection to the board.
        send: Sends encoded messages; a lost board is not an error.
        budget: Counts continuous reads.
        check_budget: Checks the budget after a read was added.
    """

    def __init__(
        self,
        session: Session,
        send: Callable[[bytes], None],
        budget: ByteBudget,
        check_budget: Callable[[], None],
    ) -> None:
        self._session = session
        self._send = send
        self._budget = budget
        self._check_budget = check_budget
        self._config: bytes = b""
        self._continuous: dict[_Reading, bytes] = {}

    def execute(self, order: RawSysex | I2CConfig | I2CTransfer) -> None:
        """Send an order.

        Raises:
            DeviceError: The board has no I2C, or a continuous read does not fit on the line.
        """
        if isinstance(order, RawSysex):
            self._send(encode.sysex(order.id, order.payload))
            return
        self._require_i2c()
        if isinstance(order, I2CConfig):
            self._config = encode.i2c_config(order.delay_usec)
            self._send(self._config)
            return
        begin = b""
        if not self._config:  # the firmware ignores requests before the configuration
            begin = self._config = encode.i2c_config()
        self._send(begin + self._transfer(order))

    def replay(self) -> bytes:
        """Return the messages that restore I2C and its continuous reads on a restarted board."""
        return self._config + b"".join(self._continuous.values())

    def _transfer(self, order: I2CTransfer) -> bytes:
        register = b"" if order.register is None else bytes((order.register,))
        key = (order.address, order.register)
        if order.mode is I2CMode.WRITE:
            return encode.i2c_request(order.address, order.mode, order.data)
        if order.mode is I2CMode.STOP_READING:
            for known in [k for k in self._continuous if k[0] == order.address]:
                if order.register is None or known == key:
                    del self._continuous[known]
                    self._budget.remove(("i2c", *known))
            return encode.i2c_request(order.address, order.mode, register)
        data = register + bytes((order.count,))
        request = encode.i2c_request(order.address, order.mode, data)
        if order.mode is I2CMode.READ_CONTINUOUSLY:
            self._budget.add(("i2c", *key), i2c_reply_bytes(order.count))
            self._check_budget()
            self._continuous[key] = request
        return request

    def _require_i2c(self) -> None:
        board = self._session.description
        if not board.layout.pins_with(PinMode.I2C):
            raise DeviceError(
                f"{board} has no pin with I2C",
                remedy="Upload a firmware with I2C (StandardFirmata has it) or use another board.",
            )
