"""`mlink run`: run a bench, show its progress, print its result."""

from __future__ import annotations

import math
import signal
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.catalog import project_reader
from mlink.cli.options import (
    BenchHere,
    Debug,
    DevicesFile,
    KeepGoing,
    KindOfTime,
    NetControlPort,
    NetFeedbackPort,
    NetHost,
    NetToken,
    NoRecord,
    Overrides,
    Plain,
    ResultAsJson,
    RunTime,
    SubjectFile,
    Verbose,
    duration_s,
    wants_debug,
)
from mlink.cli.run_view import run_with_view, view_address
from mlink.cli.terminal.output import ExitCode
from mlink.ctrl_c import ignore_signals, raise_on_signals

if TYPE_CHECKING:
    from mlink.bench import Bench
    from mlink.cli.terminal.live import LogView
    from mlink.engine.status import RunResult
    from mlink.errors import MlinkError
    from mlink.network.controller import Controller


def _positive_factor(factor: float | None) -> float | None:
    if factor is not None and not (math.isfinite(factor) and factor > 0):
        raise typer.BadParameter("must be more than 0")
    return factor


def _when_to_gather(when: str) -> str:
    if when not in ("now", "later", "never"):
        raise typer.BadParameter("must be now, later or never")
    return when


def run(
    context: typer.Context,
    bench: BenchHere = Path(),
    for_s: RunTime = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the recording.", show_default="./recordings"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the recording; {n} is the next free number, {time} the clock time.",
            show_default="the bench's name",
        ),
    ] = None,
    devices: DevicesFile = None,
    overrides: Overrides = None,
    time: KindOfTime = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            callback=_positive_factor,
            help="In virtual time: pace the run to the clock, times this factor.",
            show_default="the bench's, else as fast as possible",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="In virtual time: take the recording's id and date from this number, so that two "
            "runs give the same files.",
            show_default="the bench's, else a new id, and now",
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of runs; a summary of all of them follows.",
            show_default="1, or with --every until Ctrl-C",
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=duration_s,
            help="Time from start to start: 60s, 5min, 1.5h, 1d.",
        ),
    ] = None,
    keep_going: KeepGoing = False,
    no_record: NoRecord = False,
    record_all: Annotated[
        bool,
        typer.Option(
            "--record-all",
            help='Record each stream that has no recorder yet, too (`record = "all"` under '
            "[bench] does the same).",
        ),
    ] = False,
    replayable: Annotated[
        bool,
        typer.Option(
            "--replayable", help="Record journals of scripts, for exact replays (`mlink replay`)."
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail if anything was lost (`strict = true` under [bench] does the same).",
        ),
    ] = False,
    subject: Annotated[str, typer.Option(help="Subject, written into the recording.")] = "",
    subject_file: SubjectFile = None,
    experimenter: Annotated[str, typer.Option(help="Your name, written into the recording.")] = "",
    comment: Annotated[str, typer.Option(help="A comment, written into the recording.")] = "",
    order: Annotated[
        str | None,
        typer.Option(
            help="Order of the folders below --out; omit those you do not want.",
            show_default="the bench's, else subject-id,time,experiment-id",
        ),
    ] = None,
    clock_time_in_dir: Annotated[
        bool | None,
        typer.Option(help="The folder of the date has the clock time: 2026-11-30T1504."),
    ] = None,
    flat_root: Annotated[
        bool | None, typer.Option(help="One folder instead of several: m7_2026-11-30_maze.")
    ] = None,
    add_moniker: Annotated[
        bool | None, typer.Option(help="Give the recording a nickname, made of its id.")
    ] = None,
    net_lead: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=1000,
            help="Start and stop N other machines with this run (`mlink listen`, Syntalos).",
        ),
    ] = None,
    net_host: NetHost = "127.0.0.1",
    net_control_port: NetControlPort = 5556,
    net_feedback_port: NetFeedbackPort = 5557,
    net_token: NetToken = None,
    net_timeout: Annotated[
        float,
        typer.Option(
            metavar="TIME", parser=duration_s, help="How long to wait for those machines."
        ),
    ] = 6.0,
    collect: Annotated[
        str,
        typer.Option(
            "--gather",
            metavar="WHEN",
            callback=_when_to_gather,
            help="Bring what other hosts have recorded into the recording: now, later (`mlink "
            "gather`), never.",
        ),
    ] = "now",
    is_open: Annotated[
        bool, typer.Option("--open", help="Reach other hosts without keys: agents with --open.")
    ] = False,
    plain: Plain = False,
    in_browser: Annotated[
        bool, typer.Option("--view", help="Show the run in a browser; prints the page's address.")
    ] = False,
    view_at: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With --view: where to serve it. Beyond this computer it needs --view-tls or "
            "--view-open.",
            show_default="this computer alone, a free port",
        ),
    ] = None,
    view_tls: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="With --view: files of a certificate and its key."),
    ] = None,
    view_open: Annotated[
        bool,
        typer.Option(
            "--view-open", help="With --view-at: serve other computers without encryption."
        ),
    ] = False,
    paused: Annotated[
        bool,
        typer.Option(
            "--paused",
            help="With --view, in virtual time: stand at the start until the page steps, or lets "
            "the run go on.",
        ),
    ] = False,
    view_control: Annotated[
        bool | None,
        typer.Option(
            "--view-control/--no-view-control",
            help="With --view: let its page command lines and modules.",
            show_default="as the bench has it",
        ),
    ] = None,
    view_to: Annotated[
        Path | None,
        typer.Option(hidden=True, help="Socket of the `mlink view` that has started this run."),
    ] = None,
    verbose: Verbose = False,
    json: ResultAsJson = False,
    debug: Debug = False,
) -> None:
    """Run a bench and record it. It ends by itself, after --for, or with Ctrl-C."""
    debug = wants_debug(context, debug)
    if view_control and not (in_browser or view_at or view_to):
        raise typer.BadParameter("it needs --view", param_hint="--view-control")
    address = view_address(view_at, view_tls, is_open=view_open) if in_browser or view_at else None

    from mlink.bench import load_bench
    from mlink.bench.subject import read_subject
    from mlink.cli.terminal.summary import result_as_json
    from mlink.errors import BenchError, MlinkError

    try:
        checked = load_bench(
            _as_bench(context, bench),
            devices=devices,
            overrides=overrides or (),
            time=time,
            record_all=record_all,
        )
        about = None if subject_file is None else read_subject(subject_file)
        checked = replace(checked, subject=checked.subject_of(subject, about))
    except MlinkError as error:
        if json:
            typer.echo(result_as_json(_failed(error, "check")))
            raise typer.Exit(ExitCode.WRONG_INPUT) from error
        raise

    from mlink.cli.terminal.live import make_view
    from mlink.cli.terminal.screen import unhurried_output
    from mlink.engine.run import RunOptions, run_bench

    if paused and (address is None or checked.time != "virtual"):
        raise BenchError(
            "--paused is for a run in virtual time with a page to step through it",
            remedy="Add --time virtual --view, or step in the terminal: mlink step BENCH.",
        )
    if net_lead is not None and checked.time == "virtual":
        raise BenchError(
            "run control over the network is for real time, and this run is virtual",
            remedy="Run in real time (--time real), or leave --net-lead out.",
        )
    if checked.on_hosts and (net_lead is not None or replayable):
        raise BenchError(
            "modules of this bench are on other hosts, which --net-lead and --replayable do not "
            "reach",
            remedy="Leave them out.",
        )
    raise_on_signals()
    given = {
        "order": None if order is None else tuple(each.strip() for each in order.split(",")),
        "clock_time_in_dir": clock_time_in_dir,
        "flat_root": flat_root,
        "add_moniker": add_moniker,
    }
    options = RunOptions(
        duration_s=for_s,
        out_dir=out,
        name=name,
        record=not no_record,
        debug=debug,
        encode=False,  # done here, with a progress display
        journal=replayable,
        strict=strict,
        subject=checked.subject.id,
        experimenter=experimenter,
        comment=comment,
        storage=checked.storage.but(given),
        runs=repeat or 1,
    ).in_time_of(checked, seed=seed, speed=speed)

    def controller(listeners: int) -> Controller:
        from mlink.network.controller import Controller
        from mlink.network.messages import read_token

        return Controller(
            listeners,
            host=net_host,
            control_port=net_control_port,
            feedback_port=net_feedback_port,
            timeout_s=net_timeout,
            project=checked.name,
            subject=checked.subject.id,
            subject_group=checked.subject.group,
            experiment=name or checked.name,
            token=read_token(net_token) if net_token else b"",
        )

    def run_once(view: LogView, number: int = 1) -> RunResult:
        try:
            with view, ExitStack() as stack:
                this = replace(options, run=number)
                if net_lead is not None:
                    this = replace(this, control=stack.enter_context(controller(net_lead)))

                def run_here(own: Bench, options: RunOptions) -> RunResult:
                    if address is None and view_to is None:
                        return run_bench(own, options, view)
                    return run_with_view(
                        own,
                        options,
                        view,
                        address,
                        view_to,
                        paused=paused,
                        control=view_control,
                    )

                if not checked.on_hosts:
                    return run_here(checked, this)
                from mlink.hosts.run.start import Gather, run_on_hosts

                when: Gather = "later" if collect == "later" else "never"
                when = "now" if collect == "now" else when
                return run_on_hosts(checked, this, view, run_here, plain=is_open, collect=when)
        except BenchError:
            raise
        except MlinkError as error:  # such as a folder that cannot be written: a failed run
            return _failed(error)

    def new_view() -> LogView:
        return make_view(checked.name, for_s, plain=plain, quiet=json)

    if keep_going:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with unhurried_output():
        if repeat is not None or every is not None:
            _run_campaign(checked.name, run_once, new_view, repeat, every, json=json, debug=debug)
            return
        view = new_view()
        result = run_once(view)
        _conclude(result, view, verbose=verbose, json=json, debug=debug)


