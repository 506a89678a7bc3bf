"""The pins of a board and their modes, as its firmware reported them. Values only."""

from __future__ import annotations

import msgspec

from mlink_drivers.firmata.wire.protocol import PinMode

_NAMES = {
    PinMode.INPUT: "digital input",
    PinMode.PULLUP: "pull-up",
    PinMode.OUTPUT: "digital output",
    PinMode.ANALOG: "analog input",
    PinMode.PWM: "PWM",
    PinMode.SERVO: "servo",
    PinMode.I2C: "I2C",
    PinMode.ONEWIRE: "1-Wire",
    PinMode.STEPPER: "stepper",
    PinMode.ENCODER: "encoder",
    PinMode.SERIAL: "serial",
    PinMode.SPI: "SPI",
    PinMode.SONAR: "sonar",
    PinMode.TONE: "tone",
    PinMode.DHT: "DHT",
    PinMode.FREQUENCY: "frequency",
}


def mode_name(mode: PinMode) -> str:
    """Name of a mode for messages."""
    return _NAMES.get(mode, mode.name.lower())


class PinLayout(msgspec.Struct, frozen=True):
    """The modes of each pin with their resolution in bits, and its analog channel.

    Both tuples are indexed by pin number. Pins that do not exist have no mode and no channel.
    """

    modes: tuple[dict[int, int], ...] = ()
    channels: tuple[int | None, ...] = ()

    @property
    def pin_count(self) -> int:
        """Number of pins, including those without any mode."""
        return len(self.modes)

    def supports(self, pin: int, mode: PinMode) -> bool:
        """Whether the board has this pin, and the pin has this mode."""
        return 0 <= pin < len(self.modes) and mode in self.modes[pin]

    def resolution(self, pin: int, mode: PinMode, default: int) -> int:
        """Resolution of a mode in bits; `default` when the board reports none."""
        return (self.modes[pin].get(mode, 0) if 0 <= pin < len(self.modes) else 0) or default

    def channel_of(self, pin: int) -> int | None:
        """Analog channel of a pin; None when it has none."""
        return self.channels[pin] if 0 <= pin < len(self.channels) else None

    def analog_pins(self) -> dict[int, int]:
        """Return analog channel → pin, sorted by channel."""
        pairs = ((channel, pin) for pin, channel in enumerate(self.channels) if channel is not None)
        return dict(sorted(pairs))

    def pins_with(self, mode: PinMode) -> list[int]:
        """Return the pins that have a mode."""
        return [pin for pin, modes in enumerate(self.modes) if mode in modes]

    def is_analog_only(self, pin: int) -> bool:
        """Whether a pin is an analog input and has no digital mode (A6 and A7 of a Nano)."""
        modes = self.modes[pin] if 0 <= pin < len(self.modes) else {}
        return PinMode.ANALOG in modes and not {PinMode.INPUT, PinMode.PULLUP} & modes.keys()

    def describe(self, pin: int) -> str:
        """Describe the modes of a pin, for messages."""
        if not 0 <= pin < len(self.modes):
            return f"the board has pins 0 to {len(self.modes) - 1}"
        words = [
            f"{name} ({self.modes[pin][mode]} bits)"
            if mode in (PinMode.ANALOG, PinMode.PWM)
            else name
            for mode, name in _NAMES.items()
            if mode in self.modes[pin]
        ]
        return f"pin {pin} can do: {', '.join(words)}" if words else f"pin {pin} is not usable"
