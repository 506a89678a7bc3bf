"""Asks, politely, who is on a serial port: two queries, no reset, nothing is written to a pin.

Opening a port resets many boards (an Uno by its DTR line), which no program can avoid on Linux;
so only ports that nobody holds are asked, and only when somebody wants to know.
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
"""An Uno's bootloader takes up to 2 s, and its answer 0.3 s."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered on a port, or why nobody did (`reason`)."""

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
    """Return who answers on a port within `timeout_s`; never raises for what a port can do."""
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
    """Return the name of the firmware on a port; DeviceError when none answers in Firmata."""
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
                handshake.hear(data)
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
