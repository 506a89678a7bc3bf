"""Summary at the end of a run: outcome, counts of its streams, figures of its modules."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlink.cli.terminal.output import as_json, plain_table
from mlink.engine.status import Failure, RunResult, StreamStatus

_UNITS = {
    "ms": "ms",
    "us": "µs",
    "usec": "µs",
    "s": "s",
    "hz": "Hz",
    "fps": "fps",
    "percent": "%",
    "bytes": "bytes",
}


def result_as_json(result: RunResult) -> str:
    """Return a result as one JSON object on one line."""
    return as_json(result).decode()


def print_summary(
    result: RunResult, console: Console, *, verbose: bool = False, debug: bool = False
) -> None:
    """Print a result as text: sentences, then the streams, then where it is recorded.

    Args:
        result: What to print.
        console: Where to.
        verbose: Print all figures of modules, too; of a run that failed they are always printed.
        debug: Print tracebacks.
    """
    console.print()
    print_outcome(result, console, debug=debug)
    for sentence in result.sentences:
        console.print(Text(f"  {sentence}."), soft_wrap=True)
    if any(stream.sent for stream in result.streams):
        console.print(_account(result.streams, result.reports), soft_wrap=True)
    for hint in result.hints:
        console.print(
            Text("  Hint: ", style="yellow").append(hint, style="default"), soft_wrap=True
        )
    if result.streams:
        console.print(Padding(_streams(result.streams), (1, 0, 0, 2), expand=False))
    has_figures = any(result.reports.values())
    if has_figures and (verbose or not result.success):
        console.print(Padding(figures_table(result.reports), (1, 0, 0, 2), expand=False))
    elif has_figures:
        console.print(Text("  All figures of the modules: --verbose", "dim"))
    console.print()
    _print_recording(result, console)


def print_outcome(result: RunResult, console: Console, *, debug: bool = False) -> None:
    """Print the outcome of a run, and its failures with their remedies."""
    console.print(_outcome(result), soft_wrap=True)
    for failure in result.failures:
        _print_failure(failure, console, debug=debug)


def _account(streams: list[StreamStatus], reports: Mapping[str, Mapping[str, float | str]]) -> Text:
    """Return a sentence on what was lost, and one on frames."""
    losses = [
        f"{each.missing} of {stream.sent} from {stream.name} to {each.module}"
        for stream in streams
        for each in stream.subscriptions
        if each.missing
    ]
    losses += [
        f"{stream.lost_at_source} of {stream.sent} at {stream.name}"
        for stream in streams
        if stream.lost_at_source and not stream.subscriptions
    ]
    text = Text("  ")
    if losses:
        text.append(f"Lost: {', '.join(losses)}.", style="bold red")
    else:
        text.append("No item was lost.")
    for stream in streams:
        if stream.data_type == "Frame" and stream.sent:
            rate = reports.get(stream.module, {}).get("framerate_measured")
            measured = f" at {rate:.1f} Hz" if isinstance(rate, float | int) else ""
            frames = "1 frame" if stream.sent == 1 else f"{stream.sent} frames"
            text.append(f" {stream.name}: {frames}{measured}.")
    return text


def _outcome(result: RunResult) -> Text:
    kind = " of virtual time" if result.time == "virtual" else ""
    length = f" after {result.duration_s:.1f} s{kind}" if result.duration_s else ""
    if result.success:
        text = Text(f"✔ The run completed{length}", style="bold green")
    else:
        text = Text(f"✘ The run failed{length}", style="bold red")
    details = [result.stop_reason] if result.stop_reason else []
    if result.start_to_first_item_s is not None:
        details.append(f"first data after {result.start_to_first_item_s:.2f} s")
    return text.append(f" ({'; '.join(details)})", style="not bold dim") if details else text


def _print_failure(failure: Failure, console: Console, *, debug: bool) -> None:
    head = Text("  ")
    if failure.module:
        head.append(failure.module, style="bold red").append(f" ({failure.phase}): ")
    elif failure.phase:
        head.append(f"{failure.phase}: ")
    console.print(head.append(failure.message.replace("\n", "\n    ")), soft_wrap=True)
    if failure.remedy:
        console.print(Text(f"    → {failure.remedy}"), soft_wrap=True)
    if failure.detail and debug:
        console.print(Padding(Text(failure.detail, style="dim"), (0, 0, 0, 4)), soft_wrap=True)
    elif failure.detail:
        console.print(Text("    (--debug shows the traceback)", style="dim"))


def _streams(streams: list[StreamStatus]) -> Table:
    table = plain_table(
        "stream", "sent", "to", "received", "lost", right=("sent", "received", "lost")
    )
    # items left in the queue of a module that failed or was killed, or that was not waited for
    untaken = any(each.not_taken for stream in streams for each in stream.subscriptions)
    if untaken:
        table.add_column("not taken", justify="right")
    for stream in streams:
        if stream.unused:
            continue
        head = (Text(stream.name), str(stream.sent))
        if not stream.subscriptions:
            table.add_row(*head, Text("no subscriber", style="dim"))
        for subscription in stream.subscriptions:
            lost = Text(str(subscription.lost), style="bold red" if subscription.lost else "")
            to = Text(f"{subscription.module}.{subscription.port}")
            cells = [to, Text(str(subscription.received)), lost]
            if untaken:
                style = "bold red" if subscription.not_taken else ""
                cells.append(Text(str(subscription.not_taken), style=style))
            table.add_row(*head, *cells)
            head = (Text(""), "")
    return table


def figures_table(reports: Mapping[str, Mapping[str, float | str]]) -> Table:
    """Return figures of modules as a table."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(
        no_wrap=True, min_width=1
    )  # without a unit in any row rich would cut the figures
    for module, figures in reports.items():
        name = Text(module, style="cyan")
        for key, value in figures.items():
            table.add_row(name, *_figure(key, value))
            name = Text("")
    return table


def _figure(key: str, value: float | str) -> tuple[Text, Text, Text]:
    """Return (name, value, unit); a key such as "latency_p50_ms" ends with its unit."""
    words = key.split("_")
    unit = _UNITS.get(words[-1], "") if len(words) > 1 and not isinstance(value, str) else ""
    name = " ".join(words[:-1] if unit else words)
    return Text(name), Text(_number(value)), Text(unit, style="dim")


def _number(value: float | str) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:.1f}"
    return f"{int(value)}" if isinstance(value, float) else str(value)


def _print_recording(result: RunResult, console: Console) -> None:
    if result.recording_dir is None:
        console.print("Nothing was recorded.")
        return
    folder = shlex.quote(str(short(result.recording_dir)))
    # soft_wrap: a wrapped path or command cannot be copied.
    console.print(Text("Recorded in ").append(folder, style="bold"), soft_wrap=True)
    console.print(Text(f"  Show its contents: mlink info {folder}"), soft_wrap=True)
    if result.unrecorded:
        streams = ", ".join(result.unrecorded)
        console.print(Text(f"  Not recorded: {streams} (--record-all)", "dim"), soft_wrap=True)


def short(path: Path) -> Path:
    """Return a path relative to the current folder, if it is below it."""
    cwd = Path.cwd()
    return path.relative_to(cwd) if path.is_relative_to(cwd) else path
