"""Where a synchroniser's pairs of times go: a tsync file, or whatever a test puts there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class PairSink(Protocol):
    """Takes pairs of one moment's times on the device's clock and on the master timer."""

    def write(self, device_usec: int, master_usec: int) -> None:
        """Take one pair, in µs."""
        ...

    def close(self) -> None:
        """Finish; called once, when the synchroniser stops."""
        ...


class TsyncPairSink:
    """A tsync file in mode SYNCPOINTS, both clocks int64 µs (docs/tsync-format.md)."""

    def __init__(
        self,
        path: Path,
        *,
        collection_id: bytes,
        device_clock: str = "device-time",
        tolerance_usec: int | None = None,
        generator: str = "mlink",
        **writer_options: Any,
    ) -> None:
        # Imported here: a script that records no pairs does not wait for NumPy and xxhash.
        from mlink.storage.tsync import TsyncWriter
        from mlink.storage.tsync_format import TimeColumn, TimeType, TimeUnit, TsyncMode

        self._writer = TsyncWriter(
            path,
            collection_id=collection_id,
            generator=generator,
            columns=(
                TimeColumn(device_clock, TimeUnit.MICROSECONDS, TimeType.INT64),
                TimeColumn("master-time", TimeUnit.MICROSECONDS, TimeType.INT64),
            ),
            mode=TsyncMode.SYNCPOINTS,
            custom=None if tolerance_usec is None else {"tolerance_us": tolerance_usec},
            **writer_options,
        )

    def write(self, device_usec: int, master_usec: int) -> None:
        """Append one pair, in µs."""
        self._writer.append(device_usec, master_usec)

    def close(self) -> None:
        """Force the pairs onto the disk and close the file."""
        self._writer.close()
