"""Identifies the board on a serial port: queries only, no reset, no write to a pin.

Opening a port resets many boards (an Uno by its DTR line), and no program can avoid that on Linux.
So a port is probed only on request, and only when no other program has it open.
"""

from __future__ import annotations

import select
import time
from typing import Final

import msgspec

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, Transport
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.handshake import REPEAT_S, Handshake
from mlink_drivers.firmata.wire.protocol import PinMode

PROBE_TIMEOUT_S: Final = 3.5
"""Longer than an Uno's bootloader (up to 2 s) and its answer (0.3 s)."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The board that answered on a port, or why none did (`reason` and `remedy`)."""

    address: str
    firmware: str = ""
    version: str = ""
    protocol: str = ""
    pins: int = 0
    analog_inputs: int = 0
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        return (
            f"{self.firmware} {self.version} (Firmata {self.protocol}),"
            f" {self.pins} pins, {self.analog_inputs} of them analog inputs"
        )


def probe(
    address: str, baud_rate: int = DEFAULT_BAUD_RATE, timeout_s: float = PROBE_TIMEOUT_S
) -> ProbeResult:
    """Identify the board on a port; a failure is in the result, not raised.

    Args:
        address: A serial port or URL, as a device of a bench.
        baud_rate: Bits per second on the wire.
        timeout_s: How long to wait for complete answers.
    """
    try:
        transport = open_transport(address, baud_rate)
        transport.open()
    except DeviceError as error:
        return ProbeResult(address=address, reason=error.message, remedy=error.remedy)
    try:
        return _ask(transport, timeout_s)
    except DeviceError as error:
        return ProbeResult(address=address, reason=error.message, remedy=error.remedy)
    finally:
        transport.close()


def ask_firmware(address: str) -> str:
    """Return the name of the firmware on a port.

    Raises:
        DeviceError: The port cannot be opened, or nothing on it answers in Firmata.
    """
    result = probe(address)
    if result.reason:
        raise DeviceError(result.reason, remedy=result.remedy)
    return result.firmware


def _ask(transport: Transport, timeout_s: float) -> ProbeResult:
    handshake, decoder = Handshake(transport.address), Decoder()
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    deadline = time.monotonic() + timeout_s
    while not handshake.complete:
        now = time.monotonic()
        if now >= deadline:
            raise handshake.failure(timeout_s, transport.baud_rate)
        identified = handshake.identified
        request = encode.protocol_version_query() + encode.firmware_query()
        transport.write(handshake.request() if identified else request)
        repeat_at = min(now + REPEAT_S, deadline)
        while not handshake.complete and handshake.identified == identified:
            remaining_s = repeat_at - time.monotonic()
            if remaining_s <= 0:
                break
            if poller.poll(int(remaining_s * 1000) + 1):
                data = transport.read()
                handshake.keep(data)
                for message in decoder.feed(data):
                    handshake.take(message)
    found = handshake.description()
    return ProbeResult(
        address=transport.address,
        firmware=found.firmware_name,
        version="{}.{}".format(*found.firmware_version),
        protocol="{}.{}".format(*found.protocol_version),
        pins=found.layout.pin_count,
        analog_inputs=len(found.layout.pins_with(PinMode.ANALOG)),
    )
