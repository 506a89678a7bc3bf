"""Scripts in tests: written into a folder, run on a manual clock."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import syntalos_mlink as syl
from mlink.testing import ScriptRunner

PORTS_IN = {
    "control-in": "ControlCommand",
    "rows-in": "TableRow",
    "frames-in": "Frame",
    "commands-in": "LineCommand",
    "readings-in": "LineReading",
    "i32-in": "SignalBlockI32",
    "u16-in": "SignalBlockU16",
    "f32-in": "SignalBlockF32",
}
PORTS_OUT = {port.replace("-in", "-out"): type_ for port, type_ in PORTS_IN.items()}

MakeRunner = Callable[..., ScriptRunner]


def out(kind: str) -> syl.OutputPort:
    """Return the output port of a kind ("rows") of the script that runs."""
    port = syl.get_output_port(f"{kind}-out")
    assert port is not None
    return port


@contextmanager
def runners(folder: Path) -> Iterator[MakeRunner]:
    """Give a function that makes runners of script texts; they are closed at the end."""
    made: list[ScriptRunner] = []

    def make(text: str, **options: Any) -> ScriptRunner:
        path = folder / "script.py"
        path.write_text("import syntalos_mlink as syl\n" + textwrap.dedent(text))
        options.setdefault("inputs", PORTS_IN)
        options.setdefault("outputs", PORTS_OUT)
        runner = ScriptRunner(path, **options)
        made.append(runner)
        return runner

    try:
        yield make
    finally:
        for runner in made:
            runner.close()
