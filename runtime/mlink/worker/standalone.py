"""Makes a standalone program a worker: the backend of `init_link()` in a module of type "python".

The fork server names this module in the environment of the program; `init_link()` finds it there.
The program registers its ports, then calls `run`, which keeps the main thread until the engine's
Close.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlink.module
from mlink.errors import MlinkError, ModuleError
from mlink.module import Module, ModuleContext, PortSpec
from mlink.modules.script.program_settings import ProgramSettings
from mlink.modules.script.settings import settings_path, show_window
from mlink.scripting.backend import LinkEvents, LinkPhase
from mlink.scripting.errors import SyntalosPyError, script_error
from mlink.storage.edl import Dataset, Group, create_collection, open_group
from mlink.sync import SecondaryClockSynchronizer
from mlink.sync.sink import PairSink, TsyncPairSink
from mlink.types import DataType
from mlink.worker.connection import adopt_from_environment
from mlink.worker.host import ModuleHost
from mlink.worker.input_port import WorkerInput
from mlink.worker.life import Worker
from mlink.worker.output_port import WorkerOutput


class StandaloneModule(Module[ProgramSettings]):
    """Calls a program's callbacks in the phases of a run."""

    ahead = True

    def __init__(self, context: ModuleContext[ProgramSettings], backend: StandaloneBackend) -> None:
        super().__init__(context)
        self._backend = backend

    @property
    def _settings_file(self) -> Path | None:
        name, folder = self.settings.settings_file, self.context.run_info.bench_dir
        return settings_path(name, self.context.name, folder) if name else None

    def prepare(self) -> None:
        """Load the program's settings, then call its prepare callback.

        Raises:
            ModuleError: The program rejects the settings, or its callback returns False.
        """
        events, path = self._backend.events, self._settings_file
        if path is not None and path.exists():
            accepted = events.load_settings(path.read_bytes(), path.parent)
            if not accepted:
                raise ModuleError(
                    f"{path}: the program does not accept these settings",
                    remedy="Remove the file to begin with the program's own defaults.",
                )
        self._backend.enter(LinkPhase.PREPARING)
        if not events.prepare():
            raise ModuleError("on_prepare returned False: the module refuses to run")
        self._backend.enter(LinkPhase.READY)
        if self.settings.show_display:
            show_window(self.log, events.show_display)

    def start(self) -> None:
        """Call the program's start callback."""
        self._backend.enter(LinkPhase.RUNNING)
        self._backend.events.start()

    def stop(self) -> None:
        """Call the program's stop callback; its synchronisers write their last pairs."""
        self._backend.enter(LinkPhase.STOPPING)
        self._backend.events.stop()
        for synchronizer in self._backend.synchronizers:
            synchronizer.stop()

    def close(self) -> None:
        """Save the program's settings; a replay does not change those of the lab."""
        self._backend.enter(LinkPhase.IDLE)
        is_replay = self.context.run_info.time_created is not None
        path = None if is_replay else self._settings_file
        if path is not None and (data := self._backend.events.save_settings(path.parent)):
            path.write_bytes(data)

    def explain(self, error: BaseException, phase: str) -> BaseException:
        """Return an error that names lines of the program, not of mlink."""
        return error if isinstance(error, MlinkError) else script_error(error, phase)


