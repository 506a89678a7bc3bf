"""Tables and JSON as all commands print them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.encoding.recording import EncodeReport
    from mlink.recording.care.repair import RepairReport
    from mlink.recording.care.verify import VerifyReport


def print_json(value: Any) -> None:
    """Print a value as indented JSON; objects that JSON has no form for are printed as text."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode())


def print_report(report: VerifyReport | RepairReport | EncodeReport) -> None:
    """Print a report as JSON: its fields, and whether it is `ok`."""
    import msgspec

    print_json(msgspec.to_builtins(report) | {"ok": report.ok})


def plain_table(*titles: str, right: Collection[str] = ()) -> Table:
    """Return an empty table without lines.

    Args:
        titles: Titles of the columns.
        right: Titles of the columns whose cells are aligned to the right.
    """
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left")
    return table
