"""Identifies the board on a serial port: queries only, no reset; writes to no pin but for I2C.

Opening a port resets many boards (an Uno by its DTR line), and no program can avoid that on Linux.
So a port is probed only on request, and only when no other program has it open.
"""

from __future__ import annotations

import select
import time
from typing import Final

import msgspec

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.i2c_scan import ANSWER_S, in_words, scan_i2c
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, DeviceLostError, Transport
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.handshake import BAUD_RATES, REPEAT_S, Handshake
from mlink_drivers.firmata.wire.protocol import (
    Firmware,
    Message,
    PinMode,
    PinState,
    ProtocolVersion,
)

PROBE_TIMEOUT_S: Final = 3.5
"""Longer than an Uno's bootloader (up to 2 s) and its answer (0.3 s)."""
_OURS: Final = "mlink_firmata"
"""How the name of mlink's firmware begins."""
OTHER_RATE_S: Final = 1.5
"""For each further baud rate, while no answer comes: the bootloader has ended by then. Three
queries, of which the first can be lost in what the board took for the start of a message."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The board that answered on a port, or why none did (`reason` and `remedy`)."""

    address: str
    firmware: str = ""
    version: str = ""
    protocol: str = ""
    baud_rate: int = DEFAULT_BAUD_RATE
    """Rate at which the board has answered."""
    pins: int = 0
    analog_inputs: int = 0
    i2c: list[int] | None = None
    """Addresses of the devices on its I2C bus; None when it was not scanned."""
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        other_rate = self.baud_rate != DEFAULT_BAUD_RATE
        return (
            f"{self.firmware or 'unknown firmware'} {self.version} (Firmata {self.protocol}),"
            f" {self.pins} pins, {self.analog_inputs} of them analog inputs"
            + (f", at {self.baud_rate} baud" if other_rate else "")
            + (f", {in_words(self.i2c)}" if self.i2c is not None else "")
        )


def probe_with_i2c(address: str) -> ProbeResult:
    """Identify the board on a port as `probe`, and scan the I2C bus of one with mlink's firmware.

    Other firmwares may hang in a scan, so they are only identified.
    """
    return probe(address, scans_i2c=True)


def probe(
    address: str,
    baud_rate: int = DEFAULT_BAUD_RATE,
    timeout_s: float = PROBE_TIMEOUT_S,
    *,
    scans_i2c: bool = False,
) -> ProbeResult:
    """Identify the board on a port; a failure is in the result, not raised.

    Args:
        address: A serial port or URL, as a device of a bench.
        baud_rate: Bits per second to begin with; then follow the other rates that firmwares use.
        timeout_s: How long to wait for complete answers at a rate; at the further rates at most
            `OTHER_RATE_S` for the first of them.
        scans_i2c: Whether to scan the I2C bus of a board with mlink's firmware, which makes its
            pins SDA and SCL those of I2C.
    """
    try:
        transport = open_transport(address, baud_rate)
        transport.open()
    except DeviceError as error:
        return ProbeResult(address=address, reason=error.message, remedy=error.remedy)
    try:
        result = _try_rates(transport, timeout_s)
        if scans_i2c and result.firmware.startswith(_OURS):
            found = scan_i2c(lambda data: _exchange(transport, data))
            result = msgspec.structs.replace(result, i2c=found)
        return result
    except DeviceError as error:
        return ProbeResult(address=address, reason=error.message, remedy=error.remedy)
    finally:
        transport.close()


def _exchange(transport: Transport, data: bytes) -> list[Message] | None:
    """Send messages that end with a pin state query; return what comes until its answer."""
    decoder, messages = Decoder(), []
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    transport.write(data)
    deadline = time.monotonic() + ANSWER_S
    while (remaining_s := deadline - time.monotonic()) > 0:
        if poller.poll(int(remaining_s * 1000) + 1):
            messages += decoder.feed(transport.read())
            if any(isinstance(message, PinState) for message in messages):
                return messages
    return None


