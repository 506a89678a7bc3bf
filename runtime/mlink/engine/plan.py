"""Order of a bench's modules, and layout of its streams in shared memory, before anything runs."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mlink.bench import Bench, ModuleConfig
from mlink.metadata import Metadata, MetaSize
from mlink.module import Category
from mlink.transport.codec import COMMANDS, HEADER_BYTES
from mlink.transport.memory import available_bytes
from mlink.transport.plan import StreamPlan
from mlink.types import DataType

FRAME_QUEUE_BYTES = 256 << 20
"""Most bytes of frames in the default queue of a subscription."""
FRAME_QUEUE_ITEMS = (8, 512)
"""Shortest and longest default queue of a subscription to frames."""
SIGNAL_QUEUE_ITEMS = 2048
"""Default queue of a subscription to signal blocks."""
UNKNOWN_FRAME_BYTES = 1 << 20
"""Assumed size of a frame whose source does not announce it."""
_SIGNAL_ITEM_BYTES = HEADER_BYTES + 4096
_BORROWED_FRAMES = 16
_BORROWED_BLOCKS = 4

log = logging.getLogger("mlink.engine")

LOOP_CATEGORIES = frozenset({Category.DEVICE, Category.GENERATOR, Category.SCRIPT})
LOOP_NICE = -10
"""Nice value that their workers request, so that a busy recorder does not delay an answer."""

_NOT_FIRST = ("never", "feedback")
"""Orders of connections (`Connection.order`) that are feedback whatever the order is."""

_CATEGORY_RANK = {
    Category.DEVICE: 0,
    Category.GENERATOR: 1,
    Category.PROCESSING: 2,
    Category.WRITER: 2,
    Category.DISPLAY: 2,
    Category.SCRIPT: 3,
}


@dataclass(frozen=True, slots=True)
class Edge:
    """One subscription: the stream from an output port to an input port.

    A feedback edge runs against the order of the modules; `queue` is its length in items, if the
    bench gives one.
    """

    source: str
    source_port: str
    target: str
    target_port: str
    queue: int | None
    feedback: bool

    @property
    def stream(self) -> tuple[str, str]:
        """The stream: (module, output port)."""
        return self.source, self.source_port


def order_modules(bench: Bench) -> list[str]:
    """Order the modules along the streams, sources first.

    In a cycle devices come first, then generators, others, scripts; then the module with the
    fewest unresolved inputs, then the bench's own order. What a cycle sends to comes after it.
    """
    sources = {
        name: {each.source_module for each in module.connections if each.order not in _NOT_FIRST}
        - {name}
        for name, module in bench.modules.items()
    }
    return _in_order(bench, sources)


def start_order(bench: Bench) -> dict[str, frozenset[str]]:
    """Return the modules in the order of their start, each with those that run before it starts.

    As in `order_modules`, but a device starts before the modules that command it, directly or
    through a module that passes commands on: the first command finds it running.
    """
    commanded = _commanded(bench)
    before: dict[str, set[str]] = {name: set() for name in bench.modules}
    for name, module in bench.modules.items():
        for connection in module.connections:
            source = connection.source_module
            if connection.order == "never":
                continue
            kind = output_type(bench.modules[source], connection.source_port)
            if kind in COMMANDS and name in commanded:
                before[source].add(name)
            else:
                before[name].add(source)
    _one_writer_after_another(bench, before)
    for name, others in before.items():
        others.discard(name)
    order = _in_order(bench, before)
    place = {name: number for number, name in enumerate(order)}
    return {
        name: frozenset(other for other in before[name] if place[other] < number)
        for name, number in place.items()
    }


def _one_writer_after_another(bench: Bench, before: Mapping[str, set[str]]) -> None:
    """Let writers of one source start in the bench's order.

    They name their datasets after it: the number in the name of a later one is the same each time.
    """
    latest: dict[str, str] = {}
    for name, module in bench.modules.items():
        if module.type.category is not Category.WRITER:
            continue
        for source in {connection.source_module for connection in module.connections}:
            if source in latest:
                before[name].add(latest[source])
            latest[source] = name


def _commanded(bench: Bench) -> set[str]:
    """Return the devices, and the modules whose commands reach one."""
    found = {n for n, module in bench.modules.items() if module.type.category is Category.DEVICE}
    new = found
    while new:
        new = {
            connection.source_module
            for name in new
            for connection in bench.modules[name].connections
            if connection.order != "never"
            and output_type(bench.modules[connection.source_module], connection.source_port)
            in COMMANDS
        } - found
        found = found | new
    return found


def _in_order(bench: Bench, before: Mapping[str, Collection[str]]) -> list[str]:
    """Order the modules so that those in `before` come first, where no cycle prevents it."""
    place = {name: number for number, name in enumerate(bench.modules)}
    waits_for = {name: len({*before[name]}) for name in place}
    after: dict[str, list[str]] = {name: [] for name in place}
    for name in place:
        for other in {*before[name]}:
            after[other].append(name)
    ready = [number for name, number in place.items() if not waits_for[name]]  # a heap
    names = list(place)
    remaining = dict.fromkeys(names)
    order: list[str] = []
    while remaining:
        if ready:
            pick = names[heapq.heappop(ready)]
        else:
            pick = min(
                _first_cycle(remaining, before, after),
                key=lambda n: (
                    _waits_for_partner(bench, n, remaining),
                    _CATEGORY_RANK[bench.modules[n].type.category],
                    waits_for[n],
                ),
            )
        order.append(pick)
        del remaining[pick]
        for name in after[pick]:
            waits_for[name] -= 1
            if not waits_for[name] and name in remaining:
                heapq.heappush(ready, place[name])
    return order


def _waits_for_partner(bench: Bench, name: str, remaining: Collection[str]) -> bool:
    connections = bench.modules[name].connections
    return any(each.order == "first" and each.source_module in remaining for each in connections)


def _first_cycle(
    remaining: Collection[str],
    before: Mapping[str, Collection[str]],
    after: Mapping[str, Collection[str]],
) -> list[str]:
    """Return the modules of a cycle that waits for no module outside of it; all wait for one."""
    first, seen = "", set[str]()
    for name in reversed([*remaining]):
        if name not in seen:
            first = name
            seen |= _reached(name, after, remaining)
    # whatever is before the last start of such a search is after it, too (Kosaraju)
    found = _reached(first, before, remaining)
    return [name for name in remaining if name in found]


def _reached(start: str, edges: Mapping[str, Collection[str]], within: Collection[str]) -> set[str]:
    """Return what can be reached along edges, `start` included."""
    found, left = {start}, [start]
    while left:
        new = {name for name in edges[left.pop()] if name in within and name not in found}
        found |= new
        left += new
    return found


def find_edges(bench: Bench, order: list[str]) -> list[Edge]:
    """Return all subscriptions; those against the order (and to oneself) are feedback edges.

    Args:
        bench: The bench.
        order: Names of all its modules, as `order_modules` returns them.
    """
    position = {name: index for index, name in enumerate(order)}
    return [
        Edge(
            source=connection.source_module,
            source_port=connection.source_port,
            target=name,
            target_port=connection.port,
            queue=connection.queue,
            feedback=connection.order in _NOT_FIRST
            or position[connection.source_module] >= position[name],
        )
        for name, module in bench.modules.items()
        for connection in module.connections
    ]


def output_type(module: ModuleConfig, port_id: str) -> DataType:
    """Return the type of a module's output port."""
    return next(port.data_type for port in module.outputs if port.id == port_id)


