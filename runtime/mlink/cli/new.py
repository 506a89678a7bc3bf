"""`mlink new`: create a commented example to start from, or copy an example bench."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mlink.catalog import example_benches
from mlink.errors import BenchError
from mlink.proposals import proposal

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")

_LINK_OUT = re.compile(rb"\[([^]]*)\]\(\.\./[^)]*\)")
"""A link of a page to what is not copied with it."""

_BENCH = """\
# A bench: which modules run, and how they are connected. It needs no hardware as it is.
#
#     mlink check {name}       checks this file
#     mlink run {name} --for 2 runs it for 2 seconds, and prints where it was recorded

[bench]
name = "{name}"

[modules.script]            # your code
type = "pyscript"
script = "{name}.py"        # relative to this file
ports_in = [{{ id = "readings", data_type = "LineReading" }}]
ports_out = [
    {{ id = "commands", data_type = "LineCommand" }},
    {{ id = "rows", data_type = "TableRow" }},
]
# inputs = {{ readings = "board.fmdata" }}      # with the board below

[modules.table]             # writes the rows to a CSV file
type = "table"
inputs = {{ rows = "script.rows" }}

# A board with StandardFirmata: remove the # here and above, and enter your device
# (`mlink devices` lists what is connected).
#
# [devices]
# uno = "/dev/ttyACM0"
#
# [modules.board]
# type = "firmata-io"
# device = "uno"
# inputs = {{ fmctl = "script.commands" }}
"""

_SCRIPT = '''\
"""{name}: writes a row twice a second, and lets an LED follow a button once there is a board."""

import syntalos_mlink as syl

BUTTON_LINE = 7  # a push button between this pin and ground
LED_LINE = 8
INTERVAL_MSEC = 500

# The ports that bench.toml declares for this script, by their ids.
readings = syl.get_input_port("readings")
commands = syl.get_output_port("commands")
rows = syl.get_output_port("rows")

# With the pull-up the button's line reads 1 while it is open, and 0 while it is pressed.
button = syl.HwInputLine(commands, BUTTON_LINE, pullup=True)
led = syl.HwOutputLine(commands, LED_LINE)


def prepare():
    """Called before the run. May be slow; nothing can be sent yet, and no time runs."""
    readings.on_data = on_reading
    rows.set_metadata_value("table_header", ["time_usec", "what", "value"])


def start():
    """Called when the run starts: from now on, things can be sent."""
    # A board forgets the modes of its lines between runs: send them at each start.
    button.send_mode()
    led.send_mode()
    on_interval()


def on_interval():
    """Write a row, and schedule the next call. This does not block."""
    rows.submit([syl.time_since_start_usec(), "tick", ""])
    syl.schedule_delayed_call(INTERVAL_MSEC, on_interval)


def on_reading(reading):
    """Called with each reading of the board; its `time_usec` counts from the start of the run."""
    if reading is None or reading.line_id != BUTTON_LINE:
        return
    pressed = reading.value == 0
    led.set_value(1 if pressed else 0)
    rows.submit([reading.time_usec, "button", int(pressed)])


# A script may define run() as well, for a program of its own after start():
#
# def run():
#     while syl.is_running():
#         syl.wait(10)  # milliseconds; data arrives meanwhile


def stop():
    """Called at the end, when all data has arrived. Sending still works."""
    led.set_value(0)
'''


_KIND = "script, or an example bench; without one, list them."


def new(
    kind: Annotated[str, typer.Argument(help=f"What to create: {_KIND}")] = "",
    name: Annotated[str, typer.Argument(help="Its name, and that of its new folder.")] = "",
) -> None:
    """Create a commented script with its bench, or copy an example bench. They run as they are."""
    examples = example_benches()
    if not kind:
        _list_kinds(examples)
        return
    if kind != "script" and kind not in examples:
        known = ["script", *examples]
        raise BenchError(f"cannot create '{kind}'", remedy=proposal(kind, known, "kinds"))
    _check_name(name)
    folder = Path(name)
    if kind == "script":
        files = {
            folder / "bench.toml": _BENCH.format(name=name).encode(),
            folder / f"{name}.py": _SCRIPT.format(name=name).encode(),
        }
    else:
        files = _copy_of(examples[kind], folder)
    _write(folder, files)
    for path in files:
        typer.echo(f"created {path}")
    typer.echo(f"run it with: mlink run {name} --for 2")
    if any(path.name.startswith("test_") for path in files):
        typer.echo(f"test it with: pytest {name}")


def _list_kinds(examples: Mapping[str, Path]) -> None:
    from mlink.cli.output import plain_table, table_console

    table = plain_table("mlink new KIND NAME", "")
    table.add_row("script", "A script and its bench, without hardware, to start from.")
    for name, folder in examples.items():
        first = (folder / "bench.toml").read_text().partition("\n")[0]
        table.add_row(name, first.removeprefix("# "))
    table_console().print(table)


def _copy_of(example: Path, folder: Path) -> dict[Path, bytes]:
    """Return the files of a bench that is an example's copy with another name."""
    files = {}
    for path in sorted(example.rglob("*")):
        place = path.relative_to(example)
        if path.is_file() and "__pycache__" not in place.parts and path.name[0] != ".":
            data = path.read_bytes().replace(b".venv/bin/", b"")
            data = _LINK_OUT.sub(rb"\1", data)
            data = data.replace(f"hil/benches/{example.name}".encode(), str(folder).encode())
            if str(place) == "bench.toml":
                data = data.replace(f'"{example.name}"'.encode(), f'"{folder}"'.encode(), 1)
            files[folder / place] = data
    return files


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} cannot be the name of a script",
            remedy="Use letters, digits, '-' and '_', beginning with a letter; at most 50.",
        )
    taken = name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None
    if taken and not Path(name).exists():
        raise BenchError(
            f"a script '{name}.py' would hide Python's module '{name}'",
            remedy=f"Choose another name, such as my-{name}.",
        )


def _write(folder: Path, files: Mapping[Path, bytes]) -> None:
    existing = [path for path in (folder, *files) if path.exists() or path.is_symlink()]
    if existing and (not folder.is_dir() or len(existing) > 1):
        raise BenchError(
            f"{existing[-1]} exists already", remedy="Choose another name; nothing was changed."
        )
    try:
        folder.mkdir(exist_ok=True)
        for path, data in files.items():
            path.parent.mkdir(exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
    except OSError as error:
        raise BenchError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="Choose a folder that you may write to.",
        ) from error
