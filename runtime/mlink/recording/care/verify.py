"""Verification: finds missing, damaged and unfinished parts of a recording."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec

from mlink.recording.care.checks import Checked, check_table, check_zarr, missing
from mlink.recording.care.completeness import what_is_missing
from mlink.recording.care.journal_check import check_journal
from mlink.recording.care.json_check import check_json
from mlink.recording.care.video_check import check_tsync_only, check_video
from mlink.recording.progress import Progress, quiet, with_progress
from mlink.storage.account import ACCOUNT, DATASETS, Delivery, left_elsewhere, read_account
from mlink.storage.edl import UNCLOSED
from mlink.storage.failures import UNEXPECTED, damage_of, printable
from mlink.storage.manifest import FORMAT_VERSION
from mlink.storage.tree import KEPT_SUFFIX, UnitFolder, collection_folder, units_below

_MOST_HINTS = 50
_LONGEST_HINT = 1000
Level = Literal["damage", "unfinished", "incomplete", "note"]


class Finding(msgspec.Struct, kw_only=True):
    """One damage, unfinished part or note."""

    dataset: str
    """Path of the dataset below the recording; "" for the recording itself."""
    level: Level
    """"damage": missing or wrong. "unfinished": left by a crash, `mlink repair` finishes it.
    "incomplete": the files are intact, but lack items that were sent to the dataset, or all of it.
    "note": worth knowing, nothing is wrong with the files."""
    text: str


class DatasetReport(msgspec.Struct, kw_only=True):
    """Contents of one dataset.

    Times are in µs of the master timer; what is None is unknown, or the kind does not have it.
    """

    name: str
    kind: str
    items: int | None = None
    """Number of frames, rows, samples, or records of a journal."""
    times: int | None = None
    """Number of times in its tsync files."""
    first_usec: int | None = None
    last_usec: int | None = None
    stop_usec: int | None = None
    """Master time at which a journal's module was asked to stop; None in a killed run."""


class VerifyReport(msgspec.Struct, kw_only=True):
    """Contents and findings of a recording."""

    path: str
    collection_id: str = ""
    closed: bool = True
    datasets: list[DatasetReport] = []
    findings: list[Finding] = []
    account: bool = True
    """Whether it is known what was sent to each dataset; False after a kill of the whole run, and
    when the run's account is missing or cannot be read."""
    hints: list[str] = []
    """What the run itself has stated of its data: in doubt, times that may be wrong, losses."""

    @property
    def intact(self) -> bool:
        """Whether no file is damaged or unfinished; items may be missing."""
        return not self.of_level("damage") and not self.of_level("unfinished")

    @property
    def ok(self) -> bool:
        """Whether the recording is complete and intact; notes do not count."""
        return all(finding.level == "note" for finding in self.findings)

    def of_level(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.findings if finding.level == level]


def verify_recording(
    path: Path, *, decode: bool = False, progress: Progress = quiet
) -> VerifyReport:
    """Check every file of a recording: checksums, counts, times, manifests.

    Args:
        path: Folder of the recording.
        decode: Also decode every picture, which finds damage inside a video, but is slow.
        progress: Called for each folder before it is checked.

    Raises:
        StorageError: The folder is not a recording.
    """
    root = collection_folder(path)
    report = VerifyReport(path=str(path.resolve()))
    report.collection_id = str(root.manifest.get("collection_id", ""))
    _check_root(root, report)
    account = read_account(root.attributes)
    report.account = ACCOUNT in root.attributes
    found = set()
    for unit in with_progress(progress, "verify", units_below(path), attrgetter("name")):
        found.add(unit.name)
        try:
            _check_unit(unit, report, account, decode=decode)
        except UNEXPECTED as error:
            _add(report, unit.name, "damage", damage_of(error))
    listed = root.attributes.get(DATASETS)
    for name in listed if isinstance(listed, list) else ():
        if name not in found:
            _add(report, str(name), "incomplete", "the dataset's folder is not there")
    if not report.datasets and report.closed:
        _add(report, "", "note", "it contains no data")
    if not report.account and report.closed:
        _add(report, "", "note", "the run's account is missing: what was sent is not known")
    return report


