"""Writes the tsync file of a board's clock: pairs of board time and master time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mlink.clock import Clock
from mlink.context import RunInfo
from mlink.errors import StorageError
from mlink.sync.sink import TsyncPairSink
from mlink_drivers.firmata.chip.clock import ChipClock

if TYPE_CHECKING:
    from mlink.storage.edl import Dataset

DEVICE_CLOCK: Final = "board-time"
_FILE: Final = "board-clock"
_PAIR_INTERVAL_NS: Final = 1_000_000_000


class ClockRecord:
    """Writes one pair per second; a new file begins whenever the board's clock was reset.

    Any thread may call `take`.

    Args:
        dataset: Where the files are made.
        clock: The run's clock, for master times.
        run_info: Its id and creation time are written into the files' headers.
        fail: Called with a StorageError; nothing is written afterwards.
    """

    def __init__(
        self,
        dataset: Dataset,
        clock: Clock,
        *,
        run_info: RunInfo,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._dataset = dataset
        self._clock = clock
        self._run_info = run_info
        self._fail = fail
        self._lock = threading.Lock()
        self._of: ChipClock | None = None
        self._sink: TsyncPairSink | None = None
        self._files = 0
        self._last_ns = 0
        self._closed = False

    def take(self, chip_clock: ChipClock) -> None:
        """Write the clock's pair, if the last one is at least a second old."""
        with self._lock:
            pair = chip_clock.pair
            if self._closed or pair is None or pair.host_ns - self._last_ns < _PAIR_INTERVAL_NS:
                return
            self._last_ns = pair.host_ns
            try:
                if chip_clock is not self._of:
                    self._begin(chip_clock)
                assert self._sink is not None
                self._sink.write(pair.device_usec, self._clock.from_monotonic_ns(pair.host_ns))
            except StorageError as error:
                self._closed = True
                self._fail(error)

    def finish(self, chip_clock: ChipClock | None) -> None:
        """Write a last pair, store the clock's rate and uncertainty, and close the file."""
        if chip_clock is not None:
            self._last_ns = 0
            self.take(chip_clock)
            self._dataset.set_attribute("rate_ppm", round(chip_clock.rate_ppm, 3))
            self._dataset.set_attribute("uncertainty_usec", chip_clock.uncertainty_usec)
            self._dataset.set_attribute("exchanges", chip_clock.exchanges)
        with self._lock:
            self._closed = True
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.close()

    def _begin(self, chip_clock: ChipClock) -> None:
        if self._sink is not None:
            self._sink.close()
        self._files += 1
        name = f"{_FILE}.tsync" if self._files == 1 else f"{_FILE}-{self._files}.tsync"
        if self._files == 1:
            path = self._dataset.set_data_file(name, "The board's clock and the master timer")
        else:
            path = self._dataset.add_data_part(name)
        self._of = chip_clock
        created = self._run_info.time_created
        self._sink = TsyncPairSink(
            path,
            collection_id=self._run_info.run_uuid,
            device_clock=DEVICE_CLOCK,
            block_size=60,
            time_created=int(created.timestamp()) if created else None,
        )
