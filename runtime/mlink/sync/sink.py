"""Receivers of a synchroniser's pairs of times: a tsync file, or an object of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class PairSink(Protocol):
    """Receives pairs: one moment's time on the device's clock and on the master timer."""

    def write(self, device_usec: int, master_usec: int) -> None:
        """Record one pair, in µs."""

    def close(self) -> None:
        """Finish writing; called once, when the synchroniser stops."""


class TsyncPairSink:
    """A tsync file in mode SYNCPOINTS, both clocks int64 µs (docs/tsync-format.md).

    Args:
        path: File to create.
        collection_id: 16 bytes that identify the run.
        device_clock: Name of the device's time column.
        tolerance_usec: The synchroniser's tolerance, noted in the file as `tolerance_us`.
        generator: Program noted in the file's header.
        **writer_options: Further arguments of `TsyncWriter`.

    Raises:
        StorageError: The file exists or cannot be created.
    """

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
        # Imported here, because loading NumPy and xxhash would delay scripts that record no pairs.

        from mlink.storage.tsync.layout import TimeColumn, TimeType, TimeUnit, TsyncMode
        from mlink.storage.tsync.writer import TsyncWriter

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
        """Append one pair, in µs.

        Raises:
            StorageError: The disk failed.
        """
        self._writer.append(device_usec, master_usec)

    def close(self) -> None:
        """Force the pairs onto the disk and close the file.

        Raises:
            StorageError: The disk failed.
        """
        self._writer.close()