class FirmwareQueries:
    """Queries boards for the names of their firmwares, and keeps the rates at which they answered.

    Args:
        baud_rate: The rate that is tried first.
    """

    def __init__(self, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        self._first = baud_rate
        self._rates: dict[str, int] = {}

    def __call__(self, address: str) -> str:
        """Return the name of the firmware on a port.

        Raises:
            DeviceError: The port cannot be opened, or nothing on it answers in Firmata.
        """
        result = probe(address, self._first)
        if result.reason:
            raise DeviceError(result.reason, remedy=result.remedy)
        self._rates[address] = result.baud_rate
        return result.firmware

    def baud_rate(self, address: str) -> int:
        """Return the rate at which a board answered; the first one if it was not queried."""
        return self._rates.get(address, self._first)


def _try_rates(transport: Transport, timeout_s: float) -> ProbeResult:
    """Query at each rate in turn; DeviceError when no board answers completely at any."""
    rates, silent = [transport.baud_rate], []
    if transport.can_change_baud_rate:
        rates += [rate for rate in BAUD_RATES if rate != transport.baud_rate]
    first_answer_s = timeout_s
    failures: list[DeviceError] = []
    for rate in rates:
        if rate != transport.baud_rate:
            try:
                transport.set_baud_rate(rate)
            except DeviceLostError:
                raise
            except OSError:
                continue  # the adapter does not have this rate
            transport.discard_input()
        handshake = Handshake(transport.address)
        waited_s = _ask(transport, handshake, first_answer_s, timeout_s)
        if handshake.complete:
            return _result(transport, handshake)
        failure = handshake.failure(waited_s, rate)
        if handshake.identified or handshake.is_firmata:
            failures = [failure]
            break
        if handshake.has_received:
            failures.append(failure)
        else:
            silent.append(rate)
        first_answer_s = min(timeout_s, OTHER_RATE_S)
    if failures:
        raise DeviceError("; ".join(each.message for each in failures), remedy=failures[0].remedy)
    if len(silent) == 1:
        raise failure
    *others, last = map(str, silent)
    raise DeviceError(
        f"no Firmata board answers on {transport.address}: nothing was received at"
        f" {', '.join(others)} or {last} baud",
        remedy="Check that this is the board's port and that StandardFirmata or mlink's firmware is"
        " on it (`mlink flash`). If its firmware uses another baud rate, set baud_rate to that.",
    )


def _ask(
    transport: Transport, handshake: Handshake, first_answer_s: float, timeout_s: float
) -> float:
    """Query until the handshake is complete or its time is over; return how long it had, s.

    Args:
        transport: The open line.
        handshake: Takes the answers.
        first_answer_s: How long to wait for the first answer.
        timeout_s: How long to wait for all of them, if there was a first.
    """
    decoder = Decoder()
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    began, limit_s = time.monotonic(), first_answer_s
    while not handshake.complete and (now := time.monotonic()) < began + limit_s:
        identified = handshake.identified
        # Not all of the request before the board is identified: it begins with a reset.
        request = handshake.request()
        transport.write(request if identified else request.lstrip(encode.system_reset()))
        if handshake.complete:
            break
        repeat_at = now + REPEAT_S
        while not handshake.complete and handshake.identified == identified:
            remaining_s = min(repeat_at, began + limit_s) - time.monotonic()
            if remaining_s <= 0:
                break
            if poller.poll(int(remaining_s * 1000) + 1):
                data = transport.read()
                handshake.keep(data)
                for message in decoder.feed(data):
                    handshake.take(message)
                    if isinstance(message, ProtocolVersion | Firmware):
                        limit_s = timeout_s
    return limit_s


def _result(transport: Transport, handshake: Handshake) -> ProbeResult:
    found = handshake.description()
    return ProbeResult(
        address=transport.address,
        firmware=found.firmware_name,
        version="{}.{}".format(*found.firmware_version),
        protocol="{}.{}".format(*found.protocol_version),
        baud_rate=transport.baud_rate,
        pins=found.layout.pin_count,
        analog_inputs=len(found.layout.pins_with(PinMode.ANALOG)),
    )
