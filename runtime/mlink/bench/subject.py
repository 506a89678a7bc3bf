"""The `[subject]` table of a bench: the animal or person of a run, for its recording and for NWB.

A file given by `--subject-file` has the same keys, below `[subject]` or at its top. A bench may
have a list instead, of tables `[[subject]]`, of which `--subject ID` takes one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from mlink.bench.file import Places, Problems, Table, convert, read_toml, shown
from mlink.errors import BenchError
from mlink.proposals import proposal

_LONGEST = 2000
"""Characters of a fact."""
_DURATION = r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
_AGE = re.compile(rf"{_DURATION}(/({_DURATION})?)?")
_WEIGHT = re.compile(r"\d+(\.\d+)? (kg|g|mg|ug|µg)")
_SEXES = {
    "m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O",
    "u": "U", "unknown": "U", "xx": "XX", "xo": "XO",
}  # fmt: skip


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a subject; "" is not known."""

    id: str = ""
    """Its name, and that of the folder of its recordings."""
    group: str = ""
    """The group of the study."""
    comment: str = ""
    """Any text."""
    age: str = ""
    """As ISO 8601 writes durations: "P90D", "P12W", "P2Y"; or a range of them, "P10W/P12W"."""
    date_of_birth: Any = ""
    """A date: 2026-08-31."""
    sex: str = ""
    """"M", "F", "O" (other) or "U" (unknown), or these words; of C. elegans "XX" or "XO"."""
    species: str = ""
    """Its Latin name, or its address in the NCBI taxonomy."""
    strain: str = ""
    """Of the species."""
    genotype: str = ""
    """As the lab writes it."""
    weight: str = ""
    """With unit: "25 g"."""
    description: str = ""
    """Any text, for NWB."""
    institution: str = ""
    """Where the run was made, for NWB."""
    lab: str = ""
    """The lab, for NWB."""
    active: bool = True
    """Whether a run may take it from a list."""

    @property
    def facts(self) -> dict[str, str]:
        """What is known, by key, as texts."""
        known = msgspec.structs.asdict(self)
        return {key: str(value) for key, value in known.items() if value and key != "active"}

    def of_run(self, subject_id: str, given: Subject | None = None) -> Subject:
        """Return the subject of a run of the bench that this one is of.

        Args:
            subject_id: Its id; "" for that of the bench or of `given`.
            given: Facts that replace those of the bench; of another id, all of them.

        Raises:
            BenchError: The facts are about another subject.
        """
        facts = self.facts
        if given is not None:
            facts = {**facts, **given.facts} if given.id in ("", self.id) else given.facts
        known = facts.get("id", "")
        if subject_id and known and subject_id != known:
            raise BenchError(
                f"the subject is {shown(subject_id)}, but what is described is {shown(known)}",
                remedy="Describe this one in a file, and give it by --subject-file.",
            )
        return msgspec.convert({**facts, "id": subject_id or known}, Subject)


def check_subject(table: Table, problems: Problems, where: Places) -> Subject:
    """Return the subject of a table, and add what is wrong with it to `problems`.

    Args:
        table: The table, as TOML gives it.
        problems: Receives what is wrong.
        where: Names the keys of the table in messages.
    """
    found = convert(table, Subject, problems, where, remedy="Keys: docs/recordings.md.")
    if found is None:
        return Subject()
    sex = _SEXES.get(found.sex.lower(), "")
    for key, wrong, right in (
        ("age", found.age and not _AGE.fullmatch(found.age), 'as ISO 8601: "P90D", "P12W"'),
        ("sex", found.sex and not sex, '"M", "F", "O" (other) or "U" (unknown)'),
        ("weight", found.weight and not _WEIGHT.fullmatch(found.weight), 'as "25 g" or "2.5 kg"'),
        ("date_of_birth", not _is_date(found.date_of_birth), "as 2026-08-31"),
    ):
        if wrong:
            problems.add(where(key), f"{shown(table[key])} is not {key}", f"Write it {right}.")
    for key, text in found.facts.items():
        if len(text) > _LONGEST or not text.replace("\n", "").isprintable():
            problems.add(where(key), f"must be a printable text of at most {_LONGEST} characters")
    return msgspec.structs.replace(found, sex=sex)


def check_subjects(tables: list[Table], problems: Problems, where: Places) -> tuple[Subject, ...]:
    """Return the subjects of a list, as `check_subject` returns one; each has an id of its own."""
    found: list[Subject] = []
    for number, table in enumerate(tables, 1):
        subject = check_subject(table, problems, where.below(f"{number}"))
        if not subject.id or subject.id in (each.id for each in found):
            what = f"{shown(subject.id)} is there twice" if subject.id else "is missing"
            problems.add(where(f"{number}", "id"), what, "Give each subject of the list an id.")
        found.append(subject)
    return tuple(found)


def take_subject(
    subjects: Sequence[Subject], subject_id: str, given: Subject | None = None
) -> Subject:
    """Return the subject of a run from a list; without an id none.

    Args:
        subjects: The list.
        subject_id: Which one; "" takes that of `given`.
        given: Facts that replace those of the list.

    Raises:
        BenchError: It is not in the list, or is not active.
    """
    wanted = subject_id or (given.id if given else "")
    found = next((each for each in subjects if each.id == wanted), None)
    if found is not None and not found.active:
        raise BenchError(
            f"the subject {shown(wanted)} is not active",
            remedy="Take another, or remove `active = false` of it in the bench.",
        )
    if found is None and wanted and given is None:
        known = [each.id for each in subjects if each.active]
        raise BenchError(
            f"there is no subject {shown(wanted)} in the bench",
            remedy=f"{proposal(wanted, known, 'subjects')} Or add it: [[subject]] id = {wanted!r}",
        )
    return (found or Subject()).of_run(subject_id, given)


def read_subject(path: Path) -> Subject:
    """Read a subject file.

    Raises:
        BenchError: It cannot be read or is invalid; the message lists all problems.
    """
    table, problems, places = read_toml(path), Problems(path), Places()
    if isinstance(table.get("subject"), dict):
        others = [key for key in table if key != "subject"]
        for key in others:
            problems.add(places(key), "unknown key", "A subject file has the table [subject] only.")
        table, places = table["subject"], places.below("subject")
    subject = check_subject(table, problems, places)
    problems.raise_if_any()
    return subject


def _is_date(given: object) -> bool:
    if given == "" or isinstance(given, date):
        return True
    try:
        return isinstance(given, str) and bool(datetime.fromisoformat(given))
    except ValueError:
        return False
