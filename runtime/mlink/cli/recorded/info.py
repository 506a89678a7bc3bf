"""`mlink info`: show the contents of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlink.cli.options import AsJson, RecordingFolder, Verbose
from mlink.cli.terminal.output import print_json, table_console
from mlink.cli.terminal.summary import figures_table
from mlink.storage.inspect import DatasetSummary, RecordingSummary, inspect_recording


def info(
    recording: RecordingFolder,
    verbose: Verbose = False,
    json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw an overview into this PNG file."),
    ] = None,
) -> None:
    """Show the streams, counts, times and losses of a recording."""
    summary = inspect_recording(recording)
    if summary.datasets or plot is not None:
        _look_inside(summary, recording, plot)
    drawn = {} if plot is None else {"plot": str(plot)}
    if json:
        print_json(as_plain(summary) | drawn)
        return
    console = table_console()
    show(summary, console)
    figures = summary.attributes.get("reports")
    if verbose and isinstance(figures, dict):
        console.print()
        tables = {name: each for name, each in figures.items() if isinstance(each, dict)}
        console.print(figures_table(tables))
    if plot is not None:
        typer.echo(f"overview drawn: {plot}")


def _look_inside(summary: RecordingSummary, path: Path, plot: Path | None) -> None:
    """Add the times of rows and signals to the summary; draw the overview into `plot`."""
    import mlink.recording
    from mlink.recording.times import add_times

    with mlink.recording.open(path) as opened:
        add_times(summary.datasets, opened)
        if plot is not None:
            opened.plot().save(plot)


def as_plain(summary: RecordingSummary) -> dict[str, object]:
    """Return the summary for JSON: its fields, and the values computed from them."""
    plain: dict[str, object] = msgspec.to_builtins(summary, builtin_types=())
    plain["size"] = summary.size
    datasets = []
    for dataset in summary.datasets:
        figures = {"size": dataset.size, "duration_s": dataset.duration_s}
        datasets.append(msgspec.to_builtins(dataset) | figures)
    plain["datasets"] = datasets
    return plain


def show(summary: RecordingSummary, console: Console) -> None:
    """Print the summary as text."""
    console.print(Text(summary.name, style="bold"), Text(summary.path, style="dim"))
    console.print(_outcome(summary))
    people = f" by {', '.join(summary.authors)}" if summary.authors else ""
    console.print(Text(f"recorded {summary.time_created}{people} with {summary.generator}"))
    if summary.attributes.get("time") == "virtual":
        console.print(
            Text(f"in virtual time{_parameters(summary.attributes)}: simulated latencies")
        )
    messages = summary.attributes.get("error_messages")
    for message in messages if isinstance(messages, list) else ():
        console.print(Text(f"went on without {message}", "yellow"))
    for key in ("subject_id", "subject_group", "subject_comment", "machine_node"):
        if summary.attributes.get(key):
            console.print(Text(f"{key.replace('_', ' ')}: {summary.attributes[key]}"))
    if facts := summary.attributes.get("subject"):
        console.print(Text("subject: " + ", ".join(f"{key} {facts[key]}" for key in facts)))
    console.print(_dataset_table(summary.datasets))
    for dataset in summary.datasets:
        for problem in dataset.problems:
            console.print(Text(f"{dataset.name}: {problem}", "yellow"))
    for problem in summary.problems:
        console.print(Text(problem, "yellow"))


def _outcome(summary: RecordingSummary) -> Text:
    length = "" if summary.length_s is None else f" after {_seconds(summary.length_s)}"
    if not summary.closed:
        return Text(
            f"not closed: {summary.failure_reason or 'the outcome was not written'}", "yellow"
        )
    if summary.success:
        return Text(f"completed{length}", "green")
    return Text(f"failed{length}: {summary.failure_reason}", "red")


def _parameters(attributes: dict[str, Any]) -> str:
    """Return seed and costs of a run in virtual time, as a part of a line."""
    known = [f"seed {attributes['seed']}"] if "seed" in attributes else []
    fixed, measured = (attributes.get(key) for key in ("cost_usec", "cost"))
    if isinstance(fixed, dict):
        known += [f"cost of {name} {usec} µs" for name, usec in fixed.items()]
    for name, cost in measured.items() if isinstance(measured, dict) else ():
        if isinstance(cost, dict):
            known.append(f"cost of {name} as in {cost.get('measured')}")
    return f" ({', '.join(known)})" if known else ""


def _dataset_table(datasets: list[DatasetSummary]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("dataset")
    table.add_column("kind", no_wrap=True)
    untaken = any(dataset.not_taken for dataset in datasets)
    lost = ("lost", "not taken") if untaken else ("lost",)
    for title in ("entries", "first", "duration", "rate", *lost, "gaps", "size", "times from"):
        table.add_column(title, justify="right", no_wrap=True)
    for dataset in datasets:
        table.add_row(
            Text(dataset.name),
            dataset.kind,
            _count(dataset.entries),
            _time(dataset.first_usec),
            "–" if dataset.duration_s is None else _seconds(dataset.duration_s),
            "–" if dataset.rate_hz is None else f"{dataset.rate_hz:.2f} Hz",
            _items(dataset, dataset.lost),
            *([_items(dataset, dataset.not_taken)] if untaken else []),
            _count(dataset.gaps),
            _bytes(dataset.size),
            Text(_source(dataset)),
            style="red" if dataset.lost or dataset.not_taken else None,
        )
    return table


def _source(dataset: DatasetSummary) -> str:
    source = dataset.attributes.get("timestamp_source")
    sure = dataset.attributes.get("uncertainty_usec")
    return "–" if source is None else f"{source}" + ("" if sure is None else f" ±{sure} µs")


def _items(dataset: DatasetSummary, number: int | None) -> str:
    """Return a number of items, with the unit if that is not the one of the column "entries"."""
    return f"{number} blocks" if number and dataset.blocks is not None else _count(number)


def _count(number: int | None) -> str:
    return "–" if number is None else str(number)


def _time(usec: int | None) -> str:
    return "–" if usec is None else f"{usec / 1e6:.3f} s"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
