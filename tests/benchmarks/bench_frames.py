"""Frames of 1920×1080×3 bytes from a process to another: frames per second and CPU per frame.

Every sender fills each frame from a prepared picture (one copy, numbered in its first pixels);
every receiver checks the number and sums 100 pixels spread over the picture. A semaphore lets
at most four frames be on their way, so that nothing is lost anywhere. CPU is that of both
processes, all threads. Rounds are interleaved.
Run: python -m tests.benchmarks.bench_frames
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import zmq

from mlink.types import DataType
from tests.benchmarks.harness import cpu_s, forked, interleaved, run_pair
from tests.benchmarks.table import Table, arguments, median, publish
from tests.support.streams import SharedStream

SHAPE = (1080, 1920, 3)
FRAME_BYTES = 1080 * 1920 * 3
CREDIT = 4
WARM_UP = 20
LAST = -1

Picture = Any  # NDArray[np.uint8]
Sender = Callable[[Picture, int], object]
"""Sends a copy of the picture with this number."""
Receiver = Callable[[Callable[[Picture], int]], int]
"""Waits for a frame, looks at it, gives it back, and returns what was seen."""


class Link(Protocol):
    def sender(self) -> Sender: ...
    def receiver(self) -> Receiver: ...


def number(picture: Picture, index: int) -> None:
    """Write the frame's number into its first pixels."""
    picture.reshape(-1)[:8].view(np.int64)[0] = index


def look(picture: Picture) -> int:
    """Return the frame's number; its pixels must be right."""
    assert int(picture[8::108, 1::192, 0].sum()) == 10 * 10 * 7
    return int(picture.reshape(-1)[:8].view(np.int64)[0])


class OurLink:
    """A loan is filled and sent; the receiver looks at it in place."""

    name = "mlink"

    def __init__(self, folder: str) -> None:
        self.stream = SharedStream(DataType.Frame, 8, likely_bytes=64 + FRAME_BYTES, borrowed=16)

    def sender(self) -> Sender:
        writer = self.stream.writer()

        def send(picture: Picture, index: int) -> None:
            loaned = writer.loan_frame(picture.shape, picture.dtype)
            np.copyto(loaned.array, picture)
            number(loaned.array, index)
            loaned.send(index=max(index, 0), time_usec=0)

        return send

    def receiver(self) -> Receiver:
        reader = self.stream.reader()
        poll = select.poll()
        poll.register(reader.fileno(), select.POLLIN)

        def receive(use: Callable[[Picture], int]) -> int:
            while (frame := reader.receive()) is None:
                poll.poll(250.0)
            assert reader.lost == 0
            return use(frame.view)

        return receive


class QueueLink:
    """multiprocessing.Queue of arrays."""

    name = "multiprocessing.Queue"

    def __init__(self, folder: str) -> None:
        self.queue: Any = forked.Queue()

    def sender(self) -> Sender:
        def send(picture: Picture, index: int) -> None:
            copy = picture.copy()
            number(copy, index)
            self.queue.put(copy)

        return send

    def receiver(self) -> Receiver:
        return lambda use: use(self.queue.get())


class ZmqLink:
    """PUSH and PULL over a Unix socket, without copies inside pyzmq."""

    name = "pyzmq ipc, copy=False"

    def __init__(self, folder: str) -> None:
        self.address = f"ipc://{folder}/zmq"

    def sender(self) -> Sender:
        push = zmq.Context().socket(zmq.PUSH)
        push.connect(self.address)

        def send(picture: Picture, index: int) -> None:
            copy = picture.copy()
            number(copy, index)
            push.send(copy, copy=False)

        return send

    def receiver(self) -> Receiver:
        pull = zmq.Context().socket(zmq.PULL)
        pull.bind(self.address)

        def receive(use: Callable[[Picture], int]) -> int:
            message = pull.recv(copy=False)
            return use(np.frombuffer(message.buffer, np.uint8).reshape(SHAPE))

        return receive


LINKS = (OurLink, QueueLink, ZmqLink)


def run_sender(link: Link, parent: Connection, seconds: float, credit: Any) -> None:
    send = link.sender()
    picture = np.full(SHAPE, 7, np.uint8)
    parent.send(True)
    parent.recv()
    index, end, cpu_before = 0, time.monotonic() + 60.0, 0.0
    while time.monotonic() < end:
        credit.acquire()
        if index == WARM_UP:
            end, cpu_before = time.monotonic() + seconds, cpu_s()
        send(picture, index)
        index += 1
    credit.acquire()
    send(picture, LAST)
    parent.recv()
    parent.send(cpu_s() - cpu_before)


def run_receiver(link: Link, parent: Connection, _seconds: float, credit: Any) -> None:
    receive = link.receiver()
    parent.send(True)
    parent.recv()
    count, began, cpu_before = 0, 0.0, 0.0
    while (index := receive(look)) != LAST:
        assert index == count, f"frame {index} came in place of {count}"
        count += 1
        if count == WARM_UP:
            began, cpu_before = time.monotonic(), cpu_s()
        credit.release()
    taken = time.monotonic() - began
    parent.send((count - WARM_UP, taken, cpu_s() - cpu_before))


def measure(kind: Callable[[str], Link], seconds: float) -> tuple[float, float]:
    """Return (frames per second, CPU ms per frame) of one round."""
    sender_cpu, (count, taken, receiver_cpu) = run_pair(
        kind,
        run_sender,
        run_receiver,
        (seconds, forked.Semaphore(CREDIT)),
        limit_s=seconds + 30,
    )
    return count / taken, (sender_cpu + receiver_cpu) / count * 1e3


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=2.0, rounds=3).parse_args()
    found = interleaved(LINKS, options.rounds, lambda kind: measure(kind, options.seconds))
    table = Table(
        f"(c) frames of 1920×1080×3 bytes, process to process, {options.rounds} × "
        f"{options.seconds:g} s",
        ["frames/s", "CPU ms/frame"],
    )
    rates = {kind: median([rate for rate, _ in rounds]) for kind, rounds in found.items()}
    cpus = {kind: median([cpu for _, cpu in rounds]) for kind, rounds in found.items()}
    better = max(LINKS[1:], key=lambda kind: rates[kind])
    ratio = rates[OurLink] / rates[better]
    for kind in LINKS:
        mine = kind is OurLink
        table.add(
            kind.name,
            f"{rates[kind]:.0f}",
            f"{cpus[kind]:.2f}",
            ratio=ratio if mine else rates[kind] / rates[OurLink],
            target="≥ 3 × the better peer" if mine else "",
            ok=ratio >= 3 if mine else None,
            frames_per_s=rates[kind],
            cpu_ms_per_frame=cpus[kind],
        )
    share = cpus[OurLink] / cpus[better]
    table.notes.append(f"CPU per frame: mlink {share:.2f} × that of {better.name}")
    publish([table], options.json)


if __name__ == "__main__":
    main()
