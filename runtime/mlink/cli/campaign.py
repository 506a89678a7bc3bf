"""Repeated runs of a bench (`mlink run --repeat`, `--every`), and the summary of all of them."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from datetime import datetime

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.status import Status
from rich.table import Table
from rich.text import Text

from mlink.cli.terminal.output import as_json, counted, plain_table
from mlink.cli.terminal.summary import short
from mlink.engine.interrupt import Interrupts
from mlink.engine.status import RunResult

_COUNTDOWN_S = 1.0

RunOnce = Callable[[int], RunResult]
"""Runs the bench once; the argument is the number of the run, from 1."""


class CampaignRun(msgspec.Struct, frozen=True):
    """One run of a campaign."""

    run: int
    started: str
    """Local time, ISO 8601."""
    late_s: float
    """How long after its due time it started, in s, because the run before took too long."""
    result: RunResult

    @property
    def lost(self) -> int:
        """Items that did not reach a subscriber."""
        return sum(
            subscription.missing
            for stream in self.result.streams
            for subscription in stream.subscriptions
        )


class Campaign(msgspec.Struct):
    """The runs of a campaign so far, and why it ended."""

    bench: str
    runs: list[CampaignRun] = []
    stopped: str = ""
    """Why it ended before its last run; "" when it did not."""

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(not each.result.success for each in self.runs)


def run_campaign(
    bench: str, run_once: RunOnce, repeat: int | None, every_s: float | None, console: Console
) -> Campaign:
    """Run a bench repeatedly.

    Args:
        bench: Name of the bench.
        run_once: Runs the bench once.
        repeat: Number of runs; None repeats until Ctrl-C.
        every_s: Period from start to start, in s; None starts each run when the one before has
            ended. A run that takes longer than its period delays the next one, which then starts
            at once. No run is skipped.
        console: Where the progress is printed.

    Returns:
        The results of all runs.
    """
    campaign = Campaign(bench)
    began = time.monotonic()
    while repeat is None or len(campaign.runs) < repeat:
        number = len(campaign.runs) + 1
        due = began if every_s is None else began + (number - 1) * every_s
        if reason := _wait_until(due, number, repeat, console):
            campaign.stopped = reason
            break
        late_s = max(0.0, time.monotonic() - due) if every_s is not None else 0.0
        started = datetime.now().astimezone().isoformat(timespec="milliseconds")
        console.print(Text(f"Run {_of(number, repeat)}", style="bold"))
        result = run_once(number)
        campaign.runs.append(CampaignRun(number, started, round(late_s, 3), result))
        if result.stop_reason.startswith("interrupted"):
            campaign.stopped = result.stop_reason
            break
    return campaign


def _of(number: int, repeat: int | None) -> str:
    return f"{number}" if repeat is None else f"{number} of {repeat}"


def _wait_until(due: float, number: int, repeat: int | None, console: Console) -> str:
    """Wait until a run is due; return why the campaign has to end, or ""."""
    if due <= time.monotonic():
        return ""
    with Interrupts() as interrupts, console.status("") as status:
        while not (reason := interrupts.reason()):
            left_s = due - time.monotonic()
            if left_s <= 0:
                return ""
            _show(status, f"run {_of(number, repeat)} starts in {left_s:.0f} s (Ctrl-C ends)")
            select.select([interrupts.fileno()], [], [], min(left_s, _COUNTDOWN_S))
    return reason


def _show(status: Status, text: str) -> None:
    status.update(Text(text, style="dim"))


def campaign_as_json(campaign: Campaign) -> str:
    """Return a campaign as one JSON object."""
    return as_json(
        {
            "bench": campaign.bench,
            "success": campaign.failed == 0,
            "failed": campaign.failed,
            "stopped": campaign.stopped,
            "runs": campaign.runs,
        }
    ).decode()


def print_campaign(campaign: Campaign, console: Console) -> None:
    """Print the summary of all runs as a table."""
    count, failed = len(campaign.runs), campaign.failed
    runs = counted(count, "run")
    text = (
        Text(f"✘ {failed} of {runs} failed", style="bold red")
        if failed
        else Text(f"✔ {runs} completed", style="bold green")
    )
    if campaign.stopped:
        text.append(f" ({campaign.stopped})", style="not bold dim")
    console.print()
    console.print(text, soft_wrap=True)
    if campaign.runs:
        console.print(Padding(_table(campaign.runs), (1, 0, 0, 2), expand=False))


def _table(runs: list[CampaignRun]) -> Table:
    titles = ("run", "started", "result", "duration", "lost", "failures", "recording")
    table = plain_table(*titles, right=("run", "duration", "lost"))
    for each in runs:
        result = each.result
        failures = "\n".join(str(failure).splitlines()[0] for failure in result.failures)
        table.add_row(
            str(each.run),
            each.started[11:19],
            Text("✔ completed", style="green") if result.success else Text("✘ failed", style="red"),
            f"{result.duration_s:.1f} s",
            Text(str(each.lost), style="bold red" if each.lost else ""),
            Text(failures),
            Text(str(short(result.recording_dir)) if result.recording_dir else ""),
        )
    return table
