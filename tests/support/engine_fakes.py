"""Benches, workers and a fork server for tests of the engine, without files and processes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mlink.bench import Bench, Connection, ModuleConfig
from mlink.channel import Channel, worker_channel
from mlink.control import EngineMessage, EngineMessages, WorkerMessage
from mlink.engine.status import RunStatus
from mlink.engine.workers import State, WorkerHandle
from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType
from mlink.worker.forking.forkserver import Exited, Forked
from mlink.worker.forking.leftovers import Left
from mlink.worker_spec import WorkerSpec


def module(
    name: str,
    *,
    inputs: Mapping[str, DataType] = {},
    outputs: Mapping[str, DataType] = {},
    sources: Mapping[str, str] = {},
    queues: Mapping[str, int] = {},
    category: Category = Category.PROCESSING,
) -> ModuleConfig:
    """Return a module; `sources` gives "module.port" by input port."""
    settings = ModuleSettings()
    return ModuleConfig(
        name=name,
        type=ModuleType(name, name, "", category, type(settings), "no.module:None"),
        settings=settings,
        device=None,
        connections=tuple(
            Connection(port, *source.split("."), queues.get(port))
            for port, source in sources.items()
        ),
        inputs=tuple(PortSpec(port, data_type) for port, data_type in inputs.items()),
        outputs=tuple(PortSpec(port, data_type) for port, data_type in outputs.items()),
    )


def bench_of(*modules: ModuleConfig) -> Bench:
    """Return a bench of these modules, in this order."""
    folder = Path("/nowhere")
    return Bench("fake", folder / "bench.toml", folder, {}, {each.name: each for each in modules})


class FakeWorker:
    """The engine's handle of a worker, and the worker's end of its channel."""

    def __init__(self, config: ModuleConfig | str, state: State = State.SPAWNED) -> None:
        config = module(config) if isinstance(config, str) else config
        self.handle = WorkerHandle.create(config)
        self.handle.state = state
        self.channel: Channel[EngineMessages] = worker_channel(self.handle.worker_sock.dup())

    def send(self, message: WorkerMessage) -> None:
        """Send as the worker does."""
        self.channel.send(message)

    def received(self) -> list[EngineMessage]:
        """Return what the engine has sent since the last call."""
        return list(iter(self.channel.receive, None))

    def close(self) -> None:
        """Close both ends."""
        self.channel.close()
        self.handle.close()


class FakeForkServer:
    """Records what the fleet requests; the test gives its messages by `report`."""

    def __init__(self, preload: Iterable[str] = (), folder: Path = Path()) -> None:
        self.preload = list(preload)
        self.folder = folder
        self.requests: list[tuple[WorkerSpec, list[int]]] = []
        self.left: list[Left] = []
        """What it reports when it ends."""
        self.closed = self.full = False
        self.error: Exception | None = None
        self._messages: list[Forked | Exited] = []
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        return self._ours.fileno()

    def request(self, spec: WorkerSpec, descriptors: Iterable[int]) -> bool:
        if self.full:
            return False
        self.requests.append((spec, list(descriptors)))
        return True

    def report(self, *messages: Forked | Exited) -> None:
        """Make messages available to the fleet."""
        self._messages += messages
        self._theirs.send(b"x")

    def fail(self, error: Exception) -> None:
        """Raise from the next `receive`."""
        self.error = error
        self._theirs.send(b"x")

    def receive(self) -> Forked | Exited | None:
        if self.error is not None:
            raise self.error
        if self._messages:
            return self._messages.pop(0)
        self._ours.setblocking(False)
        try:
            self._ours.recv(100)
        except BlockingIOError:
            pass
        return None

    def rouse(self) -> str:
        return ""

    def end(self) -> list[Left]:
        return self.finish()

    def finish(self, _hurried: Callable[[], bool] = bool) -> list[Left]:
        self.closed = True
        self._ours.close()
        self._theirs.close()
        return self.left


class FakeClock:
    """Replaces the module `time` (or its functions) in the code under test."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return round(self.now * 1e9)

    def master(self) -> FakeMaster:
        """Return a master timer that starts now."""
        return FakeMaster(self, self.monotonic_ns())


class FakeMaster:
    """A master timer on a `FakeClock`."""

    def __init__(self, clock: FakeClock, t0_ns: int) -> None:
        self._clock, self._t0_ns = clock, t0_ns

    def now_usec(self) -> int:
        return self.from_monotonic_ns(self._clock.monotonic_ns())

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        return (monotonic_ns - self._t0_ns) // 1000


class Watcher:
    """A run observer that keeps what it is given."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.status: RunStatus | None = None
        self.logs: list[tuple[str, int, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.updates = 0

    def on_status(self, status: RunStatus) -> None:
        self.status = status
        self.updates += 1
        if self.phases[-1:] != [status.phase.value]:
            self.phases.append(status.phase.value)

    def on_log(self, module: str, level: int, message: str) -> None:
        self.logs.append((module, level, message))

    def on_output(self, module: str, text: str) -> None:
        self.lines.append((module, text))
