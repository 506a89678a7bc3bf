"""`SyntalosLink`: the script interface of standalone programs.

A program of module type `python` calls `init_link()`, registers its ports and callbacks, and serves
the engine until it ends the process.
"""

from __future__ import annotations

import atexit
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlink.scripting.backend import LinkBackend, LinkPhase, connect_backend
from mlink.scripting.callbacks import check_function
from mlink.scripting.edl import EdlDataset, EdlGroup
from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.link import ScriptLink, has_link, set_link
from mlink.scripting.ports import InputPort, OutputPort
from mlink.types import DataType

if TYPE_CHECKING:
    from mlink.sync import SecondaryClockSynchronizer

_EVENT_PERIOD_USEC = 25_000
_WITH_STORAGE = frozenset({LinkPhase.PREPARING, LinkPhase.READY, LinkPhase.RUNNING})

Callback = Callable[..., Any]


class SyntalosLink:
    """The link of a standalone module to the engine; `init_link()` returns it.

    Set the callbacks, register the ports, then call `await_data_forever()`. Callbacks are called
    in the main thread, while it serves.
    """

    def __init__(self, backend: LinkBackend) -> None:
        self._backend = backend
        # In `DataType` the 2.x names are aliases; the bench has the name that was meant.
        ports = getattr(backend.context.settings, "ports_in", [])
        self._declared = {port.id: port.data_type for port in ports}
        self._script = ScriptLink(backend.context, self._declared)
        self._callbacks: dict[str, Callback] = {}
        self._inputs: set[str] = set()
        self._outputs: set[str] = set()
        backend.attach(_Events(self._callbacks, self._script))

    # callbacks ------------------------------------------------------------------------------

    @property
    def on_prepare(self) -> Callable[[], bool] | None:
        """Called before a run; returns whether the module is ready. None is always ready."""
        return self._callbacks.get("on_prepare")

    @on_prepare.setter
    def on_prepare(self, function: Callable[[], bool] | None) -> None:
        self._set("on_prepare", function)

    @property
    def on_start(self) -> Callable[[], object] | None:
        """Called when the run starts."""
        return self._callbacks.get("on_start")

    @on_start.setter
    def on_start(self, function: Callable[[], object] | None) -> None:
        self._set("on_start", function)

    @property
    def on_stop(self) -> Callable[[], object] | None:
        """Called when the run ends; submitting is still allowed."""
        return self._callbacks.get("on_stop")

    @on_stop.setter
    def on_stop(self, function: Callable[[], object] | None) -> None:
        self._set("on_stop", function)

    @property
    def on_show_settings(self) -> Callable[[], object] | None:
        """Called when the user asks for the module's settings window (`mlink settings`)."""
        return self._callbacks.get("on_show_settings")

    @on_show_settings.setter
    def on_show_settings(self, function: Callable[[], object] | None) -> None:
        self._set("on_show_settings", function)

    @property
    def on_show_display(self) -> Callable[[], object] | None:
        """Called before a run starts, where the module has `show_display = true`."""
        return self._callbacks.get("on_show_display")

    @on_show_display.setter
    def on_show_display(self, function: Callable[[], object] | None) -> None:
        self._set("on_show_display", function)

    @property
    def on_save_settings(self) -> Callable[[Path], bytes] | None:
        """Called with the bench's folder; returns the module's settings in a format of its own."""
        return self._callbacks.get("on_save_settings")

    @on_save_settings.setter
    def on_save_settings(self, function: Callable[[Path], bytes] | None) -> None:
        self._set("on_save_settings", function, "base_dir")

    @property
    def on_load_settings(self) -> Callable[[bytes, Path], bool] | None:
        """Called with saved settings and the bench's folder; returns whether they were accepted."""
        return self._callbacks.get("on_load_settings")

    @on_load_settings.setter
    def on_load_settings(self, function: Callable[[bytes, Path], bool] | None) -> None:
        self._set("on_load_settings", function, "data", "base_dir")

    def _set(self, name: str, function: Callback | None, *arguments: str) -> None:
        if function is None:
            self._callbacks.pop(name, None)
            return
        check_function(function, name, *arguments)
        self._callbacks[name] = function

    # ports ----------------------------------------------------------------------------------

    def register_input_port(self, id: str, title: str, data_type: DataType | str) -> InputPort:
        """Declare an input port, before `await_data_forever()`.

        Args:
            id: Id of the port, as the bench connects it.
            title: Title for people.
            data_type: Type of its items, or the type's name.

        Raises:
            RuntimeError: There is an input port with this id.
            SyntalosPyError: The type is unknown, the id is not a text, or it is too late.
        """
        kind, declared = _data_type(data_type)
        self._check_new(id, self._inputs, "input")
        port = self._backend.register_input(id, title, kind)
        self._inputs.add(id)
        if isinstance(data_type, DataType):
            declared = self._declared.get(id, declared)
        return self._script.add_input(port, declared)

    def register_output_port(self, id: str, title: str, data_type: DataType | str) -> OutputPort:
        """Declare an output port, before `await_data_forever()`.

        Args:
            id: Id of the port, as the bench connects it.
            title: Title for people.
            data_type: Type of its items, or the type's name.

        Raises:
            RuntimeError: There is an output port with this id.
            SyntalosPyError: The type is unknown, the id is not a text, or it is too late.
        """
        kind, _ = _data_type(data_type)
        self._check_new(id, self._outputs, "output")
        port = self._backend.register_output(id, title, kind)
        self._outputs.add(id)
        return self._script.add_output(port)

    def _check_new(self, id: str, known: set[str], kind: str) -> None:
        if self._backend.phase is not LinkPhase.STARTING:
            raise SyntalosPyError(
                f"{kind} port '{id}' is registered too late: register ports before "
                "await_data_forever() or signal_idle()"
            )
        if not isinstance(id, str) or not id:
            raise SyntalosPyError(f"a port's id must be a text, not {id!r}")
        if id in known:
            raise RuntimeError(
                f"there is an {kind} port '{id}' already: give each port an id of its own"
            )

    # the loop -------------------------------------------------------------------------------

    def await_data(self, timeout_usec: int = -1) -> None:
        """Serve data and the engine, as `syntalos_mlink.await_data` does."""
        self._script.await_data(timeout_usec)

    def await_data_forever(self, event_fn: Callable[[], object] | None = None) -> None:
        """Signal the engine that the module is idle, then serve until the engine ends the process.

        Args:
            event_fn: Called without arguments about every 25 ms, for example to serve windows.
        """
        if event_fn is not None:
            check_function(event_fn, "event_fn of await_data_forever()")
        self.signal_idle()
        self._backend.serve_until_shutdown(event_fn, _EVENT_PERIOD_USEC)

    def signal_idle(self) -> None:
        """Signal the engine that all ports are registered and a run may begin."""
        if self._backend.phase is LinkPhase.STARTING:
            self._backend.signal_idle()

    def set_status_message(self, message: str | None = None) -> None:
        """Show a short status text for this module; None removes it."""
        self._backend.context.set_status("" if message is None else str(message))

    # storage --------------------------------------------------------------------------------

    @property
    def root_group(self) -> EdlGroup:
        """The recording's root group; available from `on_prepare` on."""
        self._require_run("root_group")
        return EdlGroup(self._backend.root_group(), self._backend.keep)

    def create_default_dataset(self, preferred_name: str = "") -> EdlDataset:
        """Create the module's dataset.

        Args:
            preferred_name: Its name; empty takes the module's. A number is appended to one in use.
        """
        self._require_run("create_default_dataset()")
        return EdlDataset(self._backend.create_dataset(preferred_name))

    def create_storage_group(self, name: str) -> EdlGroup:
        """Return the group of this name in the recording's root; it is created if it is missing."""
        self._require_run("create_storage_group()")
        return self.root_group.create_group(name)

    def create_dataset_in_group(self, group: EdlGroup, name: str) -> EdlDataset:
        """Create a dataset in a group; call it in `on_prepare`.

        Raises:
            SyntalosPyError: The group has a dataset of this name.
        """
        self._require_run("create_dataset_in_group()")
        return group.create_dataset(name)

    def init_clock_synchronizer(
        self, expected_frequency_hz: float = 0.0, id: str = ""
    ) -> SecondaryClockSynchronizer:
        """Create a synchroniser for a device that has a clock of its own.

        Args:
            expected_frequency_hz: The device's sampling rate in Hz; 0 when it is not known.
            id: Name of its tsync file; empty takes the default.
        """
        self._require_run("init_clock_synchronizer()")
        return self._backend.create_synchronizer(expected_frequency_hz, id)

    def _require_run(self, what: str) -> None:
        if self._backend.phase not in _WITH_STORAGE:
            raise SyntalosPyError(
                f"{what} belongs to a run, and the module is {self._backend.phase.value}: "
                "use it in on_prepare or later, while the run lasts"
            )

    # the run --------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether a run lasts and no stop was requested."""
        return self._script.running

    @property
    def allow_async_start(self) -> bool:
        """Whether the engine need not wait for `on_start` to return."""
        return self._backend.allow_async_start

    @allow_async_start.setter
    def allow_async_start(self, allow: bool) -> None:
        self._backend.allow_async_start = bool(allow)

    @property
    def run_uuid(self) -> bytes:
        """The run's UUIDv7, 16 bytes; the same as the recording's id."""
        return self._backend.context.run_info.run_uuid


