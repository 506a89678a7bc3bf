"""Repair: closes a recording that a crash left open, and never changes intact data.

It may rewrite: a video that was not closed (its pictures are copied and compared before the copy
replaces the old file), the torn end of a tsync file, a table or a journal, manifests and
attributes. All changes are reported and logged in `repair.log`. A second repair changes nothing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from mlink.errors import StorageError
from mlink.recording.care.data_repair import (
    repair_journal,
    repair_json,
    repair_table,
    repair_video,
    repair_zarr,
)
from mlink.recording.care.in_use import refuse_if_in_use
from mlink.recording.care.verify import VerifyReport, verify_recording
from mlink.recording.progress import Progress, quiet, with_progress
from mlink.storage.account import read_account, recorded_by
from mlink.storage.edl import UNCLOSED
from mlink.storage.failures import UNEXPECTED, damage_of, printable
from mlink.storage.inside import RecordingFile
from mlink.storage.manifest import (
    ATTRIBUTES,
    MANIFEST,
    file_type_of,
    make_entry,
    natural_order,
    now,
    plain_attributes,
    read_toml,
    unit_manifest,
    write_toml,
)
from mlink.storage.tree import (
    KEPT_SUFFIX,
    UnitFolder,
    collection_folder,
    not_a_file,
    read_unit,
    units_below,
)
from mlink.storage.tsync.repair import repair_tsync

LOG_FILE = "repair.log"
_LOG_BYTES = 1 << 20
_INDENT, _LEFT = "  ", "not repaired: "


class RepairReport(msgspec.Struct, kw_only=True):
    """Changes of a repair, and what it could not repair.

    `done` and `failed` are texts that start with the name of the dataset; `after` is the result of
    the verification after the repair.
    """

    path: str
    done: list[str] = []
    failed: list[str] = []
    """What could not be repaired, and why."""
    after: VerifyReport | None = None

    @property
    def ok(self) -> bool:
        """Whether the recording is intact now; what was lost is not to be repaired."""
        return not self.failed and self.after is not None and self.after.intact


def repair_recording(path: Path, *, progress: Progress = quiet) -> RepairReport:
    """Close and repair a recording.

    Args:
        path: Folder of the recording.
        progress: Called for each folder before it is repaired, and before it is verified.

    Raises:
        StorageError: The folder is not a recording, or a process still writes to it.
    """
    collection_folder(path)
    refuse_if_in_use(path)
    report = RepairReport(path=str(path.resolve()))
    root = collection_folder(path)
    _attempt(report, "", lambda: _remove_drafts(root, report))
    for unit in with_progress(progress, "repair", units_below(path), attrgetter("name")):
        _attempt(report, unit.name, lambda unit=unit: _repair_unit(root, unit, report))  # type: ignore[misc]
    report.after = verify_recording(path, progress=progress)
    _attempt(report, "", lambda: _close_collection(collection_folder(path), report))
    if report.done or (report.failed and report.failed != left_by_repair(path)):
        _attempt(report, "", lambda: _keep_log(path, report))
    if report.done:
        report.after = verify_recording(path, progress=progress)
    return report


def left_by_repair(path: Path) -> list[str]:
    """Return what the last repair of a recording could not repair, and why; empty without one."""
    try:
        log = collection_folder(path).file(LOG_FILE).read(_LOG_BYTES).decode(errors="replace")
    except StorageError:
        return []
    left: list[str] = []
    for line in log.splitlines():
        if not line.startswith(_INDENT):
            left = []  # another repair begins
        elif line.startswith(_INDENT + _LEFT):
            left.append(line.removeprefix(_INDENT + _LEFT))
    return left


def _repair_unit(root: UnitFolder, unit: UnitFolder, report: RepairReport) -> None:
    if unit.refused:
        raise StorageError(unit.problem)
    _remove_drafts(unit, report)
    if not unit.manifest:
        unit = _make_manifest(root, unit, report)
    if unit.type != "dataset":
        return
    unit.refuse_not_files()
    known = _attributes_of(unit)  # damaged ones cannot be written: nothing is changed then
    unit = _register_unknown_files(unit, report)
    for name in unit.tsync_names:
        if (file := unit.file(name)).exists():
            # Times that cannot be read do not keep a video from being closed.
            _attempt(report, unit.name, lambda file=file: _note(report, unit, repair_tsync(file)))  # type: ignore[misc]
    match unit.kind:
        case "video":
            changes, done = repair_video(unit)
        case "table":
            changes, done = repair_table(unit)
        case "json":
            changes, done = repair_json(unit)
        case "zarr":
            changes, done = repair_zarr(unit)
        case "journal":
            changes, done = repair_journal(unit)
        case _:
            return
    for text in done:
        _note(report, unit, text)
    source = recorded_by(known)
    sent = read_account(root.attributes).get((source.module, source.port)) if source else None
    if sent is not None and "items_lost" not in known:  # its recorder was killed
        changes["items_lost"] = sent.lost
    changed = {key: value for key, value in changes.items() if known.get(key) != value}
    if changed:
        write_toml(unit.file(ATTRIBUTES), known | plain_attributes(changed))
        _note(report, unit, f"wrote {', '.join(sorted(changed))} into {ATTRIBUTES}")


def _attributes_of(unit: UnitFolder) -> dict[str, Any]:
    """Return all attributes that are in the file; raises StorageError when they are damaged."""
    return read_toml(unit.file(ATTRIBUTES)) if ATTRIBUTES in unit.entries else {}


def _remove_drafts(unit: UnitFolder, report: RepairReport) -> None:
    for draft in unit.drafts:
        unit.file(draft).remove()
        _note(report, unit, f"removed the half-written {draft}")


def _make_manifest(root: UnitFolder, unit: UnitFolder, report: RepairReport) -> UnitFolder:
    """Write the manifest of a folder that has none or a damaged one."""
    inside = [name for name in unit.entries if not name.startswith(".")]
    if not inside:
        unit.path.rmdir()
        _note(report, unit, "removed the empty folder")
        return unit
    if MANIFEST in inside:
        kept = f"{MANIFEST}{KEPT_SUFFIX}"
        unit.file(MANIFEST).rename(kept)
        _note(report, unit, f"kept the damaged manifest as {kept}")
    folders = any(unit.folder.folder(name).file(MANIFEST).exists() for name in inside)
    kind = "group" if folders else "dataset"
    manifest = unit_manifest(kind, _id_of(root), now())
    write_toml(unit.file(MANIFEST), manifest)
    _note(report, unit, f"created a manifest of a {kind}")
    return read_unit(unit.path, unit.name)


def _id_of(root: UnitFolder) -> bytes:
    try:
        return uuid.UUID(str(root.manifest.get("collection_id"))).bytes
    except ValueError:
        raise StorageError(
            "the recording's manifest has no collection_id, which this one needs",
            remedy=f"Restore {MANIFEST} of the recording from a copy.",
        ) from None


def _register_unknown_files(unit: UnitFolder, report: RepairReport) -> UnitFolder:
    names = [
        name
        for name in unit.strangers
        if not name.endswith(KEPT_SUFFIX)
        and not not_a_file(unit.file(name))
        and not _removed_as_empty(unit.file(name), unit, report)
    ]
    if not names:
        return unit
    manifest = dict(unit.manifest)
    main = [name for name in names if not name.endswith(".tsync")]
    data, aux = unit.part_names("data"), unit.tsync_names
    if main and (not data or file_type_of(main[0]) == file_type_of(data[0])):
        manifest["data"] = _table(data + sorted(main, key=natural_order), unit.path)
    new_times = [name for name in names if name.endswith(".tsync")]
    times = aux + sorted(new_times, key=natural_order)
    if times and times != aux:
        manifest["data_aux"] = [_table(times, unit.path)]
    if manifest == unit.manifest:
        return unit
    write_toml(unit.file(MANIFEST), manifest)
    _note(report, unit, f"registered {', '.join(names)} in the manifest")
    return read_unit(unit.path, unit.name)


def _removed_as_empty(file: RecordingFile, unit: UnitFolder, report: RepairReport) -> bool:
    """Remove a file or store that has nothing in it: it was being created when the kill came."""
    if file.size() > 0:
        return False
    with file.folder.opened() as folder, suppress(OSError):
        # A folder with something in it is not removed.
        (os.unlink if file.exists() else os.rmdir)(file.name, dir_fd=folder)
        _note(report, unit, f"removed {file.name}, which is empty")
        return True
    return False


def _table(names: list[str], folder: Path) -> dict[str, Any]:
    entry = make_entry(names[0])
    entry.file_names[:] = names
    return entry.as_toml(folder) or {}


def _close_collection(root: UnitFolder, report: RepairReport) -> None:
    closed = "success" in root.attributes and root.attributes.get("failure_reason") != UNCLOSED
    if closed:
        return
    attributes = _attributes_of(root)
    attributes["success"] = False
    attributes["failure_reason"] = (
        "The run was killed, its machine stopped, or its disk was full; `mlink repair` closed its "
        "files."
    )
    attributes["repaired"] = datetime.now().astimezone().replace(microsecond=0)
    ends = [found.last_usec for found in (report.after.datasets if report.after else [])]
    known = [end for end in ends if end is not None]
    if known and "recording_length_msec" not in attributes:
        attributes["recording_length_msec"] = round(max(known) / 1000)
    write_toml(root.file(ATTRIBUTES), attributes)
    _note(
        report,
        root,
        "wrote the outcome of the run: failed, with the last recorded time as its length",
    )


def _attempt(report: RepairReport, name: str, action: Callable[[], None]) -> None:
    # A dataset that cannot be repaired must not prevent the repair of the others.
    try:
        action()
    except UNEXPECTED as error:
        text = error.message if isinstance(error, StorageError) else damage_of(error)
        text = printable(f"{name}: {text}" if name else text)
        if text not in report.failed:
            report.failed.append(text)


def _note(report: RepairReport, unit: UnitFolder, text: str) -> None:
    if text:
        report.done.append(printable(f"{unit.name}: {text}" if unit.name else text))


def _keep_log(path: Path, report: RepairReport) -> None:
    lines = [f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} mlink repair", *report.done]
    lines += [_LEFT + text for text in report.failed]
    collection_folder(path).file(LOG_FILE).append(f"\n{_INDENT}".join(lines) + "\n")
