"""The command `mlink fuzz BENCH`: tries many seeds, or shows one again."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import BenchFile, DevicesFile, Overrides, duration_s
from mlink.cli.terminal.output import ExitCode, as_json
from mlink_hil.fuzz.output import Progress, account_as_json, print_account, print_verdict

if TYPE_CHECKING:
    from rich.console import Console

    from mlink.engine.interrupt import Interrupts
    from mlink_hil.fuzz.draw import Disturbed, Draw
    from mlink_hil.fuzz.search import Account
    from mlink_hil.fuzz.trial import Attempt, Task, Verdict

_OUT = Path("recordings/fuzz")
_FOR_S = 10.0
_OURS = "mlink.__main__"
"""Module of the command line; elsewhere, as in a test, `fuzz` does not begin the program again."""
_OF_RUNS = (
    "mlink.worker.forking.forkserver",
    "mlink.worker.virtual_time.host",
    "mlink.worker.virtual_time.nondeterminism",
    "mlink.tap.module",
    "mlink_hil.sim.wired",
    "mlink_hil.sim.boards.avr_board",
)
_OF_TESTS = ("pytest", "mlink_hil.testing.bench", "mlink_hil.testing.evidence")
"""Imported by name: the search itself does not use them."""


def fuzz(
    bench: BenchFile,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 100,
    first: Annotated[int, typer.Option("--from", metavar="SEED", min=0, help="First seed.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=(1 << 63) - 1, help="Show this seed alone, and keep its recording."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="KIND,…", help="Kinds of disturbances.", show_default="all"),
    ] = None,
    tests: Annotated[
        list[str] | None,
        typer.Option(
            "--test", metavar="FILE[::NAME]", help="Tests that each seed has to pass; repeatable."
        ),
    ] = None,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=duration_s,
            help="Length of each run, where no test ends it: 5, 500ms, 2min.",
            show_default=f"{_FOR_S:g}s",
        ),
    ] = None,
    devices: DevicesFile = None,
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option("--strict", help="A run that loses items fails.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Seeds at a time.", show_default="number of processors"),
    ] = None,
    most_failures: Annotated[
        int | None,
        typer.Option("--max-failures", metavar="N", min=1, help="End after so many failing seeds."),
    ] = None,
    limit_s: Annotated[
        float,
        typer.Option(
            "--limit", metavar="TIME", parser=duration_s, help="Longest real time of one seed."
        ),
    ] = 600.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for recordings of failing seeds.")
    ] = _OUT,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Try a bench, or its tests, in virtual time with disturbances that seeds draw."""
    _fix_hashes()
    from rich.console import Console

    from mlink.bench.virtual_time import refuse_what_needs_real_time
    from mlink.errors import BenchError
    from mlink_hil.fuzz.draw import Draw, disturb, parse_kinds
    from mlink_hil.fuzz.limits import KINDS
    from mlink_hil.fuzz.trial import Task

    if tests and for_s is not None:
        raise BenchError(
            "--for and --test exclude each other: a test decides how long its run lasts",
            remedy="Leave one of them out.",
        )
    task = Task(
        bench=bench,
        devices=devices,
        overrides=overrides or [],
        for_s=None if tests else for_s or _FOR_S,
        strict=strict,
        tests=[_test_file(each, bench) for each in tests or ()],
    )
    kinds = frozenset(KINDS) if only is None else parse_kinds(only)
    start = Draw(first if seed is None else seed, kinds)
    found = disturb(bench, start, devices=devices, overrides=task.overrides)
    if not found.drawn:
        raise BenchError(
            f"{', '.join(start.names) or 'no kind'}: none of these disturbs {found.bench.path}",
            remedy=f"Kinds: {', '.join(KINDS)}. What they need is in docs/fuzz.md.",
        )
    if not tests:
        refuse_what_needs_real_time(found.bench)
    console = Console(stderr=json, soft_wrap=True, highlight=False)
    again = partial(_command, task, out)
    if seed is not None:
        _show_one(task, found, console, limit_s, out, json=json)
        return
    from mlink_hil.fuzz.search import Account

    account = Account(
        bench=found.bench.name,
        seeds=seeds,
        first_seed=first,
        kinds=[kind for kind in KINDS if kind in found.kinds],
    )
    modules = found.bench.modules.values()
    implementations = sorted({each.type.implementation.partition(":")[0] for each in modules})
    _search(
        task,
        implementations,
        account,
        console,
        again,
        jobs or _processors(),
        limit_s,
        out,
        most_failures,
        json=json,
    )


def _fix_hashes() -> None:
    """Begin again as a process that hashes texts as workers do, so that these can be its forks."""
    program = sys.modules["__main__"]
    spec, main = getattr(program, "__spec__", None), getattr(program, "main", None)
    is_ours = getattr(spec, "name", "") == _OURS or getattr(main, "__module__", "") == _OURS
    if is_ours and "PYTHONHASHSEED" not in os.environ:
        command = [sys.executable, *sys.orig_argv[1:]]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        os.execve(sys.executable, command, environment)  # noqa: S606 - the same program again


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _test_file(given: str, bench: Path) -> str:
    """Return a test as pytest takes it; its file is looked for here and beside the bench.

    Raises:
        BenchError: There is no such file.
    """
    from mlink.errors import BenchError

    name, colons, test = given.partition("::")
    folder = bench if bench.is_dir() else bench.parent
    for path in (Path(name), folder / name):
        if path.exists():
            return f"{path}{colons}{test}"
    raise BenchError(
        f"--test {given}: there is no file {name}",
        remedy="Name a file of tests, as file.py or file.py::test_name.",
    )


