"""Finds what a module of a bench recorded: datasets have the name of the source, not of it."""

from __future__ import annotations

from pathlib import Path

from mlink.storage.account import recorded_by
from mlink.storage.tree import UnitFolder, units_below


def has_recorded(recording: Path | str, module: str) -> bool:
    """Return whether this recorder has made a dataset, or there is one of this name."""
    return bool(_units(recording, module))


def folder_of(recording: Path | str, module: str) -> Path:
    """Return the folder of the dataset that this recorder wrote, or of this name."""
    return _unit(recording, module).path


def file_of(recording: Path | str, module: str) -> Path:
    """Return the first file of data that this recorder wrote, or of the dataset of this name."""
    unit = _unit(recording, module)
    return unit.path / unit.part_names("data")[0]


def _units(recording: Path | str, module: str) -> list[UnitFolder]:
    return [
        unit
        for unit in units_below(Path(recording))
        if (source := recorded_by(unit.attributes)) and module in (source.module, unit.name)
    ]


def _unit(recording: Path | str, module: str) -> UnitFolder:
    found = _units(recording, module)
    assert len(found) == 1, (module, [unit.name for unit in units_below(Path(recording))])
    return found[0]
