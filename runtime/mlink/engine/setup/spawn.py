"""The start of a run's workers: each is forked with its ends of the streams to its neighbours."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from mlink.bench import Bench
from mlink.bench.module import ModuleConfig
from mlink.engine.fleet import Fleet, StreamDescriptors
from mlink.engine.streams import Streams
from mlink.engine.workers import WorkerHandle
from mlink.transport.memory import create_memory
from mlink.transport.outlet import open_subscription
from mlink.transport.records import open_pipe
from mlink.worker_spec import WorkerSpec


def spawn_workers(
    fleet: Fleet,
    bench: Bench,
    streams: Streams,
    make_spec: Callable[[ModuleConfig], WorkerSpec],
    wait: Callable[[Callable[[], bool]], None],
    costly: Collection[str] = (),
) -> None:
    """Fork a worker for each module, in the bench's order.

    Args:
        fleet: Receives the workers.
        bench: The bench that runs.
        streams: Its streams; those of small items get a pipe for each subscription.
        make_spec: Returns a module's spec, without the descriptors of its streams.
        wait: Handles messages until the given call returns True, or the run has to end.
        costly: In virtual time: modules that take time for an item; their full queues lose items.

    Raises:
        ControlError: The fork server has ended.
    """
    for module in bench.modules.values():
        fleet.add(WorkerHandle.create(module))
    wiring = _wire(bench, streams, costly)
    requested: set[str] = set()

    def request() -> bool:
        """Request the workers that are left; False if the fork server has no room for more."""
        for module in bench.modules.values():
            if module.name in requested:
                continue
            if not fleet.fork(make_spec(module), wiring[module.name]):
                return False
            requested.add(module.name)
        return True

    try:
        wait(request)
    finally:
        for fd in set().union(*(ends.owned() for ends in wiring.values())):
            os.close(fd)  # the workers have them now


def _wire(bench: Bench, streams: Streams, costly: Collection[str]) -> dict[str, StreamDescriptors]:
    """Make the pipes and the memory of all streams."""
    wiring = {name: StreamDescriptors() for name in bench.modules}
    for edge in streams.edges:
        source, target = wiring[edge.source], wiring[edge.target]
        source.losing_out.setdefault(edge.source_port, []).append(edge.target in costly)
        if streams.is_small(edge):
            queue = edge.queue or 0
            pipe = open_pipe(queue, f"the queue of {edge.target}.{edge.target_port}")
            source.pipes_out.setdefault(edge.source_port, []).extend((pipe.write, pipe.store))
            source.queues_out.setdefault(edge.source_port, []).append(queue)
            target.pipes_in[edge.target_port] = (pipe.read, pipe.store)
            continue
        ends = source.arrays_out.get(edge.source_port)
        if ends is None:
            name = f"mlink:{edge.source}.{edge.source_port}"
            ends = source.arrays_out[edge.source_port] = [create_memory(name)]
        pipes = open_subscription()
        ends += [pipes.record_write, pipes.return_read]
        target.arrays_in[edge.target_port] = (ends[0], pipes.record_read, pipes.return_write)
    return wiring
