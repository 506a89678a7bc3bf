"""The times of one commanded pulse: a row of the table `pulses`."""

from __future__ import annotations

import msgspec


class PulseTimes(msgspec.Struct, frozen=True, gc=False):
    """When a pulse was commanded, sent and made; ns of CLOCK_MONOTONIC, 0 where not known.

    The host's timer ends a pulse with a second write, at `end_sent_ns`. A pulse that the chip
    makes has no second write; the chip reports its first and last edge instead.
    """

    line: int
    asked_usec: int
    """Width that the command asked for."""
    commanded_ns: int
    start_sent_ns: int
    end_sent_ns: int
    """0: the pulse has not ended, or the chip made it."""
    timed_by: str = "host"
    first_edge_ns: int = 0
    last_edge_ns: int = 0
    due_ns: int = 0
    """When its first edge was to be: the start of a train that was planned, or `commanded_ns`."""