class StandaloneBackend:
    """Implements `mlink.scripting.backend.LinkBackend` in a program started by the engine.

    Raises:
        ControlError: The program was not started by an engine.
    """

    def __init__(self) -> None:
        self.allow_async_start = True
        self.synchronizers: list[SecondaryClockSynchronizer] = []
        self._phase = LinkPhase.STARTING
        self._events: LinkEvents | None = None
        self._connection = adopt_from_environment()
        self._worker = Worker(self._connection, self._build)
        self._host: ModuleHost = self._worker.host
        self._group: Group | None = None
        self._ended = False

    def _build(self, host: ModuleHost) -> Module[Any]:
        return StandaloneModule(host, self)

    @property
    def context(self) -> ModuleContext[Any]:
        """The module's context."""
        return self._host

    @property
    def events(self) -> LinkEvents:
        """The program's callbacks."""
        assert self._events is not None
        return self._events

    @property
    def phase(self) -> LinkPhase:
        """Phase of the module."""
        return self._phase

    def enter(self, phase: LinkPhase) -> None:
        """Set the phase of the module."""
        self._phase = phase

    def attach(self, events: LinkEvents) -> None:
        """Set the program's callbacks."""
        self._events = events

    def register_input(self, id: str, title: str, data_type: DataType) -> mlink.module.InputPort:
        """Return the port that the bench declares under this id, else an unconnected one.

        Raises:
            SyntalosPyError: The bench declares it with another type.
        """
        port = self._host.inputs.get(id)
        if port is None:
            port = self._host.inputs[id] = WorkerInput(PortSpec(id, data_type, title))
        self._check(port, data_type, "ports_in")
        return port

    def register_output(self, id: str, title: str, data_type: DataType) -> mlink.module.OutputPort:
        """Return the port that the bench declares under this id, else an unconnected one.

        Raises:
            SyntalosPyError: The bench declares it with another type.
        """
        port = self._host.outputs.get(id)
        if port is None:
            port = self._host.outputs[id] = WorkerOutput(PortSpec(id, data_type, title))
        self._check(port, data_type, "ports_out")
        return port

    def _check(self, port: WorkerInput | WorkerOutput, data_type: DataType, key: str) -> None:
        if port.data_type is not data_type:
            raise SyntalosPyError(
                f"port '{port.id}' is registered as {data_type.name}, but the bench declares it "
                f"as {port.data_type.name}: correct {key} of [modules.{self._host.name}]"
            )

    def signal_idle(self) -> None:
        """Report to the engine that the module is loaded."""
        self._phase = LinkPhase.IDLE
        self._worker.load()

    def serve_until_shutdown(self, event: Callable[[], object] | None, period_usec: int) -> None:
        """Follow the engine until its Close.

        Args:
            event: Called every `period_usec`; None for no such call.
            period_usec: Period in µs of master time.
        """
        if event is not None:
            self._repeat(event, period_usec)
        self._worker.follow()
        self._ended = True

    def _repeat(self, event: Callable[[], object], period_usec: int) -> None:
        def call() -> None:
            self._host.call_later(period_usec, call, timed=False)
            event()

        call()

    def root_group(self) -> Group:
        """Return the recording's root; without a recording, a group in the run's own folder.

        That folder is removed with the run, so programs need not distinguish the two cases.
        """
        if self._group is None:
            info = self._host.run_info
            if info.recording_dir is not None:
                self._group = open_group(
                    info.recording_dir, info.run_uuid, time_created=info.time_created
                )
            else:
                path = info.work_dir / f"unrecorded-{self._host.name}"
                path.mkdir(exist_ok=True)
                self._group = create_collection(
                    path, collection_id=info.run_uuid, generator="mlink (not recorded)"
                )
        return self._group

    def create_dataset(self, preferred_name: str) -> Dataset:
        """Create a dataset that is saved at the end of the run."""
        dataset = self._host.create_dataset(preferred_name)
        if dataset is None:
            dataset = self.root_group().create_dataset(preferred_name or self._host.name)
        return dataset

    def keep(self, unit: Dataset | Group) -> None:
        """Save this unit at the end of the run."""
        self._host.datasets.append(unit)

    def create_synchronizer(
        self, expected_frequency_hz: float, id: str
    ) -> SecondaryClockSynchronizer:
        """Return a synchroniser whose tsync file is in a dataset of this module.

        Args:
            expected_frequency_hz: Rate of the device's time stamps; 0 if unknown.
            id: Name of the clock; "" means "clock".
        """
        name = id or "clock"

        def open_sink() -> PairSink:
            dataset = self.create_dataset(f"{self._host.name}-{name}")
            path = dataset.set_data_file(f"{name}.tsync", "Clock synchronisation points")
            info = self._host.run_info
            created = info.time_created
            return TsyncPairSink(
                path,
                collection_id=info.run_uuid,
                generator=self._host.name,
                time_created=None if created is None else int(created.timestamp()),
            )

        synchronizer = SecondaryClockSynchronizer(name, sink=LazySink(open_sink))
        if expected_frequency_hz > 0:
            synchronizer.set_expected_clock_frequency_hz(expected_frequency_hz)
        self.synchronizers.append(synchronizer)
        return synchronizer

    def close(self) -> None:
        """Disconnect; a program that ends before the run is over is reported as a failure."""
        self._connection.printed.finish()
        if not self._ended and self._phase is not LinkPhase.STARTING:
            error = ModuleError(
                "the program ended before the run was over",
                remedy="Let it wait in await_data_forever(), which returns at the end of the run.",
            )
            self._host.send_failure(error, "run")


class LazySink:
    """Creates its file at the first pair, so that no empty file is left."""

    def __init__(self, open_sink: Callable[[], PairSink]) -> None:
        self._open_sink = open_sink
        self._sink: PairSink | None = None

    def write(self, device_usec: int, master_usec: int) -> None:
        """Write one pair, in µs."""
        if self._sink is None:
            self._sink = self._open_sink()
        self._sink.write(device_usec, master_usec)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._sink is not None:
            self._sink.close()


def connect() -> StandaloneBackend:
    """Connect this program to the engine that started it.

    Raises:
        ControlError: The program was not started by an engine.
    """
    return StandaloneBackend()
