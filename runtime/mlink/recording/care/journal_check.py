"""Checks of journals, and removal of an incomplete end."""

from __future__ import annotations

import os
from typing import Any

from mlink.errors import StorageError
from mlink.recording.care.checks import Checked, present
from mlink.recording.journal.reading import COUNT
from mlink.recording.journal.state import JournalState, examine_journal
from mlink.storage.failures import storage_errors
from mlink.storage.tree import UnitFolder


def check_journal(unit: UnitFolder) -> Checked:
    """Count the records; find torn ends, damage, and times that decrease."""
    found = Checked(items=0)
    for name in present(unit):
        state = examine_journal(unit.file(name))
        _add(found, name, state)
        written = unit.attributes.get(COUNT)
        if state.damage or state.torn_bytes:
            continue
        if written is not None and written != found.items:
            found.damage.append(f"{found.items} records are there, {written} were written")
        elif state.stop_usec is None:
            found.notes.append(f"{name} ends before the module was asked to stop")
    return found


def cut_journals(unit: UnitFolder) -> tuple[dict[str, Any], list[str], list[str]]:
    """Cut off torn ends.

    Returns:
        Attributes to write, texts of what was done, and names of files without any record.

    Raises:
        StorageError: A part before the end is damaged; then nothing is changed.
    """
    done: list[str] = []
    empty: list[str] = []
    records = 0
    for name in present(unit):
        journal = unit.file(name)
        state = examine_journal(journal)
        if state.damage:
            raise StorageError(state.damage[0], remedy="Restore it from a copy, or replay without.")
        records += state.records
        if not state.whole_bytes:
            empty.append(name)
            done.append(f"{name} contains no records; removed it from the manifest")
        elif state.torn_bytes:
            with journal.open(writable=True) as file, storage_errors(journal.path):
                file.truncate(state.whole_bytes)
                os.fsync(file.fileno())
            done.append(f"{name}: cut off {state.torn_bytes} bytes of incomplete records")
    return {COUNT: records}, done, empty


def _add(found: Checked, name: str, state: JournalState) -> None:
    found.items = (found.items or 0) + state.records
    found.first_usec, found.last_usec = state.first_usec, state.last_usec
    found.stop_usec = state.stop_usec
    found.damage += state.damage
    if state.torn_bytes and not state.damage:
        found.unfinished.append(f"{name} ends with an incomplete record ({state.torn_bytes} bytes)")
    elif not state.whole_bytes and not state.damage:
        found.unfinished.append(f"{name} contains no records")
    if state.went_back:
        found.notes.append(
            f"{name}: {state.went_back} records are earlier than the one before, by "
            f"{state.most_back_usec} µs at most: threads of the module cause this"
        )
