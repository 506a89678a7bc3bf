"""Edges and reflex actions: codes that scripts send and boards understand.

`mlink.script` exports both. They have a file of their own so that drivers can import them without
the scripting interface.
"""

from __future__ import annotations

import enum


class Edges(enum.IntFlag):
    """Edges of a digital line."""

    NONE = 0
    RISING = 1
    FALLING = 2
    BOTH = 3


class ReflexAction(enum.IntEnum):
    """What a reflex does to its output line."""

    LOW = 0
    HIGH = 1
    TOGGLE = 2
    PULSE_HIGH = 3
    PULSE_LOW = 4
