"""Publishers and subscribers in shared memory. The only file that uses iceoryx2.

Each run has a name prefix and a root folder of its own. What a crash leaves in /dev/shm can thus be
found and removed by name, without iceoryx2 (mlink.engine.setup.workdir).
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import iceoryx2

from mlink.errors import StreamError
from mlink.transport.plan import StreamPlan

iceoryx2.set_log_level(iceoryx2.LogLevel.Fatal)

_PAYLOAD = iceoryx2.Slice[ctypes.c_uint8]
_ALIGNMENT = 64
_MAX_LOANS = 4


class Loan(Protocol):
    """Shared memory of a publisher, to be written and then sent; freed when it is dropped."""

    payload_ptr: int


class Publisher:
    """Owns one iceoryx2 publisher. Not thread-safe: the caller holds a lock."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def loan(self, size: int) -> Any:
        """Loan `size` bytes.

        Raises:
            StreamError: The stream's memory is used up.
        """
        try:
            return self._port.loan_slice_uninit(size)
        except iceoryx2.LoanError as error:
            raise StreamError(
                f"no shared memory for an item of {size} bytes: {error}",
                remedy="Make consumers faster, shorten their queues, or enlarge /dev/shm.",
            ) from error

    @staticmethod
    def send(loan: Any) -> int:
        """Publish a loan; return to how many subscribers it was delivered."""
        delivered: int = loan.assume_init().send()
        return delivered

    def close(self) -> None:
        """Delete the publisher. Items not yet received are lost. Again: does nothing."""
        if self._port is not None:
            self._port.delete()
            self._port = None


class Subscriber:
    """Owns one iceoryx2 subscriber."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def receive(self) -> Any | None:
        """Return the next sample, or None. It is returned to the publisher with its last reference.

        Raises:
            StreamError: This subscriber holds as many samples as it may.
        """
        try:
            return self._port.receive()
        except iceoryx2.ReceiveError as error:
            raise StreamError(
                f"cannot receive: {error}",
                remedy="Copy what you keep of frames: kept = frame.mat, or frame.view.copy().",
            ) from error

    def close(self) -> None:
        """Delete the subscriber; calling it again does nothing."""
        if self._port is not None:
            self._port.delete()
            self._port = None


class TransportNode:
    """Access of a process to the shared-memory streams of a run.

    Args:
        prefix: Prefix of the names of all files and shared memory of the run.
        root_dir: Folder for the files of iceoryx2.
    """

    def __init__(self, prefix: str, root_dir: str) -> None:
        config = iceoryx2.config.default()
        config.global_cfg.prefix = iceoryx2.FileName.new(prefix)
        config.global_cfg.root_path = iceoryx2.Path.new(root_dir)
        # the engine removes the leftovers of dead processes, once, at the end of the run
        config.global_cfg.service.cleanup_dead_nodes_on_open = False
        config.global_cfg.node.cleanup_dead_nodes_on_creation = False
        config.global_cfg.node.cleanup_dead_nodes_on_destruction = False
        self._node = (
            iceoryx2.NodeBuilder.new()
            .config(config)
            .signal_handling_mode(iceoryx2.SignalHandlingMode.Disabled)
            .create(iceoryx2.ServiceType.Ipc)
        )

    def _service(self, plan: StreamPlan) -> Any:
        name = iceoryx2.ServiceName.new(plan.service)
        return (
            self._node.service_builder(name)
            .publish_subscribe(_PAYLOAD)
            .payload_alignment(iceoryx2.Alignment.new(_ALIGNMENT))
            .enable_safe_overflow(False)
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(max(plan.subscribers, 1))
            .max_nodes(plan.subscribers + 1)
            .subscriber_max_buffer_size(plan.queue_items)
            .subscriber_max_borrowed_samples(plan.max_borrowed)
            .open_or_create()
        )

    def publisher(self, plan: StreamPlan) -> Publisher:
        """Create the publisher of a stream. A full queue makes it discard items."""
        port = (
            self._service(plan)
            .publisher_builder()
            .backpressure_strategy(iceoryx2.BackpressureStrategy.DiscardData)
            .initial_max_slice_len(plan.item_bytes)
            .allocation_strategy(iceoryx2.AllocationStrategy.PowerOfTwo)
            .max_loaned_samples(_MAX_LOANS)
            .create()
        )
        return Publisher(port)

    def subscriber(self, plan: StreamPlan, queue_items: int) -> Subscriber:
        """Create a subscriber of a stream, with a queue of `queue_items`."""
        port = self._service(plan).subscriber_builder().buffer_size(queue_items).create()
        return Subscriber(port)
