"""`mlink import`: make a bench folder of a Syntalos project file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlink.cli.terminal.output import counted


def import_command(
    project: Annotated[Path, typer.Argument(metavar="FILE.syct", help="Project file of Syntalos.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="New folder for the bench.", show_default="the file's name"
        ),
    ] = None,
) -> None:
    """Make a bench folder of a Syntalos project file."""
    from rich.console import Console
    from rich.text import Text

    from mlink_hil.syct.folder import VIRTUAL_FILE, import_project

    made = import_project(project, out or Path(project.stem))
    console = Console(soft_wrap=True, highlight=False)
    text = Text("✔ ", style="green").append(f"{counted(made.modules, 'module')} in {made.folder}")
    console.print(text)
    for title, lines in (
        ("Left out", made.left_out),
        ("Not as in the project", made.notes),
        ("To correct", made.problems),
    ):
        if lines:
            console.print(Text(f"\n{title}", style="bold"))
            for line in lines:
                console.print(Text(f"  {line}"))
    console.print(f"\n  Run it: mlink run {made.folder}")
    if made.has_devices:
        virtual = made.folder / VIRTUAL_FILE
        console.print(f"  Without its devices: mlink run {made.folder} --devices {virtual}")
