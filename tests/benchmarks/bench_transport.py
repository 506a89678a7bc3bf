"""One 24-byte reading from a process to another that waits for it: one-way latency.

Each side holds a LineReading: the time runs from before it is encoded to after it is decoded.
The peers carry it as three packed integers by their quickest calls. Sender and receiver are
forked afresh for every round, and the rounds of the transports are interleaved.
Run: python -m tests.benchmarks.bench_transport
"""

from __future__ import annotations

import multiprocessing
import select
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

import zmq

from mlink.transport.doorbell import Doorbell
from mlink.transport.records import RecordReader, RecordWriter, open_pipe
from mlink.types import DataType, LineReading
from tests.benchmarks.harness import interleaved, run_pair
from tests.benchmarks.table import Table, arguments, median, percentile, publish

PERIOD_NS = 1_000_000
WARM_UP = 200
LAST = -1
"""Time of the reading that ends a round."""

packed = struct.Struct("<qqq")


class Link(Protocol):
    """A one-way way from one process to another; made before the fork, opened after it."""

    def sender(self) -> Callable[[LineReading], object]: ...

    def receiver(self) -> Callable[[], LineReading]:
        """Return the function that waits for the next reading."""
        ...


class OurLink:
    """A pipe of records, waited for as a worker does."""

    name = "mlink"

    def __init__(self, folder: str) -> None:
        self.pipe = open_pipe()
        self.bell = Doorbell()

    def sender(self) -> Callable[[LineReading], object]:
        return RecordWriter(DataType.LineReading, [(self.pipe.write, self.pipe.store)]).submit

    def receiver(self) -> Callable[[], LineReading]:
        reader = RecordReader(DataType.LineReading, self.pipe.read, self.pipe.store)
        poll = select.poll()
        poll.register(self.bell.fd, select.POLLIN)
        poll.register(self.pipe.read, select.POLLIN)

        def receive() -> LineReading:
            while (item := reader.receive()) is None:
                poll.poll(250.0)
            return item

        return receive


class ZmqLink:
    """PUSH and PULL over a Unix socket."""

    name = "pyzmq ipc (PUSH/PULL)"

    def __init__(self, folder: str) -> None:
        self.address = f"ipc://{folder}/zmq"

    def sender(self) -> Callable[[LineReading], object]:
        push = zmq.Context().socket(zmq.PUSH)
        push.connect(self.address)
        return lambda item: push.send(packed.pack(item.line_id, item.value, item.time_usec))

    def receiver(self) -> Callable[[], LineReading]:
        pull = zmq.Context().socket(zmq.PULL)
        pull.bind(self.address)
        return lambda: LineReading(*packed.unpack(pull.recv()))


class PipeLink:
    """A one-way multiprocessing.Pipe."""

    name = "multiprocessing.Pipe"

    def __init__(self, folder: str) -> None:
        self.reading, self.writing = multiprocessing.Pipe(duplex=False)

    def sender(self) -> Callable[[LineReading], object]:
        send = self.writing.send_bytes
        return lambda item: send(packed.pack(item.line_id, item.value, item.time_usec))

    def receiver(self) -> Callable[[], LineReading]:
        receive = self.reading.recv_bytes
        return lambda: LineReading(*packed.unpack(receive()))


LINKS = (OurLink, ZmqLink, PipeLink)


def run_sender(link: Link, parent: Connection, count: int) -> None:
    """Send a reading each millisecond, stamped with CLOCK_MONOTONIC in ns."""
    send = link.sender()
    parent.send(True)
    parent.recv()
    due = time.monotonic_ns()
    for value in range(count):
        due += PERIOD_NS
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        send(LineReading(7, value, time.monotonic_ns()))
    send(LineReading(7, count, LAST))
    parent.recv()
    parent.send(True)


def run_receiver(link: Link, parent: Connection, count: int) -> None:
    """Note how old each reading is when it is there, in ns."""
    receive = link.receiver()
    parent.send(True)
    parent.recv()
    ages = []
    while True:
        item = receive()
        now = time.monotonic_ns()
        if item.time_usec == LAST:
            break
        assert item.value == len(ages), "a reading was lost"
        ages.append(now - item.time_usec)
    assert len(ages) == count
    parent.send(ages[WARM_UP:])


def measure(kind: Callable[[str], Link], count: int) -> tuple[float, float]:
    """Return (p50, p99) of one round in µs."""
    _, ages = run_pair(kind, run_sender, run_receiver, (count,), limit_s=count * 0.002 + 10)
    return percentile(ages, 0.5) / 1e3, percentile(ages, 0.99) / 1e3


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=2.0, rounds=5).parse_args()
    count = WARM_UP + int(options.seconds * 1e9 / PERIOD_NS)
    found = interleaved(LINKS, options.rounds, lambda kind: measure(kind, count))
    table = Table(
        f"(b) 24-byte reading, process to process with wake-up, 1 kHz, "
        f"{options.rounds} × {options.seconds:g} s: one-way latency",
        ["p50 µs", "p99 µs"],
    )
    p50 = {kind: median([low for low, _ in rounds]) for kind, rounds in found.items()}
    p99 = {kind: median([high for _, high in rounds]) for kind, rounds in found.items()}
    best = min(p50[kind] for kind in LINKS[1:])
    for kind in LINKS:
        mine = kind is OurLink
        table.add(
            kind.name,
            f"{p50[kind]:.1f}",
            f"{p99[kind]:.1f}",
            ratio=p50[kind] / best if mine else p50[kind] / p50[OurLink],
            target="< 1 × the better peer at p50" if mine else "",
            ok=p50[kind] < best if mine else None,
            p50_usec=p50[kind],
            p99_usec=p99[kind],
        )
    table.notes.append("ratio: mlink to the better peer; each peer to mlink (medians of rounds)")
    publish([table], options.json)


if __name__ == "__main__":
    main()
