"""What `mlink fuzz` prints: a verdict, the progress of a search, failing seeds, the account."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlink.cli.terminal.output import as_json, counted

if TYPE_CHECKING:
    from rich.console import Console

    from mlink_hil.fuzz.draw import Draw
    from mlink_hil.fuzz.search import Account, FailingSeed
    from mlink_hil.fuzz.trial import Verdict

_PROGRESS_S = 10.0


def print_verdict(verdict: Verdict, draw: Draw, recording: str, console: Console) -> None:
    """Print how a single trial has ended, why, and where its recording is."""
    signs = {"passed": "✔", "inconclusive": "?"}
    console.print(f"{signs.get(verdict.outcome, '✘')} seed {draw.seed}: {verdict.outcome}")
    for reason in verdict.reasons:
        console.print(f"  {reason}", markup=False)
    if verdict.remedy:
        console.print(f"  → {verdict.remedy}", markup=False)
    if recording:
        console.print(f"  recording: {recording}", markup=False)


class Progress:
    """Prints failing seeds when they are found, and every ten seconds how far the search is."""

    def __init__(self, account: Account, console: Console) -> None:
        self._account = account
        self._console = console
        self._next = time.monotonic() + _PROGRESS_S

    def note(self, found: FailingSeed | None) -> None:
        """Note that a seed has been tried; `found` is given if it fails."""
        account = self._account
        if found is not None:
            _print_seed(found, self._console)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PROGRESS_S
        left = (account.seeds - account.tried) / account.rate if account.rate else 0
        self._console.print(
            f"{account.tried} of {counted(account.seeds, 'seed')}, {len(account.failed)} failed; "
            f"{account.rate:.1f} per s, {left:.0f} s left (Ctrl-C ends it)"
        )


def _print_seed(found: FailingSeed, console: Console) -> None:
    console.print(f"✘ seed {found.seed} fails:", style="bold red")
    for reason in found.reasons:
        first_line, _, _ = reason.partition("\n")
        console.print(f"    {first_line}", markup=False)
    sufficient = "smallest set of kinds" if found.minimal else "kinds"
    console.print(f"  {sufficient}: {', '.join(found.kinds)}", markup=False)
    console.print(f"  to show it again: {found.command}", markup=False)
    if found.recording:
        console.print(f"  recording: {found.recording}", markup=False)


def print_account(account: Account, console: Console) -> None:
    """Print how many seeds have passed and failed."""
    failed = len(account.failed)
    style = "bold red" if failed else "bold green"
    counts = [f"{account.passed} passed"]
    if account.inconclusive:
        counts.append(f"{account.inconclusive} inconclusive")
    if account.unsteady:
        counts.append(f"{len(account.unsteady)} not repeatable")
    console.print(
        f"{'✘' if failed else '✔'} {failed} of {counted(account.tried, 'seed')} failed",
        style=style,
        end="",
    )
    console.print(f" ({', '.join(counts)}); {account.seconds:.0f} s, {account.rate:.1f} per s")
    if account.unsteady:
        seeds = ", ".join(map(str, account.unsteady))
        console.print(
            f"  seeds that failed once and passed when they were tried again: {seeds}. "
            "So something in the bench depends on more than the seed, or this computer is too busy."
        )
    if account.stopped:
        left = account.seeds - account.tried
        console.print(f"  ended early: {account.stopped}; {counted(left, 'seed')} not tried")


def account_as_json(account: Account) -> str:
    """Return an account as one JSON object."""
    import msgspec

    figures = {
        "tried": account.tried,
        "per_second": round(account.rate, 3),
        "success": not account.failed,
    }
    return as_json(msgspec.to_builtins(account) | figures).decode()
