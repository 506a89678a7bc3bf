"""`manifest.toml` and `attributes.toml`: their content, and how they are written atomically."""

from __future__ import annotations

import errno
import itertools
import math
import mimetypes
import os
import re
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from mlink.errors import StorageError
from mlink.metadata import MetaSize
from mlink.storage.failures import storage_errors
from mlink.storage.inside import Source, as_file
from mlink.storage.limits import TOML_SHARE, read_limit
from mlink.storage.naming import check_file_name

MANIFEST = "manifest.toml"
ATTRIBUTES = "attributes.toml"
FORMAT_VERSION = "1"

_MEDIA_TYPES = {
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mp4": "video/mp4",
    "avi": "video/x-msvideo",
    "csv": "text/csv",
    "csv.zst": "text/csv",
    "json": "application/json",
    "json.zst": "application/zstd",
    "toml": "application/toml",
}
_OWN_TYPES = {"tsync", "zarr"}
"""File types that readers recognise by extension; a media type would mislead them."""
_COMPRESSIONS = {"zst", "gz", "xz", "bz2"}

_temporary = itertools.count()
_KEY_PARTS = 100
_TEXT = re.compile(
    r'''"""(?:[^\\]|\\.)*?(?:"""|\Z)|"(?:[^"\\\n]|\\.)*"?|'''
    r"""'''.*?(?:'''|\Z)|'[^'\n]*'?|\#[^\n]*""",
    re.DOTALL,
)
"""Texts and comments of TOML."""
_BETWEEN_KEYS = re.compile(r"[,=\n\[\]{}]")


@dataclass(slots=True)
class DataEntry:
    """Main or auxiliary data of a dataset: one file, or several parts in order."""

    key: str = ""
    summary: str = ""
    file_names: list[str] = field(default_factory=list)
    pattern: str = ""
    """A glob, evaluated when the dataset is saved; "" when the files are named."""

    def resolve(self, folder: Path) -> list[str]:
        """Return the names of its files in `folder`, in order of their parts."""
        if not self.pattern:
            return list(self.file_names)
        found = {path.name for path in folder.glob(self.pattern) if path.is_file()}
        return sorted(found - {MANIFEST, ATTRIBUTES}, key=natural_order)

    def as_toml(self, folder: Path) -> dict[str, Any] | None:
        """Return its table for the manifest; None while it has no file."""
        names = self.resolve(folder)
        if not names:
            return None
        file_type = file_type_of(names[0])
        table: dict[str, Any] = {}
        media_type = media_type_of(names[0])
        if media_type:
            table["media_type"] = media_type
        if file_type:
            table["file_type"] = file_type
        if self.summary:
            table["summary"] = self.summary
        if len(names) == 1:
            table["parts"] = [{"fname": names[0]}]
        else:
            table["parts"] = [{"index": i, "fname": name} for i, name in enumerate(names)]
        return table


def make_entry(
    file_name: str, *, key: str = "", summary: str = "", scan: bool = False
) -> DataEntry:
    """Return the entry of a data file.

    Args:
        file_name: Its name, or with `scan` a glob for its parts.
        key: Identifies auxiliary data within its dataset.
        summary: Description for people.
        scan: Whether `file_name` is a glob, evaluated when the dataset is saved.

    Raises:
        StorageError: The name contains a folder, is too long or is reserved.
    """
    check_file_name(file_name)
    if scan:
        return DataEntry(key=key, summary=summary, pattern=file_name)
    return DataEntry(key=key, summary=summary, file_names=[file_name])


