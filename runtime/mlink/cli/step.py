"""`mlink step`: step through a bench in virtual time, and look into its simulated chips."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import BenchFile, DevicesFile, NoRecord, Overrides, RunTime
from mlink.cli.terminal.typed import execute_typed, typed_lines
from mlink.errors import BenchError

if TYPE_CHECKING:
    from mlink.api.run import Run
    from mlink.devices import SimulatedChip
    from mlink.engine.virtual_time.stepping import Moment

HELP = """\
until SECONDS                     stand at this master time
for SECONDS                       stand after this time
edge CHIP.PIN [KIND] [SECONDS]    stand at the next edge: rising, falling or any; longest wait
pin CHIP.PIN                      level of a pin, and what drives it
registers CHIP [NAME …]           registers: PC, SP, SREG, R0 to R31, PORTB, …
memory CHIP ADDRESS LENGTH        a part of the data space
symbol CHIP NAME                  a variable of the firmware; needs its ELF file
elf CHIP FILE                     the ELF file of a chip's firmware
log                               what modules have logged and printed since the last look
go                                run on to the end of the run; Ctrl-C lets it stand again
quit                              end the run (also: end of input)
CHIP is a key of [devices], or a chip of [virtual]; a pin is a number, 14 is A0."""

_LONGEST_NUMBER = 8
"""Bytes of a variable that is shown as a number too."""
_ROW = 16
"""Bytes of memory, and names of registers, in a line."""


def step(
    bench: BenchFile,
    commands: Annotated[
        list[str] | None,
        typer.Option(
            "--command", "-c", metavar="COMMAND", help="Execute this and exit; repeatable."
        ),
    ] = None,
    for_s: RunTime = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the recording.", show_default="./recordings"),
    ] = None,
    devices: DevicesFile = None,
    overrides: Overrides = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Takes the recording's id and date from this number."),
    ] = None,
    no_record: NoRecord = False,
) -> None:
    """Step through a bench of simulated devices in virtual time, and look into its chips."""
    import mlink
    from mlink.bench import load_bench
    from mlink.errors import MlinkError

    checked = load_bench(bench, devices=devices, overrides=overrides or (), time="virtual")
    run = mlink.start(
        checked, duration_s=for_s, out=out, record=not no_record, seed=seed, paused=True
    )
    with run:
        console = StepConsole(run, typer.echo)
        if not commands:
            typer.echo(f"{checked.name} stands at 0 s; `help` lists the commands")
        for line in commands or typed_lines("step> "):
            try:
                if not console.execute(line):
                    break
            except MlinkError as error:
                if commands or run.ended:
                    raise
                typer.secho(str(error), fg="red", err=True)
    if run.result.recording_dir is not None:
        typer.echo(f"recorded to {run.result.recording_dir}")


class StepConsole:
    """The commands of `mlink step`.

    Args:
        run: The run, which stands still.
        show: Prints a line.
    """

    def __init__(self, run: Run, show: Callable[[str], object]) -> None:
        self._run = run
        self._show = show
        self._now_usec = 0
        self._elves: dict[str, str] = {}
        self._commands: dict[str, Callable[[list[str]], object]] = {
            "until": lambda words: self._pass(_usec(words[0])),
            "for": lambda words: self._pass(self._now_usec + _usec(words[0])),
            "edge": self._edge,
            "pin": self._pin,
            "registers": self._registers,
            "memory": self._memory,
            "symbol": self._symbol,
            "elf": self._elf,
            "log": self._log,
            "go": self._go,
            "help": lambda _words: self._show(HELP),
        }

    def execute(self, line: str) -> bool:
        """Execute one command.

        Returns:
            False when the command was `quit`.

        Raises:
            MlinkError: The command is unknown or failed, or the run has ended.
        """
        return execute_typed(line, self._commands, HELP, BenchError)

    # commands -----------------------------------------------------------------------------

    def _pass(self, time_usec: int) -> None:
        self._stand(self._run.run_until(time_usec))

    def _edge(self, words: list[str]) -> None:
        from mlink.engine.virtual_time.stepping import LIMIT_USEC

        chip, pin = _chip_and_pin(words[0])
        kind = words[1] if len(words) > 1 else "any"
        limit_usec = _usec(words[2]) if len(words) > 2 else LIMIT_USEC
        wanted = (chip, pin, kind)
        self._stand(self._run.run_until(edge=wanted, limit_usec=limit_usec))  # type: ignore[arg-type]

    def _stand(self, moment: Moment) -> None:
        self._now_usec = moment.time_usec
        text = f"{moment.time_usec / 1e6:.6f} s"
        if moment.edge is not None:
            way = "rising" if moment.edge.level else "falling"
            text += f": {way} edge of pin {moment.edge.pin}"
        self._show(text)

    def _pin(self, words: list[str]) -> None:
        name, number = _chip_and_pin(words[0])
        state = self._chip(name).pin(number)
        by = " by the chip" if state.output else " from outside" if state.driven else ""
        self._show(
            f"{name}.{number}: {'high' if state.level else 'low'}, driven{by or ' by nothing'}"
        )

    def _registers(self, words: list[str]) -> None:
        found = self._chip(words[0]).registers
        names = words[1:] or list(found)
        texts = [f"{name} {found[name]:#04x}" for name in names]
        for at in range(0, len(texts), _ROW // 2):
            self._show("  ".join(texts[at : at + _ROW // 2]))

    def _memory(self, words: list[str]) -> None:
        address = int(words[1], 0)
        self._dump(address, self._chip(words[0]).memory(address, int(words[2], 0)))

    def _symbol(self, words: list[str]) -> None:
        found = self._chip(words[0]).symbol(words[1])
        number = f" = {found.value}" if len(found.data) <= _LONGEST_NUMBER else ""
        self._show(f"{found.name}: {len(found.data)} bytes{number}")
        self._dump(found.address, found.data)

    def _dump(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), _ROW):
            self._show(f"{address + at:#06x}  {data[at : at + _ROW].hex(' ')}")

    def _elf(self, words: list[str]) -> None:
        name, file = words[0], words[1]
        self._elves[name] = file
        self._chip(name)

    def _log(self, _words: list[str]) -> None:
        for line in self._run.take_log():
            self._show(f"{line.module or 'mlink'}: {line.text}")

    def _go(self, _words: list[str]) -> None:
        self._run.go_on()
        try:
            self._run.wait()
        except KeyboardInterrupt:
            self._stand(self._run.pause())
        else:
            self._show("the run has ended")

    def _chip(self, name: str) -> SimulatedChip:
        return self._run.chip(name, self._elves.get(name))


def _usec(word: str) -> int:
    seconds = float(word)
    if not math.isfinite(seconds):
        raise ValueError(word)
    return round(seconds * 1e6)


def _chip_and_pin(word: str) -> tuple[str, int]:
    chip, _, pin = word.rpartition(".")
    return chip, int(pin)