def _as_bench(context: typer.Context, path: Path) -> Path:
    """Return the bench file; a project of another program is imported into a temporary folder."""
    read = project_reader(path.suffix.removeprefix("."))
    if read is None or not path.is_file():
        return path
    folder = tempfile.TemporaryDirectory(prefix="mlink-project-")
    context.call_on_close(folder.cleanup)
    return read(path, Path(folder.name) / path.stem)


def _run_campaign(
    name: str,
    run_once: Callable[[LogView, int], RunResult],
    new_view: Callable[[], LogView],
    repeat: int | None,
    every_s: float | None,
    *,
    json: bool,
    debug: bool,
) -> None:
    """Run repeatedly; print the outcome of each run, and a summary at the end."""
    from mlink.cli.campaign import campaign_as_json, print_campaign, run_campaign
    from mlink.cli.terminal.summary import print_outcome

    console = new_view().console

    def one(number: int) -> RunResult:
        view = new_view()
        result = run_once(view, number)
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
        raise typer.Exit(ExitCode.FAILED)


def _failed(error: MlinkError, phase: str = "set-up") -> RunResult:
    from mlink.engine.status import Failure, RunResult

    return RunResult(False, failures=[Failure("", phase, error.message, error.remedy)])


def _conclude(result: RunResult, view: LogView, *, verbose: bool, json: bool, debug: bool) -> None:
    from mlink.cli.terminal.summary import print_summary, result_as_json

    if json:
        typer.echo(result_as_json(result))
    else:
        print_summary(result, view.console, verbose=verbose, debug=debug)
    encoded = _encoded(result, view, json=json)
    ignore_signals()
    if not encoded or not result.success:
        raise typer.Exit(ExitCode.FAILED)


def _encoded(result: RunResult, view: LogView, *, json: bool) -> bool:
    """Encode the raw videos that are due now; return False when one of them failed."""
    from mlink.engine.encode import has_raw_videos

    if result.recording_dir is None or (result.success and not has_raw_videos(result)):
        return True  # a recorder that was killed has not reported what it has left
    from rich.console import Console

    from mlink.cli.recorded.encode import encode_after_run

    console = Console(stderr=True) if json else view.console
    return encode_after_run(result.recording_dir, console, success=result.success)
