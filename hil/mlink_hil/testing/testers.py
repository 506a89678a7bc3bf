"""Tester boards, which drive and watch the lines of real boards under test.

The `[wiring]` table of a devices file (`mlink_hil.lab`) names the lines. What a test drives on such
a line, the tester drives; an edge on it is what the tester reports.
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
    """Return the devices of the tester boards, sorted."""
    return tuple(sorted({wire.partition(".")[0] for wire in wires.values()}))


def add_testers(bench: Bench, wires: Mapping[str, str]) -> Bench:
    """Return the bench with a `firmata-io` module for each tester board, driven by the tap.

    Raises:
        BenchError: A tester has the name of a module.
    """
    modules = dict(bench.modules)
    kind = module_type(_TESTER_TYPE)
    for name in testers(wires):
        if name in modules:
            raise BenchError(
                f"the tester '{name}' of [wiring] has the name of a module of {bench.path}",
                remedy="Give the tester another name in the devices file.",
            )
        settings = kind.settings()
        inputs, outputs = kind.ports_for(settings)
        connection = Connection("fmctl", TAP_NAME, drive_port(name))
        modules[name] = ModuleConfig(name, kind, settings, name, (connection,), inputs, outputs)
    return replace(bench, modules=modules)
