"""Writes the metadata of a stream into its dataset, so that the dataset explains itself."""

from __future__ import annotations

from mlink.metadata import Metadata
from mlink.storage.edl import Dataset

_TIMES = ("timestamp_source", "uncertainty_usec")
"""Origin and uncertainty of the times; also written as attributes at the top level."""


def keep_stream_metadata(dataset: Dataset, metadata: Metadata) -> None:
    """Set the attributes of the dataset about its stream, and the origin of its times.

    The attribute `stream` contains all metadata, without keys that are None.
    """
    kept = {str(key): value for key, value in metadata.items() if value is not None}
    if kept:
        dataset.set_attribute("stream", kept)
    for key in _TIMES:
        dataset.set_attribute(key, metadata.get(key))
