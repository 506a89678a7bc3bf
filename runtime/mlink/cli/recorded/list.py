"""`mlink list`: the recordings below a folder, newest first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import plain_table, print_json, table_console
from mlink.errors import StorageError
from mlink.storage.account import read_account
from mlink.storage.edl import UNCLOSED
from mlink.storage.failures import printable
from mlink.storage.manifest import MANIFEST
from mlink.storage.tree import read_unit, units_below

_DEPTH = 64
"""Folders in each other that are searched."""


class Listed(msgspec.Struct, kw_only=True):
    """One recording, as its manifests describe it; values that are unknown are None."""

    path: str
    time_created: str
    result: str
    """"completed", "failed", "not closed" (it runs, or was killed) or "damaged"."""
    reason: str = ""
    """Why it failed, or what is damaged."""
    length_s: float | None = None
    lost: int | None = None
    """Items lost, summed over all subscriptions as in the run's summary; after a kill those that
    its recorders missed, by their own counts."""
    not_taken: int | None = None
    """Items left in the queues of modules that failed or were not waited for."""


def list_recordings(
    folder: Annotated[Path, typer.Argument(help="Folder that has recordings below it.")] = Path(
        "recordings"
    ),
    json: AsJson = False,
) -> None:
    """List the recordings below a folder, newest first."""
    if not folder.is_dir():
        raise StorageError(
            f"there is no folder {folder}", remedy="Name the folder that `mlink run` recorded to."
        )
    unsearched: list[str] = []
    below = list(_recordings_below(folder, unsearched))
    if unsearched:
        why = f"in more than {_DEPTH} others, or not readable"
        text = (
            f"{len(unsearched)} folder(s) were not searched ({why}): {printable(unsearched[0])} …"
        )
        typer.echo(text, err=True)
    found = sorted(map(_listed, below), key=_age, reverse=True)
    if json:
        print_json(found)
        return
    counts = ("lost", "not taken") if any(each.not_taken for each in found) else ("lost",)
    titles = ("recording", "created", "length", "result", *counts)
    table = plain_table(*titles, right=("length", *counts))
    styles = {"completed": "green", "failed": "red"}
    for each in found:
        reason = printable(each.reason.partition("\n")[0])
        result = each.result + (f": {reason}" if reason else "")
        table.add_row(
            Text(printable(each.path)),
            Text(each.time_created[:19].replace("T", " ")),
            "–" if each.length_s is None else f"{each.length_s:.1f} s",
            Text(result, style=styles.get(each.result, "yellow")),
            *map(_count, (each.lost, each.not_taken)[: len(counts)]),
        )
    table_console().print(table if found else Text(f"no recordings below {folder}"))


def _count(number: int | None) -> Text:
    return Text("–" if number is None else str(number), style="bold red" if number else "")


def _recordings_below(folder: Path, unsearched: list[str]) -> Iterator[Path]:
    """Yield the folders of recordings; what is inside of a recording is none.

    Args:
        folder: Where to begin.
        unsearched: Gets the folders that are not searched.
    """
    deepest = str(folder).count(os.sep) + _DEPTH
    walk = os.walk(folder, onerror=lambda error: unsearched.append(str(error.filename)))
    for path, folders, files in walk:
        if MANIFEST not in files and path.count(os.sep) > deepest:
            unsearched += [str(Path(path) / each) for each in folders]
        if MANIFEST in files or path.count(os.sep) > deepest:
            folders.clear()
        if MANIFEST in files:
            yield Path(path)


def _listed(path: Path) -> Listed:
    unit = read_unit(path, "")
    if unit.problem or unit.type != "collection":
        reason = unit.problem or f"its manifest is of a {unit.type or 'folder'}"
        return Listed(path=str(path), time_created="", result="damaged", reason=reason)
    attributes: dict[str, Any] = unit.attributes
    reason = str(attributes.get("failure_reason", ""))
    closed = reason != UNCLOSED and "success" in attributes
    length_msec = attributes.get("recording_length_msec")
    result = "completed" if attributes.get("success") else "failed"
    account = read_account(attributes).values()
    lost = [each.lost for each in account]
    if not account:
        counts = [each.attributes.get("items_lost") for each in units_below(path)]
        lost = [count for count in counts if isinstance(count, int)]
    return Listed(
        path=str(path),
        time_created=str(unit.manifest.get("time_created", "")),
        result=result if closed else "not closed",
        reason=reason if closed else "",
        length_s=length_msec / 1000 if isinstance(length_msec, int) else None,
        lost=sum(lost) if lost else None,
        not_taken=sum(each.not_taken for each in account) if account else None,
    )


def _age(each: Listed) -> float:
    try:
        return datetime.fromisoformat(each.time_created).timestamp()
    except ValueError:
        return 0.0
