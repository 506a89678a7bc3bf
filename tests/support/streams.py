"""Both ends of a stream in shared memory, in one process or in two."""

from __future__ import annotations

import os

from mlink.transport.memory import SenderMemory, create_memory
from mlink.transport.outlet import Outlet, open_subscription
from mlink.transport.plan import StreamPlan
from mlink.transport.reader import StreamReader
from mlink.transport.writer import StreamWriter
from mlink.types import DataType


class SharedStream:
    """The descriptors of one stream; open its ends after a fork, each in its process.

    Args:
        data_type: Type of the stream's items.
        queues: Length of each subscription's queue in items.
        likely_bytes: Expected size of an item with its header.
        borrowed: Items that a subscriber may hold.
    """

    def __init__(
        self, data_type: DataType, *queues: int, likely_bytes: int = 4096, borrowed: int = 8
    ) -> None:
        self.data_type = data_type
        self.queues = queues or (64,)
        self.memory_fd = create_memory("test")
        self._likely_bytes = likely_bytes
        self._borrowed = borrowed
        self._pipes = [open_subscription() for _ in self.queues]

    def output(self) -> tuple[StreamPlan, list[int]]:
        """Return what `WorkerOutput.open` takes."""
        plan = StreamPlan(
            self.data_type.name, self._likely_bytes, self._borrowed, tuple(self.queues)
        )
        pipes = [fd for each in self._pipes for fd in (each.record_write, each.return_read)]
        return plan, [self.memory_fd, *pipes]

    def writer(self, *, lossless: bool = False) -> StreamWriter:
        """Open the sender's end; once."""
        outlets = [
            Outlet(
                pipes.record_write,
                pipes.return_read,
                queue_items=queue,
                borrowed_items=self._borrowed,
            )
            for pipes, queue in zip(self._pipes, self.queues, strict=True)
        ]
        return StreamWriter(
            self.data_type,
            SenderMemory(self.memory_fd, self._likely_bytes),
            outlets,
            lossless=lossless,
        )

    def reader(self, number: int = 0) -> StreamReader:
        """Open a subscriber's end; once."""
        pipes = self._pipes[number]
        return StreamReader(
            self.data_type,
            pipes.record_read,
            pipes.return_write,
            os.dup(self.memory_fd),
            max_borrowed=self._borrowed,
            queue_items=self.queues[number],
        )

    def used_bytes(self) -> int:
        """Return how much of the memory exists, as the kernel counts it."""
        return os.fstat(self.memory_fd).st_blocks * 512
