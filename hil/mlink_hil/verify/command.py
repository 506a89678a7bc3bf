"""The command `mlink verify-timing BENCH`: measures a bench's timing; a table, JSON, plots."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlink.cli.options import BenchFile, DevicesFile, duration_s
from mlink.cli.terminal.output import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from mlink_hil.verify.timing import Progress, Samples


_FILE_WIDTH = 120
_SHORTEST_S = 0.5


def _at_least(text: str | float) -> float:
    """Return a duration in s, of half a second or more."""
    seconds = duration_s(text)
    if seconds < _SHORTEST_S:
        raise typer.BadParameter(f"{text!r} is shorter than {_SHORTEST_S:g} s")
    return seconds


def verify_timing(
    bench: BenchFile,
    for_s: Annotated[
        float, typer.Option("--for", metavar="TIME", parser=_at_least, help="Length of the run.")
    ] = 10.0,
    launches: Annotated[
        int, typer.Option(min=0, help="Also start the bench so many times, and measure the starts.")
    ] = 0,
    devices: DevicesFile = None,
    press: Annotated[
        int | None, typer.Option(metavar="LINE", help="Press this line of the board…")
    ] = None,
    answer: Annotated[
        int | None, typer.Option(metavar="LINE", help="…and measure when this one answers.")
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Board of these lines, where a bench has several."),
    ] = None,
    light: Annotated[
        str, typer.Option(metavar="X,Y,W,H", help="Place of the LED in the pictures, in pixels.")
    ] = "",
    stages: Annotated[
        bool, typer.Option("--stages", help="Measure where the time of --press to --answer goes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write timing.json and PNG plots here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure round trips, the time from light to frame, and starts."""
    from rich.console import Console

    from mlink.bench import load_bench
    from mlink.errors import BenchError
    from mlink_hil.verify.stages import measure_stages
    from mlink_hil.verify.timing import FAILED_LAUNCHES, measure_launches, measure_run

    if (press is None) != (answer is None):
        raise BenchError(
            "--press and --answer need each other", remedy="For example: --press 7 --answer 8."
        )
    if stages and (press is None or light):
        raise BenchError(
            "--stages measures the loop from --press to --answer, and no light",
            remedy="For example: --stages --press 7 --answer 8.",
        )
    checked = load_bench(bench, devices=devices, time="real")  # it measures this computer
    stderr = Console(stderr=True)
    with _sigterm_like_ctrl_c(), stderr.status("starting") as status:
        progress = _lines(stderr) if not stderr.is_terminal else _live(status)
        if stages and press is not None and answer is not None:
            found = measure_stages(
                checked, for_s, progress, press=press, answer=answer, board=board
            )
        else:
            found = measure_run(
                checked,
                for_s,
                progress,
                press=press,
                answer=answer,
                board=board,
                light=_area(light),
            )
        if launches:
            found += measure_launches(checked, launches, progress)
    if not found and press is not None:
        raise BenchError(
            f"line {answer} never answered line {press} in {checked.path}",
            remedy="Give the lines that a script of the bench connects, and a longer --for.",
        )
    if not found:
        raise BenchError(
            f"there is nothing to measure in {checked.path}",
            remedy="Give lines with --press and --answer, or add a virtual-button module.",
        )
    summary = {samples.name: samples.summary() for samples in found}
    text = _as_json(checked.name, summary)
    if out is not None:
        _write(out, text, found)
    if json:
        typer.echo(text)
    else:
        _print_table(checked.name, summary)
    if FAILED_LAUNCHES in summary:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end the measurement like Ctrl-C, with the results so far."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _live(status: Status) -> Progress:
    def progress(what: str, share: float) -> None:
        status.update(f"{what}: {share:4.0%} (Ctrl-C ends it, with the results so far)")

    return progress


def _lines(console: Console) -> Progress:
    """Print a line for each tenth of the work, where the output is no terminal."""
    printed: set[tuple[str, int]] = set()

    def progress(what: str, share: float) -> None:
        step = what, int(share * 10)
        if step not in printed:
            printed.add(step)
            console.print(f"{what}: {share:4.0%}")

    return progress


def _area(text: str) -> tuple[int, int, int, int] | None:
    """Parse X,Y,W,H; None for ""."""
    if not text:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not X,Y,W,H in pixels") from None
    return x, y, width, height


def _as_json(name: str, summary: dict[str, dict[str, float]]) -> str:
    import msgspec

    return msgspec.json.format(
        msgspec.json.encode({"bench": name, "unit": "µs", "measurements": summary})
    ).decode()


def _write(folder: Path, text: str, found: list[Samples]) -> None:
    from mlink_hil.verify.plots import write_plots

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timing.json").write_text(text + "\n", encoding="utf-8")
    for samples in found:
        write_plots(folder, samples)


def _print_table(name: str, summary: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table: Any = Table(title=f"timing of {name} [µs]", box=None, pad_edge=False)
    columns = ("count", "min", "p50", "p95", "p99", "max", "drift_per_minute")
    table.add_column("")
    for column in columns:
        table.add_column(column.replace("drift_per_minute", "drift/min"), justify="right")
    for measurement, values in summary.items():
        cells = [f"{values[c]:,.0f}" if c in values else "" for c in columns]
        table.add_row(measurement, *cells)
    console = Console()
    # a file has no width: no figure is cut there
    console.print(table, width=None if console.is_terminal else _FILE_WIDTH)
