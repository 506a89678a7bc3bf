"""`mlink run`: run a bench, show how it goes, tell how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import (
    BenchFile,
    Debug,
    DevicesFile,
    NoRecord,
    Overrides,
    Plain,
    ResultAsJson,
    wants_debug,
)

if TYPE_CHECKING:
    from mlink.cli.live import LogView
    from mlink.engine.status import RunResult


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise typer.BadParameter("must be more than 0 seconds")
    return seconds


def run(
    context: typer.Context,
    bench: BenchFile,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for", metavar="SECONDS", callback=_positive, help="End the run after this time."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the recording goes.", show_default="./recordings"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the recording.", show_default="the bench's name")
    ] = None,
    devices: DevicesFile = None,
    overrides: Overrides = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Run so many times; a summary over the runs follows.",
            show_default="1, or with --every until Ctrl-C",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", help="Start a run each period: 60s, 5min, 1.5h, 1d."),
    ] = None,
    no_record: NoRecord = False,
    replayable: Annotated[
        bool,
        typer.Option(
            "--replayable", help="Record what scripts meet, for `mlink replay` to repeat exactly."
        ),
    ] = False,
    subject: Annotated[str, typer.Option(help="Subject, noted in the recording.")] = "",
    experimenter: Annotated[str, typer.Option(help="Your name, noted in the recording.")] = "",
    comment: Annotated[str, typer.Option(help="A comment, noted in the recording.")] = "",
    order: Annotated[
        str,
        typer.Option(help="Folders of the recording below --out; leave out what you do not want."),
    ] = "subject-id,time,experiment-id",
    plain: Plain = False,
    json: ResultAsJson = False,
    debug: Debug = False,
) -> None:
    """Run a bench until it ends, --for is over, or Ctrl-C."""
    debug = wants_debug(context, debug)

    from mlink.bench import load_bench

    checked = load_bench(bench, devices=devices, overrides=overrides or ())

    from mlink.cli.live import make_view
    from mlink.engine.run import RunOptions, run_bench
    from mlink.errors import BenchError, MlinkError

    options = RunOptions(
        duration_s=for_s,
        out_dir=out,
        name=name,
        record=not no_record,
        debug=debug,
        encode=False,  # here, with its progress shown
        journal=replayable,
        subject=subject,
        experimenter=experimenter,
        comment=comment,
        directory_order=tuple(word.strip() for word in order.split(",") if word.strip()),
    )

    def run_once(view: LogView) -> RunResult:
        try:
            with view:
                return run_bench(checked, options, view)
        except BenchError:
            raise
        except MlinkError as error:  # such as no place for the recording: a failed run
            return _failed(error)

    def new_view() -> LogView:
        return make_view(checked.name, for_s, plain=plain, quiet=json)

    if repeat is not None or every is not None:
        _run_campaign(checked.name, run_once, new_view, repeat, every, json=json, debug=debug)
        return
    view = new_view()
    result = run_once(view)
    _conclude(result, view, json=json, debug=debug)


def _run_campaign(
    name: str,
    run_once: Callable[[LogView], RunResult],
    new_view: Callable[[], LogView],
    repeat: int | None,
    every: str | None,
    *,
    json: bool,
    debug: bool,
) -> None:
    """Run again and again; each run is told shortly, all of them at the end."""
    from mlink.cli.campaign import campaign_as_json, period_s, print_campaign, run_campaign
    from mlink.cli.summary import print_outcome

    every_s = None if every is None else period_s(every)
    console = new_view().console

    def one(_number: int) -> RunResult:
        view = new_view()
        result = run_once(view)
        if not json:
            print_outcome(result, view.console, debug=debug)
        try:
            result.success &= _encoded(result, view, json=json)
        except KeyboardInterrupt:
            result.stop_reason = "interrupted while its videos were encoded"
        return result

    campaign = run_campaign(name, one, repeat, every_s, console)
    if json:
        typer.echo(campaign_as_json(campaign))
    else:
        print_campaign(campaign, console)
    if campaign.failed:
        raise typer.Exit(1)


def _failed(error: Exception) -> RunResult:
    from mlink.engine.status import Failure, RunResult
    from mlink.errors import MlinkError

    assert isinstance(error, MlinkError)
    return RunResult(False, failures=[Failure("", "set-up", error.message, error.remedy)])


def _conclude(result: RunResult, view: LogView, *, json: bool, debug: bool) -> None:
    from mlink.cli.summary import print_summary, result_as_json

    if json:
        typer.echo(result_as_json(result))
    else:
        print_summary(result, view.console, debug=debug)
    if not _encoded(result, view, json=json) or not result.success:
        raise typer.Exit(1)


def _encoded(result: RunResult, view: LogView, *, json: bool) -> bool:
    """Encode the raw videos that are due; return whether that went well."""
    if result.recording_dir is None:
        return True
    from rich.console import Console

    from mlink.cli.encode import encode_after_run

    console = Console(stderr=True) if json else view.console
    return encode_after_run(result.recording_dir, console, success=result.success)
