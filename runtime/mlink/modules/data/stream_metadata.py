"""What a dataset keeps of its stream's metadata, so that it can be understood alone."""

from __future__ import annotations

from mlink.metadata import Metadata
from mlink.storage.edl import Dataset

_TIMES = ("timestamp_source", "uncertainty_usec")
"""Where the stream's times come from, and how sure they are; at the top, for people to see."""


def keep_stream_metadata(dataset: Dataset, metadata: Metadata) -> None:
    """Set the dataset's attributes about its stream: all metadata, and where its times come from.

    `stream` holds everything that the source said; what could be no attribute is left out by None.
    """
    kept = {str(key): value for key, value in metadata.items() if value is not None}
    if kept:
        dataset.set_attribute("stream", kept)
    for key in _TIMES:
        dataset.set_attribute(key, metadata.get(key))
