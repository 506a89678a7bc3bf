"""Finds turns that a replay can skip. Each turn costs a message to a process and one back."""

from __future__ import annotations

from collections.abc import Mapping

from mlink.recording.journal.reading import Journal
from mlink.replay.sources import Plan
from mlink.transport.codec import is_small


def inputs_on_tape(plan: Plan, journals: Mapping[str, Journal]) -> frozenset[tuple[str, str]]:
    """Return the inputs (module, port) whose small items are read from the module's own journal.

    Frames and signal blocks are not in a journal: they still come from their source.

    Args:
        plan: The bench with its replayed sources.
        journals: Journals of the recorded run, by the names of their datasets.
    """
    found: set[tuple[str, str]] = set()
    for journal in journals.values():
        module = plan.bench.modules.get(journal.header.module)
        if module is None:
            continue
        types = {port.id: port.data_type for port in module.inputs}
        sources = {
            each.port: f"{each.source_module}.{each.source_port}"
            for each in module.connections
            if each.source_module in plan.replayed
        }
        found |= {
            (module.name, known.id)
            for known in journal.header.inputs
            if sources.get(known.id, "") == known.source != ""
            and types[known.id].name == known.data_type
            and is_small(types[known.id])
        }
    return frozenset(found)