class _Events:
    """Calls the callbacks of a link; a missing one counts as success."""

    def __init__(self, callbacks: dict[str, Callback], script: ScriptLink) -> None:
        self._callbacks = callbacks
        self._script = script

    def _call(self, name: str, *arguments: object) -> Any:
        function = self._callbacks.get(name)
        return None if function is None else function(*arguments)

    @property
    def has_settings_window(self) -> bool:
        return "on_show_settings" in self._callbacks

    def prepare(self) -> bool:
        return _not_refused(self._call("on_prepare"))

    def start(self) -> None:
        self._call("on_start")

    def stop(self) -> None:
        try:
            self._call("on_stop")
        finally:
            self._script.hint()

    def show_settings(self) -> None:
        self._call("on_show_settings")

    def show_display(self) -> bool:
        self._call("on_show_display")
        return "on_show_display" in self._callbacks

    def save_settings(self, base_dir: Path) -> bytes:
        data = self._call("on_save_settings", base_dir)
        if data is None:
            return b""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise SyntalosPyError(f"on_save_settings must return bytes, not {type(data).__name__}")
        return bytes(data)

    def load_settings(self, data: bytes, base_dir: Path) -> bool:
        return _not_refused(self._call("on_load_settings", data, base_dir))


def _not_refused(result: object) -> bool:
    """Return whether a callback agreed; None agrees, as for prepare() of scripts."""
    return result is None or bool(result)


