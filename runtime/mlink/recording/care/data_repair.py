"""Repair of the data of one dataset, by its kind.

Each function returns the attributes to write, and texts of what it did. Intact data is not changed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from mlink.errors import StorageError
from mlink.recording.care.checks import is_half_made, present, table_state
from mlink.recording.care.journal_check import cut_journals
from mlink.recording.care.json_check import examine_json
from mlink.recording.json_rows import inflated
from mlink.recording.video_file import is_finished, probe, remux
from mlink.recording.zarr_file import UNREADABLE_STORE, opened_store
from mlink.storage.failures import reason_of, storage_errors
from mlink.storage.inside import RecordingFile
from mlink.storage.manifest import MANIFEST, write_toml
from mlink.storage.tree import KEPT_SUFFIX, UnitFolder, written_in
from mlink.storage.tsync.reader import scan_tsync
from mlink.storage.tsync.repair import cut_tsync, times_from

_KEPT_BYTES = 2000
"""Bytes of a torn row that are kept in the log of the repair."""

_KEPT_TIMES = 10_000
"""Most times without a picture that are kept as attributes; a crash leaves a few seconds' worth."""

Repaired = tuple[dict[str, Any], list[str]]


def repair_video(unit: UnitFolder) -> Repaired:
    """Close the video files, and cut off times whose pictures were lost in the crash.

    The times that are cut off are kept in the attribute `times_without_picture_usec`; the whole
    file, under another name, if they are more than a crash explains.

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
        file = unit.file(name)
        found = probe(file)
        if not found.finished and not found.frames:
            abandoned.append(name)
            done.append(f"{name} contains no pictures; removed it from the manifest")
        elif not found.finished:
            remux(file, file)
            done.append(
                f"{name}: copied {found.frames} pictures into a closed file with length and index"
            )
            assert is_finished(file)
        frames += found.frames
        if at < len(tsync_names) and len(parts) == len(tsync_names):
            tsync = unit.file(tsync_names[at])
            if name in abandoned:
                without += times_from(tsync, 0, _KEPT_TIMES)[1]
                abandoned.append(tsync.name)
            elif scan_tsync(tsync, salvage=True).problem:
                continue  # it has been reported: it could not be repaired
            elif not found.problem:
                kept = tsync.name + KEPT_SUFFIX
                cut, times = cut_tsync(tsync, found.frames, most=_KEPT_TIMES, kept_as=kept)
                without += times
                if cut:
                    text = f"; all are kept in {kept}" if cut > _KEPT_TIMES else ""
                    done.append(f"{tsync.name}: cut off {cut} time(s) without a picture{text}")
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
        StorageError: The table is damaged within its rows, or cannot be read or written.
    """
    done: list[str] = []
    rows = 0
    for name in present(unit):
        state = table_state(unit, name)
        if state.damaged:
            raise StorageError(f"{name} is damaged, and nothing was changed: {state.damage}")
        rows += max(0, state.rows - bool(unit.attributes.get("has_header", True)))
        if state.torn_bytes:
            table = unit.file(name)
            with table.open(writable=True) as file, storage_errors(table.path):
                file.seek(state.whole_bytes)
                kept = file.read(_KEPT_BYTES)
                file.truncate(state.whole_bytes)
                os.fsync(file.fileno())
            done.append(f"{name}: cut off a torn row of {state.torn_bytes} bytes: {kept!r}")
    return {"row_count": rows}, done


def repair_json(unit: UnitFolder) -> Repaired:
    """Close a torn file after its last complete row.

    A file that is torn within its head is removed from the manifest: it has no row.

    Raises:
        StorageError: It is damaged within its rows, or cannot be written.
    """
    done: list[str] = []
    abandoned: list[str] = []
    rows = 0
    for name in present(unit):
        state = examine_json(unit.file(name), written_in(unit, "row_count"))
        if state.damage:
            raise StorageError(f"{name} {state.damage}; nothing was changed")
        if state.torn and not state.kept:
            abandoned.append(name)
            continue
        if state.torn:
            _close_json(unit.file(name), state.kept)
            done.append(f"{name}: closed after its last complete row")
        rows += state.rows
    return _without(unit, abandoned, "rows", {"row_count": rows}, done)


def repair_zarr(unit: UnitFolder) -> Repaired:
    """Shorten the arrays of a store to its complete samples.

    A store that was killed while it was created is removed from the manifest: it has no samples.

    Raises:
        StorageError: The zarr library is not installed, or a store cannot be opened.
    """
    done: list[str] = []
    abandoned: list[str] = []
    samples = 0
    for name in present(unit):
        if is_half_made(unit, name):
            abandoned.append(name)
            continue
        try:
            with opened_store(unit.file(name), writable=True) as (group, arrays):
                shortest = min((int(array.shape[0]) for array in arrays.values()), default=0)
                count = int(group.attrs.get("sample_count", shortest))
                if written_in(unit, "sample_count") == count:
                    arrays = {}  # it was closed with these: what is longer is no unfinished end
                for key, array in arrays.items():
                    if (surplus := int(array.shape[0]) - count) > 0 <= count:
                        array.resize((count, *array.shape[1:]))
                        done.append(f"{name}: cut off {surplus} incomplete sample(s) of {key}")
        except ImportError as error:
            raise StorageError(
                "the zarr library is not installed", remedy="pip install 'mlink-hil[zarr]'"
            ) from error
        except UNREADABLE_STORE as error:
            raise StorageError(f"{name} cannot be opened: {reason_of(error)}") from error
        samples += count
    return _without(unit, abandoned, "samples", {"sample_count": samples}, done)


def repair_journal(unit: UnitFolder) -> Repaired:
    """Cut off incomplete records; a file without any record is removed from the manifest."""
    attributes, done, abandoned = cut_journals(unit)
    if abandoned:
        attributes["abandoned_files"] = abandoned
        _leave_out(unit, abandoned)
    return attributes, done


def _close_json(file: RecordingFile, kept: int) -> None:
    """Replace a torn file by its first bytes of text, and the end of an object with rows."""
    with ExitStack() as stack:
        out: Any = stack.enter_context(file.replacement())
        if file.name.endswith(".zst"):
            import zstandard

            out = stack.enter_context(zstandard.ZstdCompressor().stream_writer(out, closefd=False))
        for piece in inflated(file):
            out.write(piece[:kept])
            kept -= len(piece)
            if kept <= 0:
                break
        out.write(b"]}")


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
    write_toml(unit.file(MANIFEST), manifest)