def _check_root(root: UnitFolder, report: VerifyReport) -> None:
    add = functools.partial(_add, report, "")
    if str(root.manifest.get("format_version")) != FORMAT_VERSION:
        add("damage", f"format version {root.manifest.get('format_version')} is unknown")
    try:
        uuid.UUID(report.collection_id)
    except ValueError:
        add("damage", f"collection_id '{report.collection_id}' is not a UUID")
    if "time_created" not in root.manifest:
        add("damage", "the manifest has no time_created, which readers require")
    if root.problem:
        add("damage", root.problem)
    reason = root.attributes.get("failure_reason", "")
    report.closed = "success" in root.attributes and reason != UNCLOSED
    if not report.closed:
        add("unfinished", "the outcome of the run is missing: it is still running, or was killed")
    elif not root.attributes["success"]:
        add("note", f"the run failed: {reason}")
    if isinstance(hints := root.attributes.get("hints"), list):
        report.hints = [printable(str(hint)[:_LONGEST_HINT]) for hint in hints[:_MOST_HINTS]]
    for host, why in left_elsewhere(root.written).items():
        text = f"{host}: its part is not in this recording ({why}): mlink gather {root.path}"
        report.hints.append(printable(text[:_LONGEST_HINT]))
    if root.drafts:
        add("unfinished", f"{len(root.drafts)} half-written file(s) are in the folder")


def _check_unit(
    unit: UnitFolder,
    report: VerifyReport,
    account: Mapping[tuple[str, str], Delivery],
    *,
    decode: bool,
) -> None:
    add = functools.partial(_add, report, unit.name)
    if unit.problem:
        level: Level = "damage" if unit.manifest or unit.refused else "unfinished"
        add(level, unit.problem)
        if not unit.manifest:
            return
    if unit.drafts:
        add("unfinished", f"{len(unit.drafts)} half-written file(s) are in the folder")
    if str(unit.manifest.get("collection_id")) != report.collection_id:
        add(
            "damage",
            f"the folder belongs to another recording ({unit.manifest.get('collection_id')})",
        )
    if unit.type == "group":
        return
    if unit.type != "dataset":
        add("damage", f"the type '{unit.type}' is unknown")
        return
    not_files = unit.not_files
    for text in not_files:
        add("damage", text)
    for name in missing(unit):
        add("damage", f"{name} is missing")
    for name in unit.strangers:
        if name.endswith(KEPT_SUFFIX):
            add("note", f"{name} was kept by a repair")
        else:
            add("unfinished", f"{name} is not listed in the manifest")
    found = DatasetReport(name=unit.name, kind=unit.kind)
    report.datasets.append(found)
    if not_files:
        return
    checked = _check_data(unit, decode=decode)
    found.items, found.times = checked.items, checked.times
    found.first_usec, found.last_usec = checked.first_usec, checked.last_usec
    found.stop_usec = checked.stop_usec
    for text in checked.damage:
        add("damage", text)
    for text in checked.unfinished:
        add("unfinished", text)
    for text in checked.notes:
        add("note", text)
    lacking = what_is_missing(unit, checked, account)
    report.account &= lacking is not None
    if lacking:
        add("incomplete", lacking)


def _check_data(unit: UnitFolder, *, decode: bool) -> Checked:
    match unit.kind:
        case "video":
            return check_video(unit, decode=decode)
        case "table":
            return check_table(unit)
        case "json":
            return check_json(unit)
        case "zarr":
            return check_zarr(unit)
        case "journal":
            return check_journal(unit)
    return check_tsync_only(unit)


def _add(report: VerifyReport, dataset: str, level: Level, text: str) -> None:
    report.findings.append(Finding(dataset=dataset, level=level, text=printable(text)))
