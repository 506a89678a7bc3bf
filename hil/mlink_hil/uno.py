"""Pins, clock and supply of an Arduino Uno: plain values that the simulator and its clients share.

Pins are numbered as on the board: 0 to 13 are digital, 14 to 19 are the analog inputs A0 to A5.
"""

from __future__ import annotations

CLOCK_HZ = 16_000_000
MOST_CLOCK_PPM = 10_000
"""Largest error of a simulated crystal, either way."""
MOST_PHASE_USEC = 1_000_000
"""Longest time for which a firmware can have run when the simulation begins."""
SUPPLY_VOLT = 5.0
PIN_COUNT = 20
FIRST_ANALOG = 14
"""Number of the pin A0."""
ANALOG_COUNT = 6
USER_PINS = range(2, PIN_COUNT)
