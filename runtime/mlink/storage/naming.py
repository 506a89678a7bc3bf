"""Safe names of folders and files in a recording, from the names that users and modules propose.

No name made here can point outside its folder: it has no separators, is never "." or "..",
contains no control characters and is valid on every common file system.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from mlink.errors import StorageError

SLUG_BYTES = 80
PART_BYTES = 120
"""Longest names in bytes of UTF-8; file systems allow 255, and suffixes must fit too."""

VIDEOS = "videos"
"""Group of the videos in a recording."""

_NOT_WORD = re.compile(r"[^\w-]+")
_DASHES = re.compile(r"-{2,}")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")


def slug(name: str, fallback: str = "data") -> str:
    """Return a lower-case name of letters, digits, "-" and "_" for a dataset, group or file.

    `fallback` is returned if nothing remains of `name`.
    """
    text = unicodedata.normalize("NFC", name).lower()
    text = _DASHES.sub("-", _NOT_WORD.sub("-", text))
    text = _shorten(text, SLUG_BYTES).strip("-")
    return _not_a_device(text) or fallback


def split_proposal(proposal: str) -> tuple[str, str]:
    """Split a proposed name into slugs of its group and its dataset.

    "events/table" gives ("events", "table"); either may be empty.
    """
    parts = [part for part in (slug(part, "") for part in proposal.split("/")) if part]
    if not parts:
        return "", ""
    return "/".join(parts[:-1]), parts[-1]


def proposed_names(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return the slugs of dataset and file that a stream's `data_name_proposal` "A/B" asks for.

    Both are empty without a slash in it; only the first slash counts, and A never makes a group.
    """
    proposal = metadata.get("data_name_proposal")
    if not isinstance(proposal, str) or "/" not in proposal:
        return "", ""
    dataset, _, stem = proposal.partition("/")
    return slug(dataset, ""), slug(stem, "")


def name_from_source(metadata: Mapping[str, Any], fallback: str = "") -> str:
    """Return the name of a stream's dataset: as it proposes, or that of the module that sends."""
    source = str(metadata.get("src_mod_name") or fallback)
    return proposed_names(metadata)[0] or slug(source)


def folder_part(text: str) -> str:
    """Return a subject's or experiment's name as a safe folder name; "" if nothing remains."""
    part = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    return _not_a_device(_shorten(part, PART_BYTES).strip(" ."))


def numbered(name: str) -> Iterator[str]:
    """Yield the name, then "name-2", "name-3", …, from which the first free one is chosen."""
    yield name
    for number in range(2, 100_000):
        yield f"{name}-{number}"


def check_file_name(file_name: str) -> str:
    """Return the name of a file in a dataset unchanged.

    Raises:
        StorageError: It contains a folder, is longer than 255 bytes, or is reserved.
    """
    reserved = file_name in {"", ".", "..", "manifest.toml", "attributes.toml"}
    if reserved or "\0" in file_name or "/" in file_name or "\\" in file_name:
        raise StorageError(
            f"{file_name!r} is not a name for a file in a dataset",
            remedy="Use a plain file name without folders, e.g. 'data.csv'.",
        )
    if len(file_name.encode()) > 255:
        raise StorageError(
            f"the file name {file_name[:40]!r}… is longer than 255 bytes",
            remedy="Use a shorter file name.",
        )
    return file_name


def _shorten(text: str, limit: int) -> str:
    return text.encode(errors="ignore")[:limit].decode(errors="ignore")


def _not_a_device(name: str) -> str:
    # Recordings are copied to Windows machines, where a folder cannot be named "aux".
    return f"{name}_" if _WINDOWS_DEVICES.fullmatch(name) else name
