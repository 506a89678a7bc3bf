"""`mlink replay`: run a bench again on what was recorded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer


def _speed(text: str) -> float | None:
    """Return a speed: None for "full", 1.0 for "real", else the number."""
    if text == "full":
        return None
    try:
        value = 1.0 if text == "real" else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"'{text}' is neither full, real nor a number above 0")
    return value


def replay(
    context: typer.Context,
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    bench: Annotated[
        Path,
        typer.Option("--bench", metavar="BENCH", help="Bench file, or a folder with a bench.toml."),
    ],
    speed: Annotated[
        str,
        typer.Option(help="full: as fast as it goes; real: as it was; or a factor such as 4."),
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
            help="A stream (module.port) or source that may stay silent; repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the replay is recorded.", show_default="./recordings"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the replay.", show_default="the bench's name")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="MODULE.KEY=VALUE", help="Replace one setting; repeatable."),
    ] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Record nothing.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Show plain lines instead of a live table.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; logs go to stderr.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Run a bench again on what was recorded of its boards and cameras."""
    debug = debug or bool(context.obj.get("debug"))
    context.obj["debug"] = debug
    factor = _speed(speed)

    from mlink.bench import load_bench

    loaded = load_bench(bench, overrides=overrides or ())

    from mlink.cli.live import make_view
    from mlink.cli.summary import print_summary, result_as_json
    from mlink.replay import replay as run_replay

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
    if json:
        typer.echo(result_as_json(outcome.result))
    else:
        print_summary(outcome.result, view.console, debug=debug)
        for note in outcome.notes:
            view.console.print(f"  note: {note}", highlight=False, soft_wrap=True)
    if not outcome.result.success:
        raise typer.Exit(1)
