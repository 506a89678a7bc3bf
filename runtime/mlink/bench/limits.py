"""What is too much for one bench: modules, ports of a module, connections of a module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mlink.bench.file import Places, Problems, shown
from mlink.bench.module import ModuleConfig
from mlink.transport.codec import is_small
from mlink.worker_spec import MAX_DESCRIPTORS

MAX_MODULES = 256
"""Each is a process with some 5 MB of its own; larger benches are not tested."""
MAX_PORTS = 256
"""Most ports of one module: its description has to fit into one message."""
MAX_PORT_ID = 100
"""Characters."""

_OWN_DESCRIPTORS = 4
"""Descriptors of each worker: control channel, doorbell, pipe of its output, page of the clock."""


def too_many_modules(count: int, problems: Problems) -> bool:
    """Add a problem if a bench has too many modules; return whether it has."""
    if count <= MAX_MODULES:
        return False
    problems.add(
        "[modules]",
        f"{count:,} modules are more than the {MAX_MODULES} that a bench may have: "
        "each runs in a process of its own",
        "Let one script do what several modules do, or divide the bench into several.",
    )
    return True


def check_sizes(modules: Mapping[str, ModuleConfig], places: Places, problems: Problems) -> None:
    """Add a problem for each module with too many ports or connections, or too long names.

    Args:
        modules: The modules with their connections.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.
    """
    passed = _descriptors(modules)
    for name, module in modules.items():
        where, ports = places("modules", name), [*module.inputs, *module.outputs]
        if len(ports) > MAX_PORTS:
            what = f"{len(ports):,} ports are more than the {MAX_PORTS} that a module may have"
            problems.add(where, what, "Send several values in one row or block.")
        for port in ports:
            if len(port.id) > MAX_PORT_ID:
                what = f"the id of a port has more than {MAX_PORT_ID} characters: {shown(port.id)}"
                problems.add(where, what, "Choose a shorter one.")
        if passed[name] > MAX_DESCRIPTORS:
            problems.add(
                where,
                f"has too many connections: its inputs, and what subscribes to its outputs, need "
                f"{passed[name]} descriptors of at most {MAX_DESCRIPTORS}",
                "Divide the module, or connect less to it. A row or a command needs two "
                "descriptors, frames and signal blocks need three.",
            )


def _descriptors(modules: Mapping[str, ModuleConfig]) -> Counter[str]:
    """Return how many descriptors each module's worker is passed."""
    counts = Counter(dict.fromkeys(modules, _OWN_DESCRIPTORS))
    types = {
        (name, port.id): port.data_type
        for name, module in modules.items()
        for port in module.outputs
    }
    arrays = set()
    for name, module in modules.items():
        for each in module.connections:
            stream = (each.source_module, each.source_port)
            if stream not in types:  # a mistake that is reported as such
                continue
            if is_small(types[stream]):
                counts[name] += 2
                counts[each.source_module] += 2
            else:
                counts[name] += 3
                counts[each.source_module] += 2 if stream in arrays else 3
                arrays.add(stream)
    return counts
