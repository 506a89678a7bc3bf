"""`mlink doctor`: check what this machine grants to runs, and print commands that improve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlink.cli.options import AsJson
from mlink.cli.output import print_json

if TYPE_CHECKING:
    from rich.text import Text

    from mlink.cli.doctor_finding import Finding

_MARKS = {"good": ("✔", "green"), "better": ("●", "yellow"), "bad": ("✘", "red")}


def doctor(
    json: AsJson = False,
) -> None:
    """Check priorities, power saving, permissions and memory. Print commands that improve them."""
    from rich.console import Console

    from mlink.cli.doctor_checks import examine

    findings = examine()
    if json:
        print_json({"findings": findings})
        return
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(_line(finding))
    changes = sum(bool(finding.remedy) for finding in findings)
    console.print()
    if changes:
        blocks = any(finding.state == "bad" for finding in findings)
        effect = "✘ blocks devices or runs" if blocks else "runs work without them"
        console.print(f"{changes} of {len(findings)} checks suggest a change; {effect}.")
    else:
        console.print("No change is needed.")


def _line(finding: Finding) -> Text:
    from rich.text import Text

    mark, colour = _MARKS[finding.state]
    line = Text(f"{mark} ", style=colour)
    line.append(f"{finding.check}: ", style="bold").append(finding.found, style="default")
    if finding.remedy:
        # commands have a line of their own and are never wrapped, so that they can be copied
        line.append(f"\n    → {finding.remedy}", style="default")
    return line
