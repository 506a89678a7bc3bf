"""`SyntalosLink`, the interface of standalone modules, on a backend without a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import syntalos_mlink as syl
from mlink.module import PortSpec
from mlink.modules.script.settings import ScriptPort, ScriptSettings
from mlink.scripting.backend import LinkBackend, LinkEvents, LinkPhase, set_backend
from mlink.scripting.link import ScriptLink, set_link
from mlink.scripting.standalone import forget_link
from mlink.storage.edl import create_collection, create_dataset, open_group
from mlink.sync import SecondaryClockSynchronizer
from mlink.testing.context import RunnerContext
from mlink.testing.ports import RunnerInput, RunnerOutput
from mlink.types import DataType

RUN = bytes(range(16))


class FakeBackend:
    """Replaces the process of a standalone module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.allow_async_start = True
        self.context = RunnerContext(
            "probe", ScriptSettings(script="x", ports_in=[]), folder, {}, lambda: None
        )
        self.context.limit_usec = None
        self.phase = LinkPhase.STARTING
        self.events: LinkEvents
        self.kept: list[Any] = []
        self.served: list[tuple[Any, int]] = []
        self.closed = False

    def attach(self, events: LinkEvents) -> None:
        self.events = events

    def register_input(self, id: str, title: str, data_type: DataType) -> RunnerInput:
        self.context.inputs[id] = RunnerInput(PortSpec(id, data_type, title), {})
        return self.context.inputs[id]

    def register_output(self, id: str, title: str, data_type: DataType) -> RunnerOutput:
        self.context.outputs[id] = RunnerOutput(PortSpec(id, data_type, title), {})
        return self.context.outputs[id]

    def signal_idle(self) -> None:
        self.phase = LinkPhase.IDLE

    def serve_until_shutdown(self, event: Callable[[], object] | None, period_usec: int) -> None:
        self.served.append((event, period_usec))

    def root_group(self) -> Any:
        return open_group(self.folder / "rec", RUN)

    def create_dataset(self, preferred_name: str) -> Any:
        return create_dataset(self.folder / "rec", preferred_name or "probe", collection_id=RUN)

    def keep(self, unit: Any) -> None:
        self.kept.append(unit)

    def create_synchronizer(
        self, expected_frequency_hz: float, id: str
    ) -> SecondaryClockSynchronizer:
        return SecondaryClockSynchronizer(id)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FakeBackend]:
    create_collection(tmp_path / "rec", collection_id=RUN, generator="test")
    made = FakeBackend(tmp_path)
    typed: LinkBackend = made
    set_backend(lambda: typed)
    yield made
    set_backend(None)
    forget_link()


@pytest.fixture
def link(backend: FakeBackend) -> syl.SyntalosLink:
    return syl.init_link()


class TestInit:
    def test_a_second_call_is_refused(self, link: syl.SyntalosLink) -> None:
        with pytest.raises(syl.SyntalosPyError, match="init_link"):
            syl.init_link()

    def test_without_an_engine_the_error_has_the_command(self) -> None:
        with pytest.raises(syl.SyntalosPyError, match="mlink run"):
            syl.init_link()

    def test_in_a_script_of_a_bench_it_is_refused(self, backend: FakeBackend) -> None:
        set_link(ScriptLink(backend.context))
        with pytest.raises(syl.SyntalosPyError, match="has its link"):
            syl.init_link()

    def test_afterwards_the_functions_work(
        self, link: syl.SyntalosLink, backend: FakeBackend
    ) -> None:
        link.register_output_port("rows", "Rows", "TableRow")
        assert syl.get_output_port("rows") is not None
        assert syl.get_input_port("rows") is None
        assert syl.is_running() is False
        backend.context.started = True
        assert syl.is_running() is link.is_running is True

    def test_rename_process_is_by_keyword(self, backend: FakeBackend) -> None:
        with pytest.raises(TypeError):
            syl.init_link(True)  # type: ignore[call-arg]
        syl.init_link(rename_process=True)


CALLBACKS: dict[str, tuple[object, ...]] = {
    "on_prepare": (),
    "on_start": (),
    "on_stop": (),
    "on_show_settings": (),
    "on_show_display": (),
    "on_save_settings": (Path("/base"),),
    "on_load_settings": (b"data", Path("/base")),
}


