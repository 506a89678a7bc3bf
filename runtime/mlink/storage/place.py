"""Where a recording goes: its folders below OUT, and its names, as a bench sets them.

[storage]
order = ["subject-id", "time", "experiment-id"]
experiment_id = "trial-{n}"
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.naming import folder_part, numbered

DEFAULT_ORDER = ("subject-id", "time", "experiment-id")
"""Folders of a recording below OUT, outermost first."""

_ORDER_WORDS = {**{word: word for word in DEFAULT_ORDER},
                "subject": "subject-id", "experiment": "experiment-id"}  # fmt: skip
_ATTEMPTS = 100
_QUALITIES = """amber arctic bold brave brief bright brisk calm clear clever coral cosmic
crisp daring dusky eager early fair fleet gentle glad golden grand happy hardy honest humble
indigo jolly keen kind lively loyal lucid lucky mellow merry mighty misty modest neat nimble
noble olive patient placid plain proud quick quiet ready royal sandy sharp silent silver
smart snowy solid spry steady sunny swift tidy"""
_ANIMALS = """adder badger beaver bison bittern bobcat camel carp condor coyote crane
cricket curlew dingo dipper dolphin dormouse dove eagle egret ermine falcon ferret finch fox
gecko gibbon goose grouse hare hawk heron ibex jackal jay kestrel kiwi lark lemur linnet
lizard lynx marmot marten mole moose newt orca osprey otter owl oyster panda perch pika
plover puffin quail raven robin seal shrew stoat tern"""


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where runs of a bench are recorded: the options of Syntalos, by its names."""

    order: tuple[str, ...] = DEFAULT_ORDER
    """Folders below OUT, outermost first; omit those you do not want."""
    experiment_id: str = ""
    """Name of the recording; "" is the bench's. `{n}` is the next number that is free in the
    folder, `{time}` the clock time (150405)."""
    clock_time_in_dir: bool = False
    """Whether the date has the clock time too: 2026-11-30T1504."""
    flat_root: bool = False
    """Whether the folders are one: m7_2026-11-30_maze."""
    add_moniker: bool = False
    """Whether the recording gets a pronounceable nickname, made of its id."""

    def but(self, given: Mapping[str, Any]) -> Storage:
        """Return the same with other values, where they are not None; empty names are left out."""
        changes = {key: value for key, value in given.items() if value is not None}
        if "order" in changes:
            changes["order"] = tuple(word for word in changes["order"] if word)
        return msgspec.structs.replace(self, **changes)

    def refuse_wrong_order(self) -> None:
        """Check the names in `order`.

        Raises:
            StorageError: One is unknown or there twice.
        """
        for number, word in enumerate(self.order):
            what = "" if word in _ORDER_WORDS else "is not a folder of a recording's path"
            if what or word in self.order[:number]:
                raise StorageError(
                    f"'{word}' {what or 'is in the order twice'}",
                    remedy=f"Use any of: {', '.join(DEFAULT_ORDER)}.",
                )


def moniker(collection_id: bytes) -> str:
    """Return a nickname for a recording, the same for the same id: "brave-otter"."""
    first, second = hashlib.blake2b(collection_id, digest_size=2).digest()
    qualities, animals = _QUALITIES.split(), _ANIMALS.split()
    return f"{qualities[first % len(qualities)]}-{animals[second % len(animals)]}"


def recording_path(
    out: Path,
    storage: Storage,
    subject: str = "",
    experiment: str = "",
    when: datetime | None = None,
    *,
    runs: int = 1,
    run: int = 1,
) -> tuple[Path, str]:
    """Create the folder of a new recording; an existing one is never used.

    Args:
        out: Folder below which it is created.
        storage: Its parent folders and itself.
        subject: Name of the subject, "" for none.
        experiment: Name of the experiment, "" for none; may have `{n}` and `{time}`.
        when: Local time, by default now.
        runs: How many runs there will be: from 10 on `{n}` is 01, from 100 on 001.
        run: Which of them this is; `{n}` is no less.

    Returns:
        The folder, and the name of the experiment without placeholders.

    Raises:
        StorageError: A name in `order` is unknown or `{n}` has no place in it, or the folder cannot
            be created.
    """
    storage.refuse_wrong_order()
    when = when or datetime.now().astimezone()
    clock = when.strftime("%H%M%S")
    values = {
        "subject-id": folder_part(subject),
        "time": when.strftime("%Y-%m-%dT%H%M" if storage.clock_time_in_dir else "%Y-%m-%d"),
        "experiment-id": folder_part(experiment),
    }
    parts = [values[_ORDER_WORDS[word]] for word in storage.order]
    parts = [part for part in parts if part] or ["recording"]
    if storage.flat_root:
        parts = [folder_part("_".join(parts))]
    folder, number = out, ""
    with storage_errors(out, "create a recording in"):
        for part in parts[:-1]:
            if "{n}" in part:
                number = _next(folder, part, runs, run)
            name = part.replace("{n}", number).replace("{time}", clock)
            folder = _folder_for_recordings(folder, name)
        if "{n}" in parts[-1]:
            folder, number = _numbered_folder(folder, parts[-1], clock, runs, run)
        else:
            folder = _new_folder(folder, parts[-1].replace("{time}", clock))
    return folder, experiment.replace("{n}", number or str(run)).replace("{time}", clock)


def _next(parent: Path, part: str, runs: int, run: int) -> str:
    """Return the number after the largest one in the names that a template has in a folder."""
    literal = re.escape(part).replace(re.escape("{time}"), r"\d{6}").split(re.escape("{n}"))
    name = re.compile(rf"{literal[0]}(?P<n>\d{{1,9}}){'(?P=n)'.join(literal[1:])}", re.ASCII)
    folders = parent.iterdir() if parent.is_dir() else ()
    found = (int(match[1]) for each in folders if (match := name.fullmatch(each.name)))
    number = max(run, max(found, default=0) + 1)
    return f"{number:0{1 + (runs >= 10) + (runs >= 100)}d}"


def _numbered_folder(parent: Path, part: str, clock: str, runs: int, run: int) -> tuple[Path, str]:
    for _ in range(_ATTEMPTS):
        number = _next(parent, part, runs, run)
        folder = parent / part.replace("{n}", number).replace("{time}", clock)
        if _make(folder):  # else another run was quicker
            return folder, number
    raise StorageError(f"{parent} changes all the time: no number is free", remedy="Run again.")


def _folder_for_recordings(parent: Path, name: str) -> Path:
    # Readers refuse a recording inside the folder of another one.
    for candidate in numbered(name):
        folder = parent / candidate
        if not (folder / "manifest.toml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    raise AssertionError("unreachable")


def _new_folder(parent: Path, name: str) -> Path:
    for candidate in numbered(name):
        if _make(parent / candidate):
            return parent / candidate
    raise StorageError(
        f"there are too many recordings named {name} in {parent}",
        remedy="Choose another name with --name NAME.",
    )


def _make(folder: Path) -> bool:
    """Create a folder and those above it; return whether it is new.

    A run that leaves no recording may just remove those above it.
    """
    for attempt in range(_ATTEMPTS):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            return False
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return True
    raise AssertionError("unreachable")
