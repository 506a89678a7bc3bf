"""Keeps processors awake for a closed loop, and reports priorities that the system refused."""

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
from mlink.realtime import RIGHTS_REMEDY


@contextmanager
def kept_awake(
    bench: Bench, streams: Streams, reporter: Reporter, *, in_real_time: bool
) -> Iterator[None]:
    """Keep processors out of idle states during the block, if the bench commands a device.

    Waking an idle processor delays the answer of a closed loop. Does nothing in virtual time.

    Args:
        bench: Its `keep_awake` switches this off.
        streams: The streams of the run.
        reporter: Receives a log line about the result.
        in_real_time: False in virtual time.
    """
    if not (bench.keep_awake and streams.command_a_device and in_real_time):
        yield
        return
    with processors_awake() as result:
        reporter.log("", logging.INFO, result)
        yield


def report_priorities(
    workers: Mapping[str, WorkerHandle], reporter: Reporter, *, in_real_time: bool
) -> None:
    """Record each module's nice value; log modules of the loop that did not get theirs.

    Args:
        workers: The run's workers, all loaded.
        reporter: Receives the values and the log line.
        in_real_time: False in virtual time, where no priority is requested.
    """
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
            f"{', '.join(refused)} run at normal priority: nice {LOOP_NICE} was refused; "
            f"to allow it: {RIGHTS_REMEDY}"
        )
        reporter.log("", logging.INFO, text)