class TestCallbacks:
    @pytest.mark.parametrize("name", CALLBACKS)
    def test_can_be_set_read_and_removed(self, link: syl.SyntalosLink, name: str) -> None:
        def call(*args: object) -> bool:
            return True

        assert getattr(link, name) is None
        setattr(link, name, call)
        assert getattr(link, name) is call
        setattr(link, name, None)
        assert getattr(link, name) is None

    @pytest.mark.parametrize("name", CALLBACKS)
    def test_are_called_with_their_arguments(
        self, link: syl.SyntalosLink, backend: FakeBackend, name: str
    ) -> None:
        calls: list[tuple[object, ...]] = []
        setattr(link, name, lambda *args: calls.append(args))
        getattr(backend.events, name.removeprefix("on_"))(*CALLBACKS[name])
        assert calls == [CALLBACKS[name]]

    @pytest.mark.parametrize("name", CALLBACKS)
    def test_of_wrong_arguments_are_refused(self, link: syl.SyntalosLink, name: str) -> None:
        for wrong in (5, lambda a, b, c: None):
            with pytest.raises(syl.SyntalosPyError, match=f"{name} must be a function"):
                setattr(link, name, wrong)

    def test_missing_prepare_is_ready_at_once(
        self, link: syl.SyntalosLink, backend: FakeBackend
    ) -> None:
        assert backend.events.prepare() is True

    @pytest.mark.parametrize(("result", "ready"), [(True, True), (False, False), (None, True)])
    def test_prepare_returns_whether_it_is_ready(
        self, link: syl.SyntalosLink, backend: FakeBackend, result: Any, ready: bool
    ) -> None:
        link.on_prepare = lambda: result
        assert backend.events.prepare() is ready

    def test_settings_are_bytes(self, link: syl.SyntalosLink, backend: FakeBackend) -> None:
        assert backend.events.save_settings(Path("/base")) == b""
        link.on_save_settings = lambda base: bytearray(b"x")  # type: ignore[assignment,return-value]
        assert backend.events.save_settings(Path("/base")) == b"x"
        link.on_save_settings = lambda base: "text"  # type: ignore[assignment,return-value]
        with pytest.raises(syl.SyntalosPyError, match="must return bytes, not str"):
            backend.events.save_settings(Path("/base"))


class TestPorts:
    @pytest.mark.parametrize("data_type", [syl.DataType.Frame, "Frame"])
    def test_are_registered(self, link: syl.SyntalosLink, data_type: Any) -> None:
        assert link.register_input_port("in", "In", data_type).name == "in"
        assert link.register_output_port("out", "Out", data_type).name == "out"

    def test_the_same_id_twice_is_a_runtime_error(self, link: syl.SyntalosLink) -> None:
        link.register_input_port("a", "A", "Frame")
        link.register_output_port("a", "A", "Frame")
        with pytest.raises(RuntimeError, match="input port 'a' already"):
            link.register_input_port("a", "A", "Frame")
        with pytest.raises(RuntimeError, match="output port 'a' already"):
            link.register_output_port("a", "A", "Frame")

    @pytest.mark.parametrize(
        ("id", "type_"), [("", "Frame"), (5, "Frame"), ("a", "Frme"), ("a", 5)]
    )
    def test_wrong_arguments_are_refused(self, link: syl.SyntalosLink, id: Any, type_: Any) -> None:
        with pytest.raises(syl.SyntalosPyError):
            link.register_input_port(id, "A", type_)

    def test_after_idle_it_is_too_late(self, link: syl.SyntalosLink) -> None:
        link.signal_idle()
        with pytest.raises(syl.SyntalosPyError, match="too late"):
            link.register_output_port("a", "A", "Frame")

    def test_port_registered_by_its_2x_name_receives_2x_values(
        self, link: syl.SyntalosLink, backend: FakeBackend
    ) -> None:
        seen: list[Any] = []
        link.register_input_port("in", "In", "FirmataData").on_data = seen.append
        backend.context.inputs["in"].deliver(syl.LineReading(7, 1), 0)
        assert isinstance(seen[0], syl.FirmataData)

    def test_2x_name_in_the_bench_does_so_too(self, backend: FakeBackend) -> None:
        backend.context.settings.ports_in.append(ScriptPort("in", "FirmataData"))
        seen: list[Any] = []
        port = syl.init_link().register_input_port("in", "In", syl.DataType.FirmataData)
        port.on_data = seen.append
        backend.context.inputs["in"].deliver(syl.LineReading(7, 1), 0)
        assert isinstance(seen[0], syl.FirmataData)


