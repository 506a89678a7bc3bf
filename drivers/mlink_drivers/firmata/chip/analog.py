"""Analog samples timed by the chip: orders to sample channels, and the time of each sample.

The chip samples all channels in one scan per sampling interval and reports scans in blocks. Blocks
are as small as the capacity of the serial line allows, so that samples arrive early. Values only;
not thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import AnalogBlock
from mlink_drivers.firmata.chip.numbers import BlockNumbers
from mlink_drivers.firmata.wire.arrival import BITS_PER_BYTE

MOST_CHANNELS: Final = 8
LEAST_USEC_PER_CHANNEL: Final = 116
_CONVERSION_USEC: Final = 116
"""Time between two channels of a scan."""
_MOST_VALUES: Final = 24
_BLOCK_BYTES: Final = 10
_LINE_SHARE: Final = 0.5
"""Share of the line that small blocks may use; above it, blocks are made larger."""


class _Scans(msgspec.Struct, frozen=True):
    """An order to sample: channels in order, and the times between scans and channels."""

    channels: tuple[int, ...]
    period_ticks: int
    conversion_ticks: int


class ChipAnalog:
    """The channels that the chip samples.

    An order ends with a status query. Blocks that arrive before the answer may still have the old
    channels and are dropped; blocks that arrive after it have the new ones. The answers come in the
    order of the queries, so all status queries are made here.
    """

    def __init__(self) -> None:
        self.missing_scans = 0
        """Scans that the chip sent and the line lost."""
        self._lines: dict[int, int] = {}  # channel → line
        self._ordered: deque[tuple[int, _Scans | None]] = deque()
        """Number of the order's status query, and the order."""
        self._asked = self._answered = 0
        self._present: _Scans | None = None
        self._numbers = BlockNumbers()
        self._block_scans = 1
        self.version = 1
        """Version of the extension that the board speaks."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the next order, sorted."""
        return tuple(sorted(self._lines))

    def add(self, channel: int, line: int) -> None:
        """Include the channel of a line in the next order."""
        self._lines[channel] = line

    def remove(self, channel: int) -> bool:
        """Leave a channel out of the next order; return False when it was not included."""
        return self._lines.pop(channel, None) is not None

    def least_interval_usec(self) -> int:
        """Shortest interval of scans with the present number of channels."""
        return LEAST_USEC_PER_CHANNEL * len(self._lines)

    def order(self, interval_usec: int, baud_rate: int, tick_hz: int) -> bytes:
        """Return the order to sample the present channels, or none, and a status query.

        Args:
            interval_usec: Wanted interval of scans; a shorter one than possible is lengthened.
            baud_rate: Bits per second of the line, for the size of the blocks.
            tick_hz: Ticks per second of the chip's clock.
        """
        channels = self.channels
        if not channels:
            return chip_encode.stop_analog_blocks() + self._fence(None)
        interval_usec = max(interval_usec, self.least_interval_usec())
        period_ticks = interval_usec * tick_hz // 1_000_000
        conversion_ticks = _CONVERSION_USEC * tick_hz // 1_000_000
        scans = _Scans(channels, period_ticks, conversion_ticks)
        self._block_scans = scans_per_block(len(channels), interval_usec, baud_rate)
        start = chip_encode.start_analog_blocks(period_ticks, channels, self._block_scans)
        return start + self._fence(scans)

    def _fence(self, scans: _Scans | None) -> bytes:
        self._asked += 1
        self._ordered.append((self._asked, scans))
        return chip_encode.status_query()

    def status_query(self) -> bytes:
        """Return a query that belongs to no order; send it when earlier ones had their time."""
        self._answered = self._asked  # what was not answered by now was lost
        self._asked += 1
        return chip_encode.status_query()

    def pass_fence(self) -> None:
        """Handle the answer to a status query: the orders before it are now in effect."""
        self._answered = min(self._answered + 1, self._asked)
        while self._ordered and self._ordered[0][0] <= self._answered:
            self._present = self._ordered.popleft()[1]
            self._numbers = BlockNumbers(self.version)

    def count(self, block: AnalogBlock) -> None:
        """Count the scans that the line has lost before a block whose samples are used."""
        if self._present is not None and not self._ordered:
            self.missing_scans += self._numbers.take(block.sequence) * self._block_scans

    def samples(self, block: AnalogBlock) -> Iterator[tuple[int, int, int]]:
        """Iterate over a block's samples as (channel, value, ticks); none while orders wait."""
        scans = self._present
        if scans is None or self._ordered:
            return
        width = len(scans.channels)
        for at, value in enumerate(block.values):
            scan, place = divmod(at, width)
            ticks = block.first_ticks + scan * scans.period_ticks + place * scans.conversion_ticks
            yield scans.channels[place], value, ticks & 0xFFFFFFFF


def scans_per_block(channel_count: int, interval_usec: int, baud_rate: int) -> int:
    """Return the smallest number of scans per block with which blocks use half of the line.

    Args:
        channel_count: Channels per scan.
        interval_usec: Interval of scans.
        baud_rate: Bits per second of the line.
    """
    most = max(1, _MOST_VALUES // channel_count)
    bytes_per_scan = _LINE_SHARE * baud_rate / BITS_PER_BYTE * interval_usec / 1e6
    for scans in range(1, most):
        if (_BLOCK_BYTES + 2 * channel_count * scans) / scans <= bytes_per_scan:
            return scans
    return most
