"""The streams of a run: their subscriptions, metadata and layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlink.bench import Bench, ModuleConfig
from mlink.control import InputPlan
from mlink.engine.plan import (
    UNKNOWN_FRAME_BYTES,
    Edge,
    find_edges,
    frame_queue_bytes,
    output_type,
    plan_stream,
)
from mlink.metadata import METADATA_LIMIT, decode_metadata
from mlink.transport.codec import COMMANDS, HEADER_BYTES, is_small
from mlink.transport.plan import StreamPlan
from mlink.transport.records import LIKELY_QUEUE
from mlink.types import DataType


class Streams:
    """Holds metadata and layouts of streams, which become known while modules prepare and start.

    Args:
        bench: The bench that runs.
        order: Names of its modules, sources first; subscriptions against it are feedback.
    """

    def __init__(self, bench: Bench, order: list[str]) -> None:
        self.edges = find_edges(bench, order)
        self._into: dict[str, list[Edge]] = {name: [] for name in bench.modules}
        self._out_of: dict[str, list[Edge]] = {name: [] for name in bench.modules}
        for edge in self.edges:
            self._into[edge.target].append(edge)
            self._out_of[edge.source].append(edge)
        self._queue_bytes = frame_queue_bytes(bench, self.edges)
        self._types = {
            edge.stream: output_type(bench.modules[edge.source], edge.source_port)
            for edge in self.edges
        }
        self._metadata: dict[tuple[str, str], bytes] = {}
        self._layouts: dict[tuple[str, str], tuple[StreamPlan, dict[Edge, int]]] = {}

    def into(self, module: str) -> Sequence[Edge]:
        """Return a module's subscriptions."""
        return self._into[module]

    def out_of(self, module: str) -> Sequence[Edge]:
        """Return the subscriptions to a module's outputs."""
        return self._out_of[module]

    def sources(self, module: str) -> set[str]:
        """Return the sources that a module waits for in prepare: all but feedback.

        Waiting for a feedback source would never end: that module waits for this one.
        """
        return {edge.source for edge in self.into(module) if not edge.feedback}

    def input_plan(self, edge: Edge) -> InputPlan:
        """Return what a subscriber needs to open a stream that has been laid out."""
        plan, _ = self._layouts.get(edge.stream, (None, {}))
        return InputPlan(
            source=f"{edge.source}.{edge.source_port}",
            metadata=self._metadata[edge.stream],
            stream=plan,
            feedback=edge.feedback,
            queue=(edge.queue or 0) if self.is_small(edge) else 0,
            lossless=self._types[edge.stream] in COMMANDS,
        )

    def input_plans(self, module: str) -> dict[str, InputPlan]:
        """Return the plans of a module's inputs, without those of feedback edges."""
        return {
            edge.target_port: self.input_plan(edge)
            for edge in self.into(module)
            if not edge.feedback
        }

    def queue_limit(self, edge: Edge) -> int:
        """Return the length of a queue in items (about, for small items); 0 if not known yet.

        Queues of small items are pipes, bounded in bytes: the figure assumes an average record.
        """
        if self.is_small(edge):
            return edge.queue or LIKELY_QUEUE
        layout = self._layouts.get(edge.stream)
        return layout[1].get(edge, 0) if layout else 0

    @property
    def command_a_device(self) -> bool:
        """Whether a module commands lines of a device, so that a loop may be closed through it.

        Then processors are kept awake, for short and even answer times.
        """
        return any(self._types[edge.stream] is DataType.LineCommand for edge in self.edges)

    def is_small(self, edge: Edge) -> bool:
        """Whether a stream's items go through a pipe, not through shared memory."""
        return is_small(self._types[edge.stream])

    def lay_out(self, module: ModuleConfig, metadata: Mapping[str, bytes]) -> dict[str, StreamPlan]:
        """Lay out the outputs of a module that has prepared.

        Args:
            module: The module.
            metadata: Packed metadata of each of its outputs.

        Returns:
            The layouts of its outputs in shared memory that have a subscriber.
        """
        self._keep(module.name, metadata)
        likely = max(self._frame_sizes(self.into(module.name)), default=UNKNOWN_FRAME_BYTES)
        plans = {}
        for port in module.outputs:
            if is_small(port.data_type):
                continue
            stream = (module.name, port.id)
            edges = [edge for edge in self.out_of(module.name) if edge.stream == stream]
            self._layouts[stream] = plan_stream(
                output_type(module, port.id),
                decode_metadata(self._metadata[stream]),
                edges,
                queue_bytes=self._queue_bytes,
                likely_frame_bytes=likely,
            )
            if edges:
                plans[port.id] = self._layouts[stream][0]
        return plans

    def _frame_sizes(self, edges: Iterable[Edge]) -> list[int]:
        """Return the frame sizes of streams: a module likely sends frames as it receives."""
        plans = [self._layouts[edge.stream][0] for edge in edges if edge.stream in self._layouts]
        return [
            plan.item_bytes - HEADER_BYTES
            for plan in plans
            if plan.data_type == DataType.Frame.name
        ]

    def changed(self, module: str, metadata: Mapping[str, bytes]) -> list[tuple[Edge, bytes]]:
        """Update the metadata of a module that has started.

        Returns:
            The subscriptions whose metadata have changed, with the new packed metadata.
        """
        changed = [
            (edge, metadata[edge.source_port])
            for edge in self.out_of(module)
            if metadata[edge.source_port] != self._metadata[edge.stream]
        ]
        self._keep(module, metadata)
        return changed

    def _keep(self, module: str, metadata: Mapping[str, bytes]) -> None:
        for port, packed in metadata.items():
            self._metadata[module, port] = packed


def metadata_too_large(plans: Mapping[str, InputPlan]) -> str:
    """Return why the metadata of a module's inputs cannot be sent to it; "" when they can be."""
    total = sum(len(plan.metadata) for plan in plans.values())
    if total <= METADATA_LIMIT:
        return ""
    largest = max(plans.values(), key=lambda plan: len(plan.metadata))
    return (
        f"the metadata of its inputs have {total:,} bytes, more than the limit of "
        f"{METADATA_LIMIT:,}: those of {largest.source} have {len(largest.metadata):,}"
    )
