"""Channels, times and units of a signal stream, from its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlink.errors import ModuleError
from mlink.metadata import Metadata
from mlink.types import SignalBlock

TIME_COLUMNS = {
    "index": "timestamp_idx",
    "seconds": "timestamp_sec",
    "milliseconds": "timestamp_msec",
    "microseconds": "timestamp_usec",
}
"""Title of the time column by the stream's `time_unit`; "timestamp" without one."""


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """Description of a signal stream by its metadata and its first block.

    A physical value is scale × raw value + offset, in `data_unit`.
    """

    names: tuple[str, ...]
    time_unit: str
    data_unit: str | list[str]
    """One unit, or that of each channel."""
    sample_rate: float
    """Hz; 0 when it is unknown."""
    scale: float
    offset: float

    @property
    def time_column(self) -> str:
        """Title of the time column."""
        return TIME_COLUMNS.get(self.time_unit, "timestamp")

    def attributes(self) -> dict[str, Any]:
        """Return the dataset's attributes: physical value = data_scale × raw + data_offset."""
        found: dict[str, Any] = {
            "signal_names": list(self.names),
            "time_unit": self.time_unit,
            "data_unit": self.data_unit,
        }
        if self.scale != 1.0:
            found["data_scale"] = self.scale
        if self.offset != 0.0:
            found["data_offset"] = self.offset
        if self.sample_rate > 0:
            found["sample_rate"] = self.sample_rate
        return found


def signal_info(metadata: Metadata, block: SignalBlock) -> SignalInfo:
    """Describe a stream.

    Args:
        metadata: Metadata of the stream.
        block: The first block.

    Raises:
        ModuleError: The number of `signal_names` is not that of the block's channels.
    """
    given = metadata.get("signal_names")
    names = tuple(str(name) for name in given) if isinstance(given, list) else ()
    if names and len(names) != block.cols:
        raise ModuleError(
            f"the stream has {block.cols} channels, but its `signal_names` are {len(names)}: "
            f"{', '.join(names[:8])}",
            remedy="Name each channel once in the source's metadata.",
        )
    return SignalInfo(
        names=names or tuple(f"channel-{number + 1}" for number in range(block.cols)),
        time_unit=str(metadata.get("time_unit") or ""),
        data_unit=_unit(metadata.get("data_unit")),
        sample_rate=_number(metadata.get("sample_rate"), 0.0),
        scale=_number(metadata.get("data_scale"), 1.0),
        offset=_number(metadata.get("data_offset"), 0.0),
    )


def _unit(given: object) -> str | list[str]:
    return [str(unit) for unit in given] if isinstance(given, list) else str(given or "")


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
