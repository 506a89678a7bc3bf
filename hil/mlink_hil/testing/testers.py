"""Real benches: the tester boards that drive and watch the lines of the boards under test.

What a test drives on a line that a devices file's `[wiring]` names (`mlink_hil.lab`) is driven by
the tester's, and an edge on it is what the tester reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlink.bench import Bench
from mlink.bench.module import Connection, ModuleConfig
from mlink.catalog import module_type
from mlink.errors import BenchError
from mlink.tap.catalog import TAP_NAME, drive_port

_TESTER_TYPE = "firmata-io"


def testers(wires: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tester boards, in order."""
    return tuple(sorted({wire.partition(".")[0] for wire in wires.values()}))


def add_testers(bench: Bench, wires: Mapping[str, str]) -> Bench:
    """Return the bench with a module for each tester board, driven by the tap."""
    modules = dict(bench.modules)
    kind = module_type(_TESTER_TYPE)
    for name in testers(wires):
        if name in modules:
            raise BenchError(
                f"[wiring] names the tester '{name}', which is a module's name in {bench.path}",
                remedy="Give the tester another name in the devices file.",
            )
        settings = kind.settings()
        inputs, outputs = kind.ports_for(settings)
        connection = Connection("fmctl", TAP_NAME, drive_port(name))
        modules[name] = ModuleConfig(name, kind, settings, name, (connection,), inputs, outputs)
    return replace(bench, modules=modules)
