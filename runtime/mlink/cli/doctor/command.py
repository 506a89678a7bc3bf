"""`mlink doctor`: check what this machine grants to runs, and print commands that improve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import ExitCode, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from mlink.cli.doctor.finding import Finding

_MARKS = {"good": ("✔", "green"), "better": ("●", "yellow"), "bad": ("✘", "red")}


def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Print one command that grants all rights: priority, memory, groups, udev rules. "
            "As root: do it.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Check rights, power saving, memory and disk. Exit code 1: something blocks runs."""
    if fix:
        _fix()
        return
    from mlink.cli.doctor.checks import examine

    findings = examine()
    blocks = sum(finding.state == "bad" for finding in findings)
    if json:
        print_json({"findings": findings})
    else:
        _show(findings, blocks)
    if blocks:
        raise typer.Exit(ExitCode.FAILED)


def _show(findings: list[Finding], blocks: int) -> None:
    from rich.console import Console

    from mlink.realtime import RIGHTS_REMEDY

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(_line(finding))
    changes = sum(bool(finding.remedy) for finding in findings) - blocks
    console.print()
    if blocks:
        console.print(f"✘ Blocks devices or runs: {blocks}", style="bold red")
    if changes:
        console.print(f"● Could be better, runs work without: {changes}")
    if any(finding.remedy == RIGHTS_REMEDY for finding in findings):
        console.print(f"All rights by one command: {RIGHTS_REMEDY}")
    if not blocks and not changes:
        console.print("No change is needed.")


def _fix() -> None:
    import os

    from mlink.cli.doctor.checks import Machine
    from mlink.cli.doctor.fix import apply, describe, files_of_fix
    from mlink.cli.doctor.rivals import board_vendors

    files = files_of_fix(board_vendors(Machine().sys))
    if os.geteuid() != 0:
        typer.echo(describe(files))
        return
    for sentence in apply(files):
        typer.echo(sentence)


def _line(finding: Finding) -> Text:
    from rich.text import Text

    mark, colour = _MARKS[finding.state]
    line = Text(f"{mark} ", style=colour)
    line.append(f"{finding.check}: ", style="bold").append(finding.found, style="default")
    if finding.remedy:
        # commands have a line of their own and are never wrapped, so that they can be copied
        line.append(f"\n    → {finding.remedy}", style="default")
    return line
