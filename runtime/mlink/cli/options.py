"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

_SECONDS = {"ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|m|h|d|)")
_LONGEST_S = 366 * 86400.0


def duration_s(text: str | float) -> float:
    """Return a duration in s: 60, "60", "60s", "5min", "5m", "1.5 h", "1d".

    Raises:
        typer.BadParameter: It is not a duration of more than 0 s and at most 366 days.
    """
    match = _DURATION.fullmatch(str(text).strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise typer.BadParameter(
            f"{text!r} is not a duration of more than 0 s and at most 366 days;"
            " write it like 5, 5s, 500ms, 2min, 1.5h or 1d"
        )
    return seconds


_BENCH = "Bench file, or a folder with a bench.toml."
BenchFile = Annotated[Path, typer.Argument(help=_BENCH)]
BenchHere = Annotated[Path, typer.Argument(help=_BENCH, show_default="this folder")]
RunTime = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="TIME",
        parser=duration_s,
        help="Stop the run after this time: 5, 5s, 2min, 1.5h.",
    ),
]
DevicesFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your lab: its [devices], and changes to [modules]."),
]
RecordingFolder = Annotated[Path, typer.Argument(help="Folder of the recording.")]
SubjectFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Facts about the subject, as under [subject] of a bench."),
]
ShowProgress = Annotated[
    bool, typer.Option("--progress", help="Print a line on stderr as each dataset begins.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="MODULE.KEY=VALUE", help="Replace one setting; repeatable."),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Run on when the terminal is closed (SIGHUP).")
]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Record nothing.")]
KindOfTime = Annotated[
    Literal["real", "virtual"] | None,
    typer.Option(
        help="Kind of time: virtual runs simulated devices in turns, repeatably.",
        show_default="the bench's, else real",
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Show plain lines instead of a live table.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print all figures of the modules, too.")
]
ResultAsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON; logs go to stderr.")
]
NetHost = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the controller; of a controller, where it listens (0.0.0.0: everywhere).",
    ),
]
NetControlPort = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the controller's commands.")
]
NetFeedbackPort = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the listeners' acknowledgements.")
]
NetToken = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Secret of both ends, where both are mlink."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]


def wants_debug(context: typer.Context, debug: bool) -> bool:
    """Return whether `--debug` was given, before or after the command's name, and keep it."""
    context.obj["debug"] = debug or bool(context.obj.get("debug"))
    return bool(context.obj["debug"])
