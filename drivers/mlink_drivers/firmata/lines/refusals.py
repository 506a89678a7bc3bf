"""Texts by which mlink's firmware reports that it has not executed a command."""

from __future__ import annotations

from typing import Final

from mlink.errors import DeviceError

_ORIGIN: Final = "mlink: "
_SHARED: Final = "All trains, tones, steppers and timed samples share the time of the chip."
_REFUSALS: Final = {
    "counters:": (
        "a counter",
        "Use counter 0 or 1; an encoder needs two lines of one port of the chip, such as 2 and 3.",
    ),
    "stepper:": ("a stepper", f"Use stepper 0, on a Mega 0 or 1, with lines that exist. {_SHARED}"),
    "pulses:": (
        "a pulse or a train",
        "The period of a train is at least 120 µs, pulse and pause 10 µs each. A board has six at"
        f" once, with those of some PWM lines. {_SHARED}",
    ),
    "pwm:": ("a PWM", "This line needs one of the board's trains, and all of them are in use."),
    "reflexes:": (
        "a reflex",
        "Use reflex 0 to 3, with lines that exist and an output that is not the trigger.",
    ),
    "safe state:": ("the safe state", "Name only outputs that the board has."),
    "analog: too many": ("to sample its analog lines at this interval", _SHARED),
    "sysex too long": ("a message", "Send less in one message."),
}
"""Begin of the text → what it refuses, and what to do."""


def refusal(name: str, text: str) -> DeviceError | None:
    """Return the error that a text of a board means, or None for other texts.

    Args:
        name: The board's name in the message.
        text: What the board has sent.
    """
    for begin, (what, remedy) in _REFUSALS.items():
        if text.startswith(_ORIGIN + begin):
            return DeviceError(f"{name} refuses {what}: {text}", remedy=remedy)
    return None
