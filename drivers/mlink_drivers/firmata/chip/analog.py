"""Analog samples timed by the chip: which channels it samples how often, and when each sample was.

All analog lines are sampled in one scan per sampling interval and told in blocks, as small as the
line to the board allows, so that samples come soon. Values only; not thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import AnalogBlock
from mlink_drivers.firmata.wire.arrival import BITS_PER_BYTE

MOST_CHANNELS: Final = 8
LEAST_USEC_PER_CHANNEL: Final = 116
_CONVERSION_USEC: Final = 116
"""From one channel of a scan to the next."""
_MOST_VALUES: Final = 24
_BLOCK_BYTES: Final = 10
_LINE_SHARE: Final = 0.5
"""Of the line, that blocks may take before they are made larger."""


class _Scans(msgspec.Struct, frozen=True):
    """What the chip was told to sample."""

    channels: tuple[int, ...]
    period_ticks: int
    conversion_ticks: int


class ChipAnalog:
    """The channels that the chip samples.

    `order` is to be sent at once, followed by a status query: blocks that come after its answer
    are of the new channels, and those that come before tell nothing.
    """

    def __init__(self) -> None:
        self.missing_scans = 0
        """Scans that were made and told but lost on the line."""
        self._lines: dict[int, int] = {}  # channel → line
        self._ordered: deque[_Scans | None] = deque()
        self._present: _Scans | None = None
        self._sequence: int | None = None
        self._block_scans = 1

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels that are wanted."""
        return tuple(sorted(self._lines))

    def add(self, channel: int, line: int) -> None:
        """Sample a channel from the next order on."""
        self._lines[channel] = line

    def remove(self, channel: int) -> bool:
        """Sample it no more; False when it was not sampled."""
        return self._lines.pop(channel, None) is not None

    def least_interval_usec(self) -> int:
        """Shortest interval of scans of so many channels."""
        return LEAST_USEC_PER_CHANNEL * len(self._lines)

    def order(self, interval_usec: int, baud_rate: int, tick_hz: int) -> bytes:
        """Return what has the chip sample all wanted channels, or none, and the status query."""
        channels = self.channels
        if not channels:
            self._ordered.append(None)
            return chip_encode.stop_analog_blocks() + chip_encode.status_query()
        interval_usec = max(interval_usec, self.least_interval_usec())
        period_ticks = interval_usec * tick_hz // 1_000_000
        conversion_ticks = _CONVERSION_USEC * tick_hz // 1_000_000
        self._ordered.append(_Scans(channels, period_ticks, conversion_ticks))
        self._block_scans = scans_per_block(len(channels), interval_usec, baud_rate)
        start = chip_encode.start_analog_blocks(period_ticks, channels, self._block_scans)
        return start + chip_encode.status_query()

    def pass_fence(self) -> None:
        """The board answered a status query."""
        if self._ordered:
            self._present = self._ordered.popleft()
            self._sequence = None

    def samples(self, block: AnalogBlock) -> Iterator[tuple[int, int, int]]:
        """Iterate over a block's samples as (channel, value, ticks of the chip)."""
        scans = self._present
        if scans is None or self._ordered:
            return
        if self._sequence is not None:
            blocks = (block.sequence - self._sequence - 1) % 128
            self.missing_scans += blocks * self._block_scans
        self._sequence = block.sequence
        width = len(scans.channels)
        for at, value in enumerate(block.values):
            scan, place = divmod(at, width)
            ticks = block.first_ticks + scan * scans.period_ticks + place * scans.conversion_ticks
            yield scans.channels[place], value, ticks & 0xFFFFFFFF


def scans_per_block(channel_count: int, interval_usec: int, baud_rate: int) -> int:
    """Return the least number of scans in a block with which blocks leave room on the line."""
    most = max(1, _MOST_VALUES // channel_count)
    bytes_per_scan = _LINE_SHARE * baud_rate / BITS_PER_BYTE * interval_usec / 1e6
    for scans in range(1, most):
        if (_BLOCK_BYTES + 2 * channel_count * scans) / scans <= bytes_per_scan:
            return scans
    return most
