"""The form of manifests and attributes: what has another one is left out, and described.

So whoever reads a recording finds lists, tables and numbers where it expects them, whatever a
stranger, an editor or another program has written there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from mlink.errors import StorageError

_REMEDY = "Restore the file from a copy; the data files beside it are untouched."
_SHOWN = 100


class _Part(msgspec.Struct):
    fname: str
    index: int = -1


class _Data(msgspec.Struct):
    parts: list[_Part] = []
    media_type: str = ""
    file_type: str = ""
    summary: str = ""


class _Author(msgspec.Struct):
    name: str
    email: str = ""


class _Gap(msgspec.Struct):
    lost: int = 0
    found_at_usec: int = 0


class _Video(msgspec.Struct):
    framerate: float = 0.0
    pixels: str = ""
    frame_width: int = 0
    frame_height: int = 0


class _Encoder(msgspec.Struct):
    codec: str = ""
    lossless: bool = True


_NEEDED = {"type": str, "data": _Data, "data_aux": _Data | list[_Data]}
"""Keys of a manifest without which it is not known what its folder has."""
_FURTHER = {"authors": list[_Author], "time_created": datetime, "collection_id": str}
_Runs = list[tuple[int, int, int]]
_ATTRIBUTES: dict[str, Any] = {
    **dict.fromkeys(
        (
            "frame_count", "row_count", "sample_count", "block_count", "record_count",
            "items_lost", "items_lost_unlisted", "gap_count", "frames_skipped",
            "source_index_first", "values_not_finite", "recording_length_msec",
        ),
        Annotated[int, msgspec.Meta(ge=0, lt=2**50)],
    ),
    **dict.fromkeys(
        ("data_scale", "data_offset", "sample_rate", "uncertainty_usec", "framerate_measured"),
        float,
    ),
    **dict.fromkeys(("abandoned_files", "signal_names", "datasets"), list[str]),
    **dict.fromkeys(("stream", "deferred_encoding", "subject"), dict[str, Any]),
    **dict.fromkeys(("source_index_runs", "block_start_runs"), _Runs),
    **dict.fromkeys(("has_header", "success"), bool),
    "times_without_picture_usec": list[int],
    "streams": list[dict[str, Any]],
    "gaps": list[_Gap],
    "video": _Video,
    "encoder": _Encoder,
}  # fmt: skip
"""The attributes that this program reads, and their types."""


def wellformed_manifest(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a manifest without what has another form, and a text for each such key.

    Raises:
        StorageError: It is not known what its folder has.
    """
    _, wrong = _sorted_out(found, _NEEDED)
    if wrong:
        raise StorageError(f"the manifest is damaged: {wrong[0]}", remedy=_REMEDY)
    return _sorted_out(found, _FURTHER)


def wellformed_attributes(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return attributes without known ones of a wrong type, and a text for each of these."""
    return _sorted_out(found, _ATTRIBUTES)


def _sorted_out(
    found: Mapping[str, Any], types: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    kept, wrong = dict(found), []
    for key in types.keys() & found.keys():
        try:
            value = msgspec.convert(found[key], types[key])
            if types[key] is float and not math.isfinite(value):
                raise msgspec.ValidationError(f"{value} is no finite number")
        except msgspec.ValidationError as error:
            del kept[key]
            wrong.append(f"'{key}' has a value that no recorder writes: {str(error)[:_SHOWN]}")
    return kept, sorted(wrong)
