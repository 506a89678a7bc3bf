"""Time that stands still."""

from __future__ import annotations


class SteppedTime:
    """Stands in for the module `time`; only sleeping and whoever sets `now_ns` move it."""

    def __init__(self):
        self.now_ns = 5_000_000_000_000

    def monotonic_ns(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)
