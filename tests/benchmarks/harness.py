"""Runs a sender and a receiver as two fresh processes."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

forked = multiprocessing.get_context("fork")

Measured = TypeVar("Measured")
Kind = TypeVar("Kind")


class Silent:
    """An observer of a run that looks away."""

    def on_status(self, status: object) -> None: ...
    def on_log(self, module: str, level: int, message: str) -> None: ...
    def on_output(self, module: str, text: str) -> None: ...


def cpu_s() -> float:
    """CPU time of this process so far in seconds, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_pair(
    make_link: Callable[[str], Any],
    run_sender: Callable[..., None],
    run_receiver: Callable[..., None],
    arguments: Sequence[Any],
    *,
    limit_s: float,
) -> tuple[Any, Any]:
    """Return what the two sent at their end: (the sender's, the receiver's).

    Both get (link, connection, *arguments). Each sends over its connection that it is open, waits
    for the word to begin, and sends its result. The sender opens first, as in a run; it is asked
    for its result, and so stays alive, until the receiver has everything.
    """
    with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
        link = make_link(folder)
        ends = []
        processes = []
        try:
            for run in (run_sender, run_receiver):
                ours, theirs = forked.Pipe()
                process = forked.Process(target=run, args=(link, theirs, *arguments), daemon=True)
                process.start()
                theirs.close()
                processes.append(process)
                ends.append(ours)
                _result(ours, 10.0)
            sender, receiver = ends
            time.sleep(0.05)
            receiver.send(True)
            sender.send(True)
            received = _result(receiver, limit_s)
            sender.send(True)
            return _result(sender, 10.0), received
        finally:
            for process in processes:
                process.join(1)
                process.kill()


def _result(end: Connection, limit_s: float) -> Any:
    if not end.poll(limit_s):
        raise TimeoutError("a benchmark process did not answer")
    return end.recv()


def interleaved(
    kinds: Sequence[Kind], rounds: int, measure: Callable[[Kind], Measured]
) -> dict[Kind, list[Measured]]:
    """Measure each kind once a round, beginning each round with another."""
    found: dict[Kind, list[Measured]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for shift in range(len(kinds)):
            kind = kinds[(number + shift) % len(kinds)]
            found[kind].append(measure(kind))
    return found