def frame_queue_bytes(bench: Bench, edges: Iterable[Edge]) -> int:
    """Return how many bytes of frames one subscription may queue.

    At most FRAME_QUEUE_BYTES. Less, with a warning, where half of the available memory, shared by
    all subscriptions, is less.
    """
    subscriptions = sum(
        output_type(bench.modules[edge.source], edge.source_port) is DataType.Frame
        for edge in edges
    )
    if not subscriptions:
        return FRAME_QUEUE_BYTES
    free = available_bytes()
    share = free // 2 // subscriptions
    if share < FRAME_QUEUE_BYTES:
        log.warning(
            "little memory is available (%d MB): frame queues are limited to %d MB each",
            free >> 20,
            share >> 20,
        )
    return min(FRAME_QUEUE_BYTES, share)


def plan_stream(
    data_type: DataType,
    metadata: Metadata,
    edges: list[Edge],
    *,
    queue_bytes: int = FRAME_QUEUE_BYTES,
    likely_frame_bytes: int = UNKNOWN_FRAME_BYTES,
) -> tuple[StreamPlan, dict[Edge, int]]:
    """Lay out a stream of frames or signal blocks.

    Args:
        data_type: Type of the items.
        metadata: The stream's metadata; `size` and `has_color` give the size of a frame.
        edges: Its subscriptions.
        queue_bytes: Most bytes in a queue whose length the bench does not give.
        likely_frame_bytes: Assumed size of a frame where the metadata do not give it.

    Returns:
        The layout, and the length of each subscription's queue in items.
    """
    if data_type is DataType.Frame:
        frame_bytes = _frame_bytes(metadata) or likely_frame_bytes
        low, high = FRAME_QUEUE_ITEMS
        default_items = max(low, min(high, queue_bytes // frame_bytes))
        item_bytes = HEADER_BYTES + frame_bytes
    else:
        default_items, item_bytes = SIGNAL_QUEUE_ITEMS, _SIGNAL_ITEM_BYTES
    queues = {edge: edge.queue or default_items for edge in edges}
    plan = StreamPlan(
        data_type=data_type.name,
        item_bytes=item_bytes,
        max_borrowed=_BORROWED_FRAMES if data_type is DataType.Frame else _BORROWED_BLOCKS,
        queues=tuple(queues[edge] for edge in edges),
    )
    return plan, queues


def _frame_bytes(metadata: Metadata) -> int:
    """Return the size of a stream's frames in bytes; 0 when the metadata do not give it."""
    size = metadata.get("size")
    if not isinstance(size, MetaSize) or size.width <= 0 or size.height <= 0:
        return 0
    return size.width * size.height * (1 if metadata.get("has_color") is False else 3)