def _command(task: Task, out: Path, draw: Draw) -> str:
    """Return the command that shows a draw again."""
    words = ["mlink", "fuzz", str(task.bench), "--seed", str(draw.seed)]
    words += ["--only", ",".join(draw.names)]
    for test in task.tests:
        words += ["--test", test]
    if task.for_s not in (None, _FOR_S):
        words += ["--for", f"{task.for_s:g}"]
    if task.devices is not None:
        words += ["--devices", str(task.devices)]
    for setting in task.overrides:
        words += ["--set", setting]
    if task.strict:
        words.append("--strict")
    if out != _OUT:
        words += ["--out", str(out)]
    return shlex.join(words)


def _show_one(
    task: Task, found: Disturbed, console: Console, limit_s: float, out: Path, *, json: bool
) -> None:
    """Make one trial, print all of it, and keep its recording."""
    import msgspec

    from mlink.engine.interrupt import Interrupts
    from mlink_hil.fuzz.pool import Pool
    from mlink_hil.fuzz.search import free_folder
    from mlink_hil.fuzz.trial import try_once

    draw = found.draw._replace(kinds=found.kinds)
    console.print(f"seed {draw.seed} of {found.bench.name}:")
    for each in found.drawn:
        console.print(f"  {each.kind:10}{each}", markup=False)
    shown = msgspec.structs.replace(task, shown=True)
    folder = free_folder(out, draw)

    def attempt(draw: Draw, _folder: Path) -> Verdict:
        return try_once(shown, draw, folder)

    with (
        tempfile.TemporaryDirectory(prefix="mlink-fuzz-") as scratch,
        Interrupts() as interrupts,
        Pool(attempt, Path(scratch), jobs=1, limit_s=limit_s, shown=True) as pool,
    ):
        pool.begin(draw)
        while not (ended := pool.ended()):
            if interrupts.reason():
                raise KeyboardInterrupt
    verdict = ended[0].verdict
    recording = str(folder) if folder.is_dir() else ""
    if json:
        drawn = [{"kind": each.kind, "what": str(each)} for each in found.drawn]
        answer = {"seed": draw.seed, "kinds": draw.names, "drawn": drawn, "recording": recording}
        typer.echo(as_json(answer | msgspec.to_builtins(verdict)))
    else:
        print_verdict(verdict, draw, recording, console)
    if verdict.outcome in ("failed", "refused"):
        raise typer.Exit(ExitCode.FAILED)


def _search(
    task: Task,
    implementations: Sequence[str],
    account: Account,
    console: Console,
    again: Callable[[Draw], str],
    jobs: int,
    limit_s: float,
    out: Path,
    most_failures: int | None,
    *,
    json: bool,
) -> None:
    from mlink.engine.interrupt import Interrupts
    from mlink_hil.fuzz.draw import Draw
    from mlink_hil.fuzz.pool import Pool
    from mlink_hil.fuzz.search import Search
    from mlink_hil.fuzz.trial import try_once, with_tests_collected

    import_all([*_OF_RUNS, *(_OF_TESTS if task.tests else ()), *implementations])
    what = ", ".join(task.tests) or f"{task.for_s:g} s each"
    last = account.first_seed + account.seeds - 1
    console.print(
        f"{account.bench}: seeds {account.first_seed} to {last} ({what}), {jobs} at a time; "
        f"disturbed: {', '.join(account.kinds)}",
        markup=False,
    )
    progress = Progress(account, console)

    def search(attempt: Attempt, folder: Path, interrupts: Interrupts) -> None:
        with Pool(attempt, folder, jobs=jobs, limit_s=limit_s) as pool:
            pool.begin(Draw(account.first_seed, frozenset()))
            while not (ended := pool.ended()):
                if interrupts.reason():
                    raise KeyboardInterrupt
            if ended[0].failed:
                _refuse(ended[0].verdict)
            import_all(ended[0].verdict.imported)
            found = Search(account, pool, out, again, progress.note)
            found.run(interrupts.reason, most_failures=most_failures)

    with (
        tempfile.TemporaryDirectory(prefix="mlink-fuzz-", ignore_cleanup_errors=True) as scratch,
        Interrupts() as interrupts,
    ):
        folder = Path(scratch)
        if task.tests:
            output = folder / "collected.txt"
            with_tests_collected(task, output, lambda attempt: search(attempt, folder, interrupts))
        else:
            search(partial(try_once, task), folder, interrupts)
    if json:
        typer.echo(account_as_json(account))
    else:
        print_account(account, console)
    if account.failed:
        raise typer.Exit(ExitCode.FAILED)


def import_all(names: Iterable[str]) -> None:
    """Import here, once, what each trial would import; what cannot be imported fails there."""
    for name in names:
        with suppress(Exception, SystemExit):
            importlib.import_module(name)


def _refuse(verdict: Verdict) -> None:
    """Raise why there is nothing to search: it fails without any disturbance."""
    from mlink.errors import BenchError

    reasons = "".join(f"\n  {reason}" for reason in verdict.reasons)
    if verdict.outcome == "refused":
        raise BenchError("\n".join(verdict.reasons), remedy=verdict.remedy)
    raise BenchError(
        f"it fails without any disturbance, so there is nothing to search for:{reasons}",
        remedy=verdict.remedy or "Correct that first; then search again.",
    )
