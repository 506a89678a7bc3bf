"""Makes the models of a `[virtual]` table once, without a run, for `mlink check`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from mlink.devices import TableProblem
from mlink_hil.wiring.circuit_parts import Model
from mlink_hil.wiring.layout import model_plan
from mlink_hil.wiring.part import Part
from mlink_hil.wiring.table import TABLE

_LONGEST_S: Final = 30.0


def try_models(parts: Mapping[str, Part], bench_dir: Path) -> list[TableProblem]:
    """Return why models cannot be made: no class of that name, an exception of its constructor.

    They are made in a process of its own, since the code is the user's.

    Args:
        parts: The parts of a run by name.
        bench_dir: Folder that paths in the table are relative to.
    """
    plans = [
        model_plan(name, part, bench_dir) for name, part in parts.items() if isinstance(part, Model)
    ]
    if not plans:
        return []
    command = [sys.executable, "-m", "mlink_hil.sim.circuit.model"]
    given = msgspec.json.encode(plans)
    where = f"[{TABLE}]" if len(plans) > 1 else f"[{TABLE}.{plans[0].name}]"
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=_LONGEST_S, check=False
        )
        wrong = msgspec.json.decode(done.stdout, type=list[tuple[str, str, str]])
    except subprocess.TimeoutExpired:
        what = f"the code of its models does not return within {_LONGEST_S:.0f} s"
        return [TableProblem(where, what, "Import and construct less in it.")]
    except msgspec.DecodeError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
        what = f"its models cannot be tried; code {done.returncode}: {last}"
        return [TableProblem(where, what)]
    return [TableProblem(f"[{TABLE}.{name}]", what, remedy) for name, what, remedy in wrong]
