"""Repair of the data of one dataset, by its kind.

Each function returns the attributes to write, and texts of what it did. Intact data is not changed.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from mlink.errors import StorageError
from mlink.recording.care.checks import (
    UNREADABLE_STORE,
    count_rows,
    is_half_made,
    present,
    whole_rows_size,
)
from mlink.recording.care.journal_check import cut_journals
from mlink.recording.signals import load_json
from mlink.recording.video_file import is_finished, probe, remux
from mlink.storage.failures import storage_errors
from mlink.storage.manifest import MANIFEST, write_toml
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync_reader import read_tsync
from mlink.storage.tsync_repair import cut_tsync

_KEPT_BYTES = 2000
"""Bytes of a torn row that are kept in the log of the repair."""

_ROWS = '"data":['
"""What the rows of a JSON file follow."""

Repaired = tuple[dict[str, Any], list[str]]


def repair_video(unit: UnitFolder) -> Repaired:
    """Close the video files, and cut off times whose pictures were lost in the crash.

    The times that are cut off are kept in the attribute `times_without_picture_usec`.

    Raises:
        StorageError: A file cannot be read or written, or a copied picture differs.
    """
    done: list[str] = []
    without: list[int] = list(unit.attributes.get("times_without_picture_usec", []))
    frames = 0
    parts = present(unit)
    tsync_names = unit.tsync_names
    abandoned: list[str] = []
    for at, name in enumerate(parts):
        path = unit.path / name
        found = probe(path)
        if not found.finished and not found.frames:
            abandoned.append(name)
            done.append(f"{name} contains no pictures; removed it from the manifest")
        elif not found.finished:
            remux(path, draft := path.with_name(f".{name}.tmp"))
            with storage_errors(path):
                draft.replace(path)
            done.append(
                f"{name}: copied {found.frames} pictures into a closed file with length and index"
            )
            assert is_finished(path)
        frames += found.frames
        if at < len(tsync_names) and len(parts) == len(tsync_names):
            tsync = unit.path / tsync_names[at]
            if name in abandoned:
                without += [int(time) for time in read_tsync(tsync).times[:, 1]]
                abandoned.append(tsync.name)
            elif not found.problem and (cut := cut_tsync(tsync, found.frames)):
                without += cut
                done.append(f"{tsync.name}: cut off {len(cut)} time(s) without a picture")
    attributes: dict[str, Any] = {"frame_count": frames}
    if without:
        attributes["times_without_picture_usec"] = without
    if abandoned:
        attributes["abandoned_files"] = abandoned
        _leave_out(unit, abandoned)
    return attributes, done


def repair_table(unit: UnitFolder) -> Repaired:
    """Cut off a torn last row.

    Raises:
        StorageError: The table cannot be read to its end, or not be written.
    """
    done: list[str] = []
    rows = 0
    for name in present(unit):
        path = unit.path / name
        found, torn, problem = count_rows(path)
        if problem:
            raise StorageError(f"{name} cannot be read to its end: {problem}")
        rows += max(0, found - bool(unit.attributes.get("has_header", True)))
        if torn:
            with storage_errors(path), path.open("rb+") as file:
                whole = whole_rows_size(file.read())
                file.seek(whole)
                cut = file.read()
                file.truncate(whole)
                os.fsync(file.fileno())
            done.append(f"{name}: cut off a torn row of {torn} bytes: {cut[:_KEPT_BYTES]!r}")
    return {"row_count": rows}, done


def repair_json(unit: UnitFolder) -> Repaired:
    """Close a torn file after its last complete row.

    A file that is torn within its head is removed from the manifest: it has no row.

    Raises:
        StorageError: It cannot be written.
    """
    done: list[str] = []
    abandoned: list[str] = []
    rows = 0
    for name in present(unit):
        path = unit.path / name
        try:
            content = load_json(path)
        except ValueError:
            if _ROWS not in (text := _readable_text(path)):
                abandoned.append(name)
                continue
            content = _rewrite_json(path, text)
            done.append(f"{name}: closed after its last complete row")
        rows += len(content.get("data", []))
    return _without(unit, abandoned, "rows", {"row_count": rows}, done)


def repair_zarr(unit: UnitFolder) -> Repaired:
    """Shorten the arrays of a store to its complete samples.

    A store that was killed while it was created is removed from the manifest: it has no samples.

    Raises:
        StorageError: The zarr library is not installed, or a store cannot be opened.
    """
    try:
        import zarr
    except ImportError as error:
        raise StorageError(
            "the zarr library is not installed", remedy="pip install 'mlink-hil[zarr]'"
        ) from error
    done: list[str] = []
    abandoned: list[str] = []
    samples = 0
    for name in present(unit):
        if is_half_made(unit.path / name):
            abandoned.append(name)
            continue
        try:
            group = zarr.open_group(zarr.storage.LocalStore(unit.path / name), mode="r+")
            arrays = dict(group.arrays())
            shortest = min((int(array.shape[0]) for array in arrays.values()), default=0)
            count = int(group.attrs.get("sample_count", shortest))
        except UNREADABLE_STORE as error:
            raise StorageError(f"{name} cannot be opened: {error}") from error
        samples += count
        for key, array in arrays.items():
            if (surplus := int(array.shape[0]) - count) > 0:
                array.resize((count, *array.shape[1:]))
                done.append(f"{name}: cut off {surplus} incomplete sample(s) of {key}")
    return _without(unit, abandoned, "samples", {"sample_count": samples}, done)


def repair_journal(unit: UnitFolder) -> Repaired:
    """Cut off incomplete records; a file without any record is removed from the manifest."""
    attributes, done, abandoned = cut_journals(unit)
    if abandoned:
        attributes["abandoned_files"] = abandoned
        _leave_out(unit, abandoned)
    return attributes, done


def _rewrite_json(path: Path, text: str) -> dict[str, Any]:
    head = text.find(_ROWS) + len(_ROWS)
    for candidate in (text, text[: text.rfind("]") + 1] + "]}", text[:head] + "]}"):
        try:
            content: dict[str, Any] = json.loads(candidate)
            break
        except ValueError:
            continue
    else:
        raise StorageError(f"{path.name} ends within its head: no row can be read")
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    if path.name.endswith(".zst"):
        import zstandard

        data = zstandard.ZstdCompressor().compress(data)
    draft = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return content


def _readable_text(path: Path) -> str:
    data = path.read_bytes()
    if not path.name.endswith(".zst"):
        return data.decode(errors="ignore")
    import zstandard

    text = bytearray()
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            while piece := reader.read(1 << 16):
                text += piece
    except zstandard.ZstdError:
        pass  # the torn end; the text before it is used
    return text.decode(errors="ignore")


def _without(
    unit: UnitFolder, empty: list[str], what: str, attributes: dict[str, Any], done: list[str]
) -> Repaired:
    """Return the result of a repair, without files in which there was nothing yet."""
    if empty:
        attributes["abandoned_files"] = empty
        done += [f"{name} contains no {what}; removed it from the manifest" for name in empty]
        _leave_out(unit, empty)
    return attributes, done


def _leave_out(unit: UnitFolder, names: list[str]) -> None:
    manifest = dict(unit.manifest)
    for role in ("data", "data_aux"):
        tables = manifest.get(role, [])
        kept = []
        for table in [tables] if isinstance(tables, dict) else tables:
            parts = [part for part in table.get("parts", []) if part.get("fname") not in names]
            if parts:
                kept.append({**table, "parts": parts})
        if not kept:
            manifest.pop(role, None)
        else:
            manifest[role] = kept[0] if role == "data" else kept
    write_toml(unit.path / MANIFEST, manifest)