def file_type_of(file_name: str) -> str:
    """Return the extension in lower case without its dot; "" if there is none.

    Compressed files keep both parts: "csv.zst".
    """
    suffixes = [suffix[1:].lower() for suffix in Path(file_name).suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSIONS:
        return ".".join(suffixes[-2:])
    return suffixes[-1] if suffixes else ""


def media_type_of(file_name: str) -> str:
    """Return the MIME type by which readers choose a loader; "" if they go by the extension."""
    file_type = file_type_of(file_name)
    if file_type in _OWN_TYPES:
        return ""
    if file_type in _MEDIA_TYPES:
        return _MEDIA_TYPES[file_type]
    return mimetypes.guess_type(f"x.{file_type}")[0] or ""


def unit_manifest(unit_type: str, collection_id: bytes, time_created: datetime) -> dict[str, Any]:
    """Return the keys that every manifest has.

    Args:
        unit_type: "collection", "group" or "dataset".
        collection_id: 16 bytes that identify the run.
        time_created: Local time with its offset.
    """
    return {
        "format_version": FORMAT_VERSION,
        "type": unit_type,
        "time_created": time_created,
        "collection_id": str(uuid.UUID(bytes=collection_id)),
    }


def now() -> datetime:
    """Return local time with its offset in whole seconds, as in manifests."""
    return datetime.now().astimezone().replace(microsecond=0)


def read_toml(source: Source) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        StorageError: The file is absent, unreadable or damaged.
    """
    file = as_file(source)
    data = file.read(read_limit() // TOML_SHARE)
    try:
        content = parse_toml(data.decode())
        _refuse_huge_numbers(content)
    except (ValueError, RecursionError) as error:  # also those of UTF-8 and of TOML
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise StorageError(
            f"{file} is damaged: {reason}",
            remedy="Restore the file from a copy; the data files beside it are untouched.",
        ) from error
    return content


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML that may be of a stranger.

    Raises:
        ValueError: It is no TOML, or has a key of more than 100 parts: the time that tomllib takes
            for a.b.c… grows with the square of its parts.
        RecursionError: It is nested too deep.
    """
    without_texts = _TEXT.sub("", text)
    if any(piece.count(".") > _KEY_PARTS for piece in _BETWEEN_KEYS.split(without_texts)):
        raise ValueError(f"a key has more than {_KEY_PARTS} parts")
    return tomllib.loads(text)


def _refuse_huge_numbers(content: dict[str, Any]) -> None:
    waiting: list[Any] = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("a number has more than 64 bits")


def write_toml(source: Source, content: Mapping[str, Any]) -> None:
    """Replace a TOML file atomically: after a crash it has its old or its new content.

    Raises:
        StorageError: The disk or its permissions do not allow it.
    """
    with as_file(source).replacement() as draft:
        tomli_w.dump(content, draft)


def write_toml_once(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a TOML file unless it exists.

    Returns:
        Whether this call made the file; with several processes at once, True for one of them.

    Raises:
        StorageError: The disk or its permissions do not allow it.
    """
    with storage_errors(path):
        draft = _write_draft(path, content)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
                raise
            return _write_exclusively(path, draft.read_bytes())
        finally:
            draft.unlink(missing_ok=True)
    return True


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Convert attributes to values that TOML supports; None values are left out.

    Raises:
        StorageError: A value has no equivalent in TOML.
    """
    return {
        str(key): plain_value(str(key), value)
        for key, value in attributes.items()
        if value is not None
    }


def plain_value(key: str, value: Any) -> Any:
    """Convert an attribute's value to one that TOML supports.

    Sizes become tables of width and height, arrays lists, durations seconds, and integers beyond
    64 bits text.

    Args:
        key: Name of the attribute, for messages.
        value: The value, nested at will.

    Raises:
        StorageError: The value has no equivalent in TOML.
    """
    if isinstance(value, MetaSize):
        return {"width": value.width, "height": value.height}
    if isinstance(value, np.generic):
        return plain_value(key, value.item())
    if isinstance(value, np.ndarray):
        return plain_value(key, value.tolist())
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return plain_attributes(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(key, item) for item in value if item is not None]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, bool | float | datetime | date | time):
        return value
    if isinstance(value, int):
        # TOML's integers have 64 bits; a larger one is stored as text, not lost.
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Path | uuid.UUID):
        return str(value)
    raise StorageError(
        f"attribute '{key}' cannot be stored: {type(value).__name__} is not a supported type",
        remedy="Use text, numbers, true/false, dates, or lists and dicts of these.",
    )


def _write_draft(path: Path, content: Mapping[str, Any]) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}-{next(_temporary)}.tmp")
    try:
        with draft.open("xb") as file:
            tomli_w.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _write_exclusively(path: Path, data: bytes) -> bool:
    # For file systems without hard links (exFAT sticks): a single small write is nearly atomic.
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def natural_order(name: str) -> list[tuple[float, str]]:
    """Return a sort key by which "video_2" comes before "video_10"."""
    key: list[tuple[float, str]] = []
    for is_digit, group in itertools.groupby(name, str.isdecimal):
        text = "".join(group)
        number = text.lstrip("0") if is_digit else ""
        key.append((float(len(number)), number) if is_digit else (math.inf, text))
    return key
