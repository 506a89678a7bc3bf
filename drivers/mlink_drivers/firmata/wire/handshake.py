"""The queries that identify a board. Sans-IO: the session sends them and waits for the answers.

Queries are repeated until they are answered: a board that resets when its port is opened discards
everything while its bootloader runs.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import Final

import msgspec

from mlink.errors import DeviceError
from mlink.storage.failures import printable
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
"""Pause between queries: shorter than a bootloader runs (1 to 2 s), longer than a reply (0.3 s)."""

BAUD_RATES: Final = (57_600, 115_200, 1_000_000)
"""Rates that firmwares begin with."""
_RATES_SHOWN: Final = ", ".join(map(str, BAUD_RATES))
_PATIENCE: Final = 4
"""Queries without an answer, after which a board without name or analog mapping is accepted."""

_RECEIVED_KEPT: Final = 4096
_RECEIVED_SHOWN: Final = 48
_NAME_CHARS: Final = 64
_MOST_PINS: Final = 128
"""A pin has 7 bits in every message."""
_QUERIES: Final = encode.protocol_version_query() + encode.firmware_query()

_log = logging.getLogger(__name__)


class BoardDescription(msgspec.Struct, frozen=True):
    """The board that answered: its firmware, protocol version and pins."""

    address: str
    protocol_version: tuple[int, int]
    firmware_name: str
    firmware_version: tuple[int, int]
    layout: PinLayout

    @property
    def writes_single_pins(self) -> bool:
        """Whether the board accepts writes of a single pin (0xF5); else only of whole ports."""
        return self.protocol_version >= SINGLE_PIN_WRITE_SINCE

    def difference(self, other: BoardDescription) -> str:
        """Return in words why this is another board; empty for the same one.

        Addresses and versions of the firmware may differ.
        """
        if self.firmware_name != other.firmware_name:
            return f"it runs {self.firmware_name or 'unknown firmware'}, not {other.firmware_name}"
        if self.layout.pin_count != other.layout.pin_count:
            return f"it has {self.layout.pin_count} pins, not {other.layout.pin_count}"
        if self.layout != other.layout:
            return "its pins have other modes"
        if self.protocol_version != other.protocol_version:
            versions = self.protocol_version, other.protocol_version
            return "it speaks Firmata {}.{}, not {}.{}".format(*versions[0], *versions[1])
        return ""

    def pulls_up_by_write(self, pin: int) -> bool:
        """Whether a pin has no pull-up mode, but writing a high value to the input enables one.

        True for StandardFirmata before protocol 2.5, whose digitalWrite on an input does that.
        """
        return (
            not self.writes_single_pins
            and self.layout.supports(pin, PinMode.INPUT)
            and not self.layout.supports(pin, PinMode.PULLUP)
        )

    def __str__(self) -> str:
        name = self.firmware_name or "unknown firmware"
        if self.firmware_name or any(self.firmware_version):
            name += " {}.{}".format(*self.firmware_version)
        return f"{name} at {self.address}"


class Handshake:
    """Collects the answers of a board; `request` returns what to send next.

    Args:
        address: Where the board is, for its description and for messages.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._version: ProtocolVersion | None = None
        self._firmware: Firmware | None = None
        self._capabilities: Capabilities | None = None
        self._mapping: AnalogMapping | None = None
        self._unanswered = 0
        """Queries for the name or the mapping alone that were not answered."""
        self._received = b""
        self._received_count = 0

    @property
    def identified(self) -> bool:
        """Whether protocol version and firmware are known, so that the pins can be queried."""
        return self._version is not None and self._firmware is not None

    @property
    def is_firmata(self) -> bool:
        """Whether a firmware has answered with its name."""
        return self._firmware is not None

    @property
    def complete(self) -> bool:
        """Whether all queries were answered."""
        return self.identified and self._capabilities is not None and self._mapping is not None

    @property
    def has_received(self) -> bool:
        """Whether any byte was received."""
        return self._received_count > 0

    def request(self) -> bytes:
        """Return the queries that are still unanswered.

        Until the board is identified they begin with a reset, which stops reports that an earlier
        program has left on.
        """
        self._do_without()
        if not self.identified:
            return encode.system_reset() + _QUERIES
        missing = b""
        if self._capabilities is None:
            missing += encode.capability_query()
        if self._mapping is None:
            missing += encode.analog_mapping_query()
        return missing

    def _do_without(self) -> None:
        """Accept a board that answers, but never with a name, or with an analog mapping.

        Some builds of ConfigurableFirmata lack one of them; the channels are then the pins with
        analog inputs, in their order.
        """
        needs_name = self._version is not None and self._firmware is None
        if not needs_name and (self._capabilities is None or self._mapping is not None):
            self._unanswered = 0
            return
        self._unanswered += 1
        if self._unanswered <= _PATIENCE:
            return
        self._unanswered = 0
        if needs_name:
            self._firmware = Firmware(name="", major=0, minor=0)
        elif self._capabilities is not None:
            channels = itertools.count()
            self._mapping = AnalogMapping(
                tuple(
                    next(channels) if PinMode.ANALOG in modes else None
                    for modes in self._capabilities.pins
                )
            )

    def keep(self, data: bytes) -> None:
        """Keep received bytes for the error message of a failed handshake."""
        self._received_count += len(data)
        self._received = (self._received + data)[:_RECEIVED_KEPT]

    def take(self, message: Message) -> None:
        """Handle a message; all but the four answers are ignored."""
        if isinstance(message, ProtocolVersion):
            self._version = message
        elif isinstance(message, Firmware):
            self._firmware = message
        elif isinstance(message, Capabilities):
            self._capabilities = message
        elif isinstance(message, AnalogMapping):
            self._mapping = message

    def description(self) -> BoardDescription:
        """Return the board's description; call it only when `complete`.

        Raises:
            DeviceError: The board reports no pin that can be used.
        """
        version, firmware = self._version, self._firmware
        capabilities, mapping = self._capabilities, self._mapping
        assert version is not None
        assert firmware is not None
        assert capabilities is not None
        assert mapping is not None
        if not any(capabilities.pins):
            raise DeviceError(
                f"the board at {self._address} reports that it has no pins",
                remedy="Its firmware was built without features: upload StandardFirmata, or"
                " ConfigurableFirmata with digital and analog inputs and outputs.",
            )
        return BoardDescription(
            address=self._address,
            protocol_version=(version.major, version.minor),
            firmware_name=printable(firmware.name[:_NAME_CHARS]),
            firmware_version=(firmware.major, firmware.minor),
            layout=self._layout(capabilities.pins[:_MOST_PINS], mapping.channels),
        )

    def _layout(
        self, pins: tuple[dict[int, int], ...], channels: tuple[int | None, ...]
    ) -> PinLayout:
        """Return the pins; those without an analog channel of their own are no analog inputs."""
        channels = (*channels, *[None] * len(pins))[: len(pins)]
        times = Counter(channels)
        own = tuple(channel if times[channel] == 1 else None for channel in channels)
        useless = [
            pin for pin, modes in enumerate(pins) if PinMode.ANALOG in modes and own[pin] is None
        ]
        if useless:
            _log.warning(
                "the firmware at %s reports no analog channel of its own for the pins %s, so they"
                " cannot be analog inputs",
                *(self._address, ", ".join(map(str, useless))),
            )
        modes = tuple(
            {mode: bits for mode, bits in modes.items() if mode != PinMode.ANALOG}
            if pin in useless
            else modes
            for pin, modes in enumerate(pins)
        )
        return PinLayout(modes, own)

    def failure(self, timeout_s: float, baud_rate: int) -> DeviceError:
        """Return the error for a handshake that was not completed in time.

        Args:
            timeout_s: How long the answers were waited for.
            baud_rate: Baud rate of the line, for the message.
        """
        where = f"{self._address} at {baud_rate} baud"
        if self.identified:
            missing = "capabilities" if self._capabilities is None else "analog mapping"
            return DeviceError(
                f"the board on {where} speaks Firmata but did not report its {missing}"
                f" within {timeout_s:g} s",
                remedy="Upload a complete firmware: StandardFirmata or ConfigurableFirmata.",
            )
        if self._firmware is not None:
            return DeviceError(
                f"the board on {where} reports the firmware {printable(self._firmware.name)!r},"
                f" but did not report its protocol version within {timeout_s:g} s",
                remedy="Upload a complete firmware: StandardFirmata or ConfigurableFirmata.",
            )
        if _QUERIES in self._received:
            return DeviceError(
                f"what is on {where} sends back what is sent to it",
                remedy="Check that its lines RX and TX are not connected to each other, and upload"
                " StandardFirmata.",
            )
        if not self._received_count:
            return DeviceError(
                f"no answer on {where}: nothing was received within {timeout_s:g} s",
                remedy="Check that this is the board's port, that StandardFirmata is on it and that"
                f" baud_rate is what it uses ({_RATES_SHOWN}). A board that takes longer to start"
                " needs a longer handshake_timeout_s.",
            )
        return DeviceError(
            f"what answers on {where} is not Firmata: {self._received_count} bytes were received"
            f" within {timeout_s:g} s: {self._show_received()}",
            remedy="Upload StandardFirmata, or set baud_rate to what the firmware uses"
            f" ({_RATES_SHOWN}).",
        )

    def _show_received(self) -> str:
        shown = self._received[:_RECEIVED_SHOWN]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in shown)
        more = " …" if self._received_count > len(shown) else ""
        return f"{shown.hex(' ')}{more} |{text}|"
