"""The start of a run's workers: each is forked with its ends of the pipes to its neighbours."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain

from mlink.bench import Bench
from mlink.bench.module import ModuleConfig
from mlink.control import WorkerSpec
from mlink.engine.fleet import Fleet, StreamDescriptors
from mlink.engine.streams import Streams
from mlink.engine.workers import WorkerHandle
from mlink.transport.records import open_pipe


def spawn_workers(
    fleet: Fleet,
    bench: Bench,
    streams: Streams,
    make_spec: Callable[[ModuleConfig], WorkerSpec],
) -> None:
    """Fork a worker for each module, in the bench's order."""
    for module in bench.modules.values():
        fleet.add(WorkerHandle.create(module))
    wiring = _wire(bench, streams)
    for module in bench.modules.values():
        fleet.fork(make_spec(module), wiring[module.name])
    for ends in wiring.values():
        for fd in (*ends.pipes_in.values(), *chain.from_iterable(ends.pipes_out.values())):
            os.close(fd)  # the workers have them now


def _wire(bench: Bench, streams: Streams) -> dict[str, StreamDescriptors]:
    """Make the pipes of all streams of small items."""
    wiring = {name: StreamDescriptors(streams.listeners(name)) for name in bench.modules}
    for edge in streams.edges:
        if streams.is_small(edge):
            read_fd, write_fd = open_pipe(edge.queue)
            wiring[edge.source].pipes_out.setdefault(edge.source_port, []).append(write_fd)
            wiring[edge.target].pipes_in[edge.target_port] = read_fd
    return wiring
