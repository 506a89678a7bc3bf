"""Interfaces between a standalone module's `SyntalosLink` and the process that runs it.

`LinkBackend` is implemented by the worker (`mlink.worker.standalone`), `LinkEvents` by the link.
This file knows neither, so that a script can be tested with a backend of its own.
"""

from __future__ import annotations

import enum
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlink.module
from mlink.module import ModuleContext
from mlink.scripting.errors import SyntalosPyError
from mlink.types import DataType

if TYPE_CHECKING:
    from mlink.storage.edl import Dataset, Group
    from mlink.sync import SecondaryClockSynchronizer


class LinkPhase(enum.Enum):
    """Where a standalone module is in its life."""

    STARTING = "starting up"
    IDLE = "idle"
    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"


class LinkEvents(Protocol):
    """Requests of the engine to the module. Called in the main thread, while the module serves."""

    @property
    def has_settings_window(self) -> bool:
        """Whether `show_settings` shows anything."""

    def prepare(self) -> bool:
        """Prepare for a run; return False to refuse it."""

    def start(self) -> None:
        """Begin the run."""

    def stop(self) -> None:
        """End the run."""

    def show_settings(self) -> None:
        """Show the module's own settings window, if it has one."""

    def show_display(self) -> bool:
        """Show the module's own display window; return False if it has none."""

    def save_settings(self, base_dir: Path) -> bytes:
        """Return the settings, in the module's own format."""

    def load_settings(self, data: bytes, base_dir: Path) -> bool:
        """Restore settings that `save_settings` returned; return False when they do not fit."""


class LinkBackend(Protocol):
    """The worker's side of a link: ports, event loop and storage.

    All methods are called in the main thread of the module's process.
    """

    allow_async_start: bool
    """Whether the engine need not wait for `start()` to return."""

    @property
    def context(self) -> ModuleContext[Any]:
        """The module's context: clock, `running`, delayed calls, failures."""

    @property
    def phase(self) -> LinkPhase:
        """Where the module is in its life."""

    def attach(self, events: LinkEvents) -> None:
        """Send requests of the engine to `events` from now on."""

    def register_input(self, id: str, title: str, data_type: DataType) -> mlink.module.InputPort:
        """Declare an input port to the engine.

        Args:
            id: Id of the port, as the bench connects it.
            title: Title for people.
            data_type: Type of the items that it receives.
        """

    def register_output(self, id: str, title: str, data_type: DataType) -> mlink.module.OutputPort:
        """Declare an output port to the engine; arguments as for `register_input`."""

    def signal_idle(self) -> None:
        """Report to the engine that all ports are declared."""

    def serve_until_shutdown(self, event: Callable[[], object] | None, period_usec: int) -> None:
        """Serve data and the engine until the engine ends the process.

        Args:
            event: Called about every `period_usec`; None calls nothing.
            period_usec: Time between two calls of `event`, in µs.
        """

    def root_group(self) -> Group:
        """Return the recording's root group; without a recording, a temporary folder."""

    def create_dataset(self, preferred_name: str) -> Dataset:
        """Create a dataset, saved when the run ends; a number is appended to a name in use."""

    def keep(self, unit: Dataset | Group) -> None:
        """Save a dataset or group that the script created, when the run ends."""

    def create_synchronizer(
        self, expected_frequency_hz: float, id: str
    ) -> SecondaryClockSynchronizer:
        """Create a synchroniser that writes its tsync file into the module's default dataset.

        Args:
            expected_frequency_hz: Sampling rate of the device in Hz; 0 when it is not known.
            id: Name of the tsync file; empty takes the default.
        """

    def close(self) -> None:
        """Disconnect from the engine; called when the process ends."""


BACKEND_VARIABLE = "MLINK_LINK_BACKEND"
"""Environment variable with "module:function", which `init_link()` calls for its backend."""

ConnectBackend = Callable[[], LinkBackend]

_connect: ConnectBackend | None = None


def set_backend(connect: ConnectBackend | None) -> None:
    """Set the function that returns the backend of `init_link()`; None removes it."""
    global _connect
    _connect = connect


def connect_backend() -> LinkBackend:
    """Connect to the engine.

    Raises:
        SyntalosPyError: No engine started this process.
    """
    named = os.environ.pop(BACKEND_VARIABLE, "")
    if _connect is None and named:
        module_name, _, function = named.partition(":")
        connect: ConnectBackend = getattr(importlib.import_module(module_name), function)
        return connect()
    if _connect is None:
        raise SyntalosPyError(
            "init_link() found no engine: run this program as a module of type 'python' of a "
            "bench (mlink run BENCH), not by itself"
        )
    return _connect()
