"""Aligned tables of measurements: rows, ratio to a peer, target, and whether it was met."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_GROWTH = 1.5
"""Factor by which the cost of one may be above that in the row before."""


@dataclass
class Row:
    """One line: what was measured, its figures as text, and its target when it has one."""

    name: str
    cells: list[str]
    ratio: float | None = None
    target: str = ""
    ok: bool | None = None
    values: dict[str, float] = field(default_factory=dict)
    """The figures as numbers, for --json."""

    @property
    def mark(self) -> str:
        """A tick for eyes and for grep."""
        return {None: "", True: "ok", False: "MISSED"}[self.ok]


@dataclass
class Table:
    """A title, the heads of the figures' columns, and rows."""

    title: str
    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        *cells: str,
        ratio: float | None = None,
        target: str = "",
        ok: bool | None = None,
        **values: float,
    ) -> None:
        """Append a row."""
        self.rows.append(Row(name, list(cells), ratio, target, ok, values))

    @property
    def missed(self) -> bool:
        """Whether any target was missed."""
        return any(row.ok is False for row in self.rows)

    def text(self) -> str:
        """Return the table as lines of equal columns."""
        heads = ["", *self.columns, "ratio", "target", ""]
        lines = [
            [
                row.name,
                *row.cells,
                *[""] * (len(self.columns) - len(row.cells)),
                "" if row.ratio is None else f"{row.ratio:.2f} ×",
                row.target,
                row.mark,
            ]
            for row in self.rows
        ]
        used = [any(line[at] for line in lines) or at == 0 for at in range(len(heads))]
        widths = [max(len(line[at]) for line in [heads, *lines]) for at in range(len(heads))]

        def shown(line: list[str]) -> str:
            cells = [
                cell.ljust(width)
                if at in (0, len(heads) - 2, len(heads) - 1)
                else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
                if used[at]
            ]
            return "  ".join(cells).rstrip()

        notes = [f"  {note}" for note in self.notes]
        rule = "─" * max(len(shown(line)) for line in [heads, *lines])
        return "\n".join([self.title, rule, shown(heads), *map(shown, lines), *notes])


def growth(cost: float, before: float | None, one: str) -> dict[str, Any]:
    """Return what `Table.add` takes to judge the cost of one by that in the row before, if any."""
    if before is None:
        return {}
    ratio = cost / before
    return {"ratio": ratio, "target": f"≤ {_GROWTH} × {one}", "ok": ratio <= _GROWTH}


def arguments(description: str, *, seconds: float, rounds: int) -> argparse.ArgumentParser:
    """Return the options that every benchmark here takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="length of each measurement (%(default)g)"
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="interleaved repetitions (%(default)d)"
    )
    parser.add_argument("--json", type=Path, help="also write the tables to this file")
    return parser


def publish(tables: Sequence[Table], json_path: Path | None) -> None:
    """Print the tables, and write them as JSON when asked."""
    for table in tables:
        print(f"\n{table.text()}", flush=True)
    if json_path is not None:
        found = [asdict(table) for table in tables]
        json_path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which `share` (0..1) of all samples lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(samples: Sequence[float]) -> float:
    """Return the median of the rounds' figures."""
    return statistics.median(samples)