_made: SyntalosLink | None = None


def init_link(*, rename_process: bool = False) -> SyntalosLink:
    """Connect this program to the engine as a module; call it once in a process.

    Args:
        rename_process: Whether to name the process after the module, if setproctitle is installed.

    Raises:
        SyntalosPyError: It was called before, in a script of a `pyscript` module, or in a program
            that no engine started.
    """
    global _made
    if _made is not None:
        raise SyntalosPyError("init_link() was called before: keep the link that it returned")
    if has_link():
        raise SyntalosPyError(
            "init_link() is for standalone modules; a script of a pyscript module has its link "
            "already: use syl.get_input_port() and the other functions"
        )
    backend = connect_backend()
    _made = SyntalosLink(backend)
    set_link(_made._script)
    atexit.register(_close, backend)
    if rename_process:
        _rename_process(backend.context.name)
    return _made


def forget_link() -> None:
    """Remove the link of this process, for tests."""
    global _made
    _made = None
    set_link(None)


def _close(backend: LinkBackend) -> None:
    forget_link()
    backend.close()


def _rename_process(name: str) -> None:
    try:
        setproctitle = importlib.import_module("setproctitle")
    except ImportError:
        return  # the name is a convenience
    setproctitle.setproctitle(name)


def _data_type(data_type: DataType | str) -> tuple[DataType, str]:
    """Return a data type and its name as the caller spelled it."""
    if isinstance(data_type, DataType):
        return data_type, data_type.name
    try:
        return DataType.from_name(data_type), data_type
    except (KeyError, TypeError):
        known = ", ".join(f"DataType.{name}" for name in DataType.__members__)
        raise SyntalosPyError(f"{data_type!r} is not a data type; use one of {known}") from None
