"""`mlink replay`: run a bench on a recording."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import (
    Debug,
    NoRecord,
    Overrides,
    Plain,
    RecordingFolder,
    ResultAsJson,
    Verbose,
    wants_debug,
)
from mlink.cli.terminal.output import ExitCode
from mlink.ctrl_c import raise_on_signals

if TYPE_CHECKING:
    from rich.console import Console

    from mlink.replay import Compared, Replayed


def _speed(text: str) -> float | None:
    """Return a speed: None for "full", 1.0 for "real", else the number."""
    if text == "full":
        return None
    try:
        value = 1.0 if text == "real" else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"'{text}' is not full, real or a number above 0")
    return value


def replay(
    context: typer.Context,
    recording: RecordingFolder,
    bench: Annotated[
        Path,
        typer.Option("--bench", metavar="BENCH", help="Bench file, or a folder with a bench.toml."),
    ],
    speed: Annotated[
        str,
        typer.Option(help="full: as fast as possible; real: real time; or a factor such as 4."),
    ] = "full",
    until_s: Annotated[
        float | None,
        typer.Option("--until", metavar="SECONDS", help="End at this time of the recording."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="STREAM",
            help="A stream (module.port) or source that need not be recorded; repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the recording of the replay.",
            show_default="./recordings",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the replay.", show_default="the bench's name")
    ] = None,
    overrides: Overrides = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Compare with the recorded run; exit code 1 if they differ."
        ),
    ] = False,
    no_record: NoRecord = False,
    plain: Plain = False,
    verbose: Verbose = False,
    json: ResultAsJson = False,
    debug: Debug = False,
) -> None:
    """Run a bench on a recording of its boards and cameras."""
    debug = wants_debug(context, debug)
    factor = _speed(speed)
    if compare and no_record:
        raise typer.BadParameter("--compare needs a recording: leave out --no-record")

    from mlink.bench import load_bench

    loaded = load_bench(bench, overrides=overrides or ())

    from mlink.cli.terminal.live import make_view
    from mlink.cli.terminal.screen import unhurried_output
    from mlink.cli.terminal.summary import print_summary
    from mlink.replay import replay as run_replay

    raise_on_signals()
    with unhurried_output():
        view = make_view(loaded.name, until_s, plain=plain, quiet=json)
        with view:
            outcome = run_replay(
                recording,
                bench=loaded,
                speed=factor,
                until_s=until_s,
                without=without or (),
                out_dir=out,
                name=name,
                record=not no_record,
                debug=debug,
                observer=view,
            )
        compared = outcome.compare() if compare else []
        if json:
            typer.echo(_as_json(outcome, compared))
        else:
            print_summary(outcome.result, view.console, verbose=verbose, debug=debug)
            _print_notes(outcome.notes, compared, view.console)
        if not outcome.result.success or not all(each.same for each in compared):
            raise typer.Exit(ExitCode.FAILED)


def _as_json(outcome: Replayed, compared: list[Compared]) -> str:
    import msgspec

    from mlink.cli.terminal.output import as_json
    from mlink.cli.terminal.summary import result_as_json

    document = msgspec.json.decode(result_as_json(outcome.result))
    document["notes"] = outcome.notes
    document["compared"] = [msgspec.to_builtins(each) for each in compared]
    return as_json(document).decode()


def _print_notes(notes: list[str], compared: list[Compared], console: Console) -> None:
    from rich.text import Text

    for note in notes:
        console.print(Text(f"  note: {note}", style="yellow"), soft_wrap=True)
    if compared:
        console.print("Compared with the recorded run:")
    for each in compared:
        mark, style = ("✔", "green") if each.same else ("✘", "bold red")
        console.print(Text(f"  {mark} ", style=style).append(str(each), style=""), soft_wrap=True)
