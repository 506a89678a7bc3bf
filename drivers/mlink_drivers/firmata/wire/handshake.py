"""The conversation that finds out who is on the line. Sans-IO: the session sends and waits.

Queries are repeated until answered, since a board that resets on opening swallows what is sent
while its bootloader runs, and greets by itself when it is up.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import (
    SINGLE_PIN_WRITE_SINCE,
    AnalogMapping,
    Capabilities,
    Firmware,
    Message,
    PinMode,
    ProtocolVersion,
)

REPEAT_S: Final = 0.5
"""Pause between queries: short against a bootloader (1 to 2 s), long against a reply (0.3 s)."""

_HEARD_KEPT: Final = 4096
_HEARD_SHOWN: Final = 48


class BoardDescription(msgspec.Struct, frozen=True):
    """Who answered: the firmware, its protocol version and what its pins can do."""

    address: str
    protocol_version: tuple[int, int]
    firmware_name: str
    firmware_version: tuple[int, int]
    layout: PinLayout

    @property
    def writes_single_pins(self) -> bool:
        """Whether a write can name one pin (0xF5); else it has the whole port's outputs."""
        return self.protocol_version >= SINGLE_PIN_WRITE_SINCE

    def is_same_board(self, other: BoardDescription) -> bool:
        """Whether firmware and pins are the same, at whatever address."""
        return self.firmware_name == other.firmware_name and self.layout == other.layout

    def pulls_up_by_write(self, pin: int) -> bool:
        """Whether a pin has no pull-up mode, and a high written to the input switches one on.

        StandardFirmata before protocol 2.5, by the Arduino core's digitalWrite on an input.
        """
        return (
            not self.writes_single_pins
            and self.layout.supports(pin, PinMode.INPUT)
            and not self.layout.supports(pin, PinMode.PULLUP)
        )

    def __str__(self) -> str:
        major, minor = self.firmware_version
        return f"{self.firmware_name or 'Firmata'} {major}.{minor} at {self.address}"


class Handshake:
    """Collects a board's answers; `request` is what to send next."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._version: ProtocolVersion | None = None
        self._firmware: Firmware | None = None
        self._capabilities: Capabilities | None = None
        self._mapping: AnalogMapping | None = None
        self._heard = b""
        self._heard_count = 0

    @property
    def identified(self) -> bool:
        """Whether version and firmware are known: time to ask for the pins."""
        return self._version is not None and self._firmware is not None

    @property
    def complete(self) -> bool:
        """Whether everything was answered."""
        return self.identified and self._capabilities is not None and self._mapping is not None

    def request(self) -> bytes:
        """Bytes that ask for what is still missing.

        Until the board is known each round begins with a reset, so that what an earlier program
        left streaming falls silent.
        """
        if not self.identified:
            return encode.system_reset() + encode.protocol_version_query() + encode.firmware_query()
        missing = b""
        if self._capabilities is None:
            missing += encode.capability_query()
        if self._mapping is None:
            missing += encode.analog_mapping_query()
        return missing

    def hear(self, data: bytes) -> None:
        """Remember raw bytes, to show them if nothing comes of it."""
        self._heard_count += len(data)
        self._heard = (self._heard + data)[:_HEARD_KEPT]

    def take(self, message: Message) -> None:
        """Take one message; others than answers are of no interest here."""
        if isinstance(message, ProtocolVersion):
            self._version = message
        elif isinstance(message, Firmware):
            self._firmware = message
        elif isinstance(message, Capabilities):
            self._capabilities = message
        elif isinstance(message, AnalogMapping):
            self._mapping = message

    def description(self) -> BoardDescription:
        """Return who answered; only when complete."""
        version, firmware = self._version, self._firmware
        capabilities, mapping = self._capabilities, self._mapping
        assert version is not None
        assert firmware is not None
        assert capabilities is not None
        assert mapping is not None
        return BoardDescription(
            address=self._address,
            protocol_version=(version.major, version.minor),
            firmware_name=firmware.name,
            firmware_version=(firmware.major, firmware.minor),
            layout=PinLayout(capabilities.pins, mapping.channels),
        )

    def failure(self, timeout_s: float, baud_rate: int) -> DeviceError:
        """Say what was heard instead of a complete answer."""
        where = f"{self._address} at {baud_rate} baud"
        if self.identified:
            missing = "capabilities" if self._capabilities is None else "analog mapping"
            return DeviceError(
                f"the board on {where} speaks Firmata but did not tell its {missing}"
                f" within {timeout_s:g} s",
                remedy="Upload a complete firmware: StandardFirmata or ConfigurableFirmata.",
            )
        if not self._heard_count:
            return DeviceError(
                f"nobody answers on {where}: nothing was heard within {timeout_s:g} s",
                remedy="Check that this is the board's port and that StandardFirmata is on it.",
            )
        return DeviceError(
            f"what answers on {where} is not Firmata: {self._heard_count} bytes were heard"
            f" within {timeout_s:g} s: {self._show_heard()}",
            remedy="Upload StandardFirmata, or set baud_rate to what the firmware uses.",
        )

    def _show_heard(self) -> str:
        shown = self._heard[:_HEARD_SHOWN]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in shown)
        more = " …" if self._heard_count > len(shown) else ""
        return f"{shown.hex(' ')}{more} |{text}|"
