"""What the machine grants a run so that its loop is not kept waiting, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlink.awake import processors_awake
from mlink.bench import Bench
from mlink.engine.plan import LOOP_CATEGORIES, LOOP_NICE
from mlink.engine.report import Reporter
from mlink.engine.streams import Streams
from mlink.engine.workers import WorkerHandle


@contextmanager
def kept_awake(
    bench: Bench, streams: Streams, reporter: Reporter, *, in_real_time: bool
) -> Iterator[None]:
    """Keep the processors awake where a loop is closed through a device, in real time."""
    if not (bench.keep_awake and streams.command_a_device and in_real_time):
        yield
        return
    with processors_awake() as said:
        reporter.log("", logging.INFO, said)
        yield


def tell_priorities(
    workers: Mapping[str, WorkerHandle], reporter: Reporter, *, in_real_time: bool
) -> None:
    """Keep each module's priority; say whether those of the loop run before others."""
    if reporter.recording is not None:
        for worker in workers.values():
            reporter.recording.note_priority(worker.name, worker.nice)
    refused = [
        worker.name
        for worker in workers.values()
        if worker.config.type.category in LOOP_CATEGORIES and worker.nice > LOOP_NICE
    ]
    if refused and in_real_time:
        text = (
            f"{', '.join(refused)} run at ordinary priority: nice {LOOP_NICE} was refused; "
            "to allow it: echo '@video - nice -10' | sudo tee "
            "/etc/security/limits.d/96-mlink.conf, and log in again"
        )
        reporter.log("", logging.INFO, text)
