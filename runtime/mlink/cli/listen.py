"""`mlink listen`: run a bench whenever another machine asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import (
    BenchFile,
    DevicesFile,
    NetControlPort,
    NetFeedbackPort,
    NetHost,
    NetToken,
    NoRecord,
    Overrides,
)
from mlink.cli.terminal.output import ExitCode
from mlink.ctrl_c import raise_on_signals

if TYPE_CHECKING:
    from mlink.api.run import Run
    from mlink.engine.status import RunResult
    from mlink.network.listener import StartSignal
    from mlink.network.messages import Message


def listen(
    bench: BenchFile,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for recordings.", show_default="./recordings"),
    ] = None,
    devices: DevicesFile = None,
    overrides: Overrides = None,
    no_record: NoRecord = False,
    once: Annotated[bool, typer.Option("--once", help="End after one run.")] = False,
    net_host: NetHost = "127.0.0.1",
    net_control_port: NetControlPort = 5556,
    net_feedback_port: NetFeedbackPort = 5557,
    net_token: NetToken = None,
) -> None:
    """Run a bench whenever a controller asks for it: Syntalos, or `mlink run --net-lead`.

    The runs prepare, start and stop with the controller's, and have its id, subject and name.
    """
    from mlink.api.run import Run
    from mlink.bench import load_bench
    from mlink.bench.subject import Subject
    from mlink.cli.terminal.live import LogView
    from mlink.cli.terminal.output import table_console
    from mlink.cli.terminal.summary import print_summary
    from mlink.engine.options import RunOptions
    from mlink.errors import BenchError
    from mlink.network.listener import Listener
    from mlink.network.messages import read_token

    checked = load_bench(bench, devices=devices, overrides=overrides or ())
    if checked.time == "virtual":
        raise BenchError(
            "run control over the network is for real time, and this bench is virtual",
            remedy="Remove `time` under [bench].",
        )
    console = table_console(soft_wrap=True)
    view = LogView(console)
    newest: Run | None = None
    failed = False

    def make_run(message: Message, signal: StartSignal) -> Run:
        nonlocal newest
        about = Subject(id=message.subject_id, group=message.subject_group)
        this = replace(checked, subject=checked.subject_of(message.subject_id, about))
        options = RunOptions(
            out_dir=out,
            name=message.experiment_id or None,
            record=not no_record,
            subject=this.subject.id,
            attributes={"remote": {"project": message.project, "launched_by": message.sender}},
            run_uuid=message.run_uuid,
            control=signal,
        )
        newest = Run(this, options, check=False)
        return newest

    def show_log() -> None:
        for line in newest.take_log() if newest is not None else ():
            view.on_log(line.module, line.level, line.text)

    def on_end(result: RunResult) -> None:
        nonlocal failed
        show_log()
        failed = failed or not result.success
        print_summary(result, console, debug=False)

    def over() -> bool:
        show_log()
        return once and listener.runs > 0

    raise_on_signals()
    token = read_token(net_token) if net_token else b""
    with Listener(
        make_run,
        host=net_host,
        control_port=net_control_port,
        feedback_port=net_feedback_port,
        token=token,
        on_end=on_end,
    ) as listener:
        console.print(f"{checked.name} waits for a controller at {net_host}; Ctrl-C ends it")
        listener.serve(until=over)
    if failed:
        raise typer.Exit(ExitCode.FAILED)
