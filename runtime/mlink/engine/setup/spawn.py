"""Starts a run's workers: makes the pipes between them and forks each with its ends."""

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
    """Fork a worker for each module, in the bench's order.

    Args:
        fleet: Receives the workers.
        bench: The bench that runs.
        streams: Its streams; those of small items get a pipe for each subscription.
        make_spec: Returns a module's spec, without the descriptors of its streams.

    Raises:
        ControlError: The fork server has ended.
    """
    for module in bench.modules.values():
        fleet.add(WorkerHandle.create(module))
    descriptors = _open_pipes(bench, streams)
    for module in bench.modules.values():
        fleet.fork(make_spec(module), descriptors[module.name])
    for ends in descriptors.values():
        for fd in (*ends.pipes_in.values(), *chain.from_iterable(ends.pipes_out.values())):
            os.close(fd)  # the workers have their own copies


def _open_pipes(bench: Bench, streams: Streams) -> dict[str, StreamDescriptors]:
    """Make the pipes of all streams of small items."""
    descriptors = {name: StreamDescriptors(streams.listeners(name)) for name in bench.modules}
    for edge in streams.edges:
        if streams.is_small(edge):
            read_fd, write_fd = open_pipe(edge.queue)
            descriptors[edge.source].pipes_out.setdefault(edge.source_port, []).append(write_fd)
            descriptors[edge.target].pipes_in[edge.target_port] = read_fd
    return descriptors