class TestLoop:
    def test_await_data_forever_signals_idle_then_serves(
        self, link: syl.SyntalosLink, backend: FakeBackend
    ) -> None:
        link.await_data_forever()
        assert backend.phase is LinkPhase.IDLE
        assert backend.served == [(None, 25_000)]

    def test_event_fn_is_called_every_25_ms(
        self, link: syl.SyntalosLink, backend: FakeBackend
    ) -> None:
        link.await_data_forever(event_fn=print)
        assert backend.served == [(print, 25_000)]
        with pytest.raises(syl.SyntalosPyError, match="no argument"):
            link.await_data_forever(lambda x: None)  # type: ignore[misc,arg-type]

    def test_status_message(self, link: syl.SyntalosLink, backend: FakeBackend) -> None:
        link.set_status_message("warm")
        assert backend.context.status == "warm"
        link.set_status_message()
        assert backend.context.status == ""

    def test_run_uuid_and_async_start(self, link: syl.SyntalosLink, backend: FakeBackend) -> None:
        assert len(link.run_uuid) == 16
        link.allow_async_start = False
        assert backend.allow_async_start is link.allow_async_start is False


class TestStorage:
    NEEDS_RUN: tuple[Callable[[syl.SyntalosLink], object], ...] = (
        lambda link: link.root_group,
        lambda link: link.create_default_dataset(),
        lambda link: link.create_storage_group("g"),
        lambda link: link.init_clock_synchronizer(),
    )

    @pytest.mark.parametrize("use", NEEDS_RUN)
    @pytest.mark.parametrize("phase", [LinkPhase.STARTING, LinkPhase.IDLE, LinkPhase.STOPPING])
    def test_needs_a_run(
        self, link: syl.SyntalosLink, backend: FakeBackend, use: Any, phase: LinkPhase
    ) -> None:
        backend.phase = phase
        with pytest.raises(syl.SyntalosPyError, match="on_prepare"):
            use(link)

    @pytest.mark.parametrize("use", NEEDS_RUN)
    @pytest.mark.parametrize("phase", [LinkPhase.PREPARING, LinkPhase.READY, LinkPhase.RUNNING])
    def test_works_in_a_run(
        self, link: syl.SyntalosLink, backend: FakeBackend, use: Any, phase: LinkPhase
    ) -> None:
        backend.phase = phase
        assert use(link) is not None

    @pytest.fixture
    def prepared(self, link: syl.SyntalosLink, backend: FakeBackend) -> syl.SyntalosLink:
        backend.phase = LinkPhase.PREPARING
        return link

    def test_dataset(self, prepared: syl.SyntalosLink, tmp_path: Path) -> None:
        dataset = prepared.create_default_dataset("my data")
        assert dataset.name == "my-data"
        assert dataset.path == tmp_path / "rec" / "my-data"
        assert dataset.is_empty
        assert dataset.set_data_file("a.csv", "numbers") == dataset.path / "a.csv"
        assert dataset.add_aux_file("b.txt", key="notes") == dataset.path / "b.txt"
        assert dataset.path_for_basename("c.bin") == dataset.path / "c.bin"
        assert dataset.set_data_file("a_*.csv", scan=True) == dataset.path
        dataset.set_attribute("gain", 3)
        assert not dataset.is_empty

    def test_name_outside_of_the_dataset_is_refused(self, prepared: syl.SyntalosLink) -> None:
        dataset = prepared.create_default_dataset()
        for name in ("../x", "/etc/passwd", ""):
            with pytest.raises(syl.SyntalosPyError, match="dataset 'probe'"):
                dataset.set_data_file(name)

    def test_groups(self, prepared: syl.SyntalosLink, backend: FakeBackend) -> None:
        group = prepared.create_storage_group("events")
        dataset = prepared.create_dataset_in_group(group, "lever")
        assert dataset.path == group.path / "lever"
        with pytest.raises(syl.SyntalosPyError, match="already"):
            prepared.create_dataset_in_group(group, "lever")
        group.create_group("inner").set_attribute("a", 1)
        assert [unit.name for unit in backend.kept] == ["events", "lever", "inner"]
        assert prepared.root_group.name == "rec"


def test_module_functions_know_the_synchronizer(
    link: syl.SyntalosLink, backend: FakeBackend
) -> None:
    backend.phase = LinkPhase.RUNNING
    synchronizer = link.init_clock_synchronizer(30.0, "cam")
    assert isinstance(synchronizer, syl.SecondaryClockSynchronizer)
    synchronizer.set_strategies(int(syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD))
