"""Recorders that need no turn for each item. A turn costs a message to a process and one back."""

from __future__ import annotations

from mlink.bench import Bench
from mlink.module import Category
from mlink.tap.catalog import tap_type, view_type
from mlink.transport.codec import is_small


def patient_recorders(bench: Bench) -> frozenset[str]:
    """Return the recorders that can write several items in one turn.

    They send nothing, and have one input of small items: with two inputs the order between them
    would be lost. The tap passes on what a test or a view waits for.
    """
    return frozenset(
        name
        for name, module in bench.modules.items()
        if module.type.category is Category.WRITER
        and not module.outputs
        and module.type not in (tap_type, view_type)
        and len(module.connections) == 1
        and all(
            is_small(port.data_type)
            for port in module.inputs
            if port.id == module.connections[0].port
        )
    )
