"""A module's world without a worker: feed its inputs, look at what it sent."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlink.clock import Clock, MasterClock
from mlink.devices import DeviceEndpoint
from mlink.metadata import Metadata
from mlink.module import ModuleSettings, ModuleType, RunInfo
from mlink.storage.edl import Dataset
from mlink.types import DataType, Frame, StreamItem
from mlink.waiting import ServiceLoop


class FakeInput:
    """An input port that a test feeds by calling `on_item`."""

    def __init__(self, id: str, data_type: DataType, metadata: Metadata | None = None) -> None:
        self.id = id
        self.data_type = data_type
        self.connected = True
        self.sent_ns = 0
        self.metadata: Metadata = metadata or {}
        self.taken = 0
        self.doubtful = False
        self.on_item: Callable[[Any], object] | None = None
        self.on_gap: Callable[[int], None] | None = None

    def set_throttle(self, items_per_sec: float) -> None:
        pass


class FakeLoan:
    """A frame loan in ordinary memory."""

    def __init__(self, port: FakeOutput, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.array: NDArray[Any] = np.zeros(shape, dtype)
        self._port = port

    def send(self, *, index: int, time_usec: int) -> None:
        self._port.submit(Frame.from_array(self.array, index, time_usec))

    def discard(self) -> None:
        pass


class FakeOutput:
    """An output port that keeps what was sent in `items`."""

    def __init__(self, id: str, data_type: DataType) -> None:
        self.id = id
        self.data_type = data_type
        self.connected = True
        self.metadata: Metadata = {}
        self.frozen = False
        self.items: list[Any] = []
        self.lost = 0

    def note_lost(self, count: int) -> None:
        self.lost += count

    def submit(self, item: StreamItem) -> None:
        self.items.append(item)

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> FakeLoan:
        return FakeLoan(self, shape, dtype)


LOOPS: list[ServiceLoop] = []
"""Loops of the contexts that a test made; `tests/conftest.py` closes them after it."""


class FakeContext:
    """Implements mlink.module.ModuleContext for unit tests."""

    def __init__(
        self,
        module_type: ModuleType,
        settings: ModuleSettings,
        tmp_path: Path,
        *,
        name: str = "module",
        device: DeviceEndpoint | None = None,
        clock: Clock | None = None,
        record: bool = True,
    ) -> None:
        inputs, outputs = module_type.ports_for(settings)
        self.name = name
        self.type_id = module_type.id
        self.settings: Any = settings
        self.inputs = {port.id: FakeInput(port.id, port.data_type) for port in inputs}
        self.outputs = {port.id: FakeOutput(port.id, port.data_type) for port in outputs}
        self.clock: Clock = clock or MasterClock()
        self.log = logging.getLogger(f"mlink.test.{name}")
        self.device = device
        self.running = True
        self.stop_asked = False
        recording_dir = tmp_path / "recording"
        self.run_info = RunInfo(
            run_uuid=bytes(range(16)),
            bench_name="test",
            bench_dir=tmp_path,
            work_dir=tmp_path,
            recording_dir=recording_dir if record else None,
        )
        fail = weakref.WeakMethod(self.fail)
        self.waiting = ServiceLoop(f"io {name}", lambda error: fail()(error))
        LOOPS.append(self.waiting)
        self.failures: list[BaseException | str] = []
        self.failed = threading.Event()
        self.reports: dict[str, float | str] = {}
        self.hints: list[str] = []
        self.refusals: list[str] = []
        self.losses: list[tuple[str, str]] = []
        self.status = ""

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:
        if self.run_info.recording_dir is None:
            return None
        from mlink.storage.edl import create_dataset

        return create_dataset(
            self.run_info.recording_dir,
            preferred_name or self.name,
            group=group,
            collection_id=self.run_info.run_uuid,
        )

    def fail(self, error: BaseException | str) -> None:
        self.failures.append(error)
        self.failed.set()

    def offer(self, values, take) -> None:
        self.offered, self.take = values, take

    def refuse(self, why: str) -> None:
        self.refusals.append(why)

    def request_stop(self, reason: str) -> None:
        self.running = False

    def set_status(self, text: str) -> None:
        self.status = text

    def report(self, key: str, value: float | str) -> None:
        self.reports[key] = value

    def hint(self, text: str) -> None:
        self.hints.append(text)

    def note_loss(self, what: str, remedy: str) -> None:
        self.losses.append((what, remedy))

    def serve(self, timeout_usec: int = -1) -> None:
        pass

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        threading.Timer(delay_usec / 1e6, call).start()
