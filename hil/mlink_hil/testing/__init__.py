"""Tests of a bench in plain pytest; docs/hil.md is the page for the test engineer."""

from mlink_hil.testing.observed.events import Event, Span
from mlink_hil.testing.patterns import edge, frame, reading, row
from mlink_hil.testing.verdicts import ExpectationFailed, Inconclusive

__all__ = [
    "Event",
    "ExpectationFailed",
    "Inconclusive",
    "Span",
    "edge",
    "frame",
    "reading",
    "row",
]
