"""What a standalone module's process does for its `SyntalosLink`."""

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
    """What the backend asks of the module; called in the main thread, from `serve`."""

    def prepare(self) -> bool:
        """Prepare for a run; False when the module refuses."""
        ...

    def start(self) -> None:
        """Begin the run."""
        ...

    def stop(self) -> None:
        """End the run."""
        ...

    def show_settings(self) -> None:
        """Show the module's own settings window, if it has one."""
        ...

    def show_display(self) -> None:
        """Show the module's own display window, if it has one."""
        ...

    def save_settings(self, base_dir: Path) -> bytes:
        """Return the settings, in the module's own format."""
        ...

    def load_settings(self, data: bytes, base_dir: Path) -> bool:
        """Take settings that `save_settings` returned; False when they do not fit."""
        ...


class LinkBackend(Protocol):
    """The worker's side of a link: ports, the loop, and the run's storage."""

    allow_async_start: bool
    """Whether the engine need not wait for `start()` to return."""

    @property
    def context(self) -> ModuleContext[Any]:
        """The module's world: clock, `running`, delayed calls, failures."""
        ...

    @property
    def phase(self) -> LinkPhase:
        """Where the module is in its life."""
        ...

    def attach(self, events: LinkEvents) -> None:
        """Call these events from now on."""
        ...

    def register_input(self, id: str, title: str, data_type: DataType) -> mlink.module.InputPort:
        """Declare an input port to the engine."""
        ...

    def register_output(self, id: str, title: str, data_type: DataType) -> mlink.module.OutputPort:
        """Declare an output port to the engine."""
        ...

    def signal_idle(self) -> None:
        """Tell the engine that all ports are declared."""
        ...

    def serve_until_shutdown(self, event: Callable[[], object] | None, period_usec: int) -> None:
        """Serve until the process is to end; call `event` about every `period_usec` µs."""
        ...

    def root_group(self) -> Group:
        """Return the recording's root; of a run that is not recorded, a folder that goes away."""
        ...

    def create_dataset(self, preferred_name: str) -> Dataset:
        """Make a dataset (name made free if taken), saved when the run ends."""
        ...

    def keep(self, unit: Dataset | Group) -> None:
        """Save this unit, which the script made, when the run ends."""
        ...

    def create_synchronizer(
        self, expected_frequency_hz: float, id: str
    ) -> SecondaryClockSynchronizer:
        """Make a synchroniser whose tsync file goes into the module's default dataset."""
        ...

    def close(self) -> None:
        """Leave the engine; called when the process ends."""
        ...


BACKEND_VARIABLE = "MLINK_LINK_BACKEND"
"""Environment variable by which the engine's process names what `init_link()` connects to."""

ConnectBackend = Callable[[], LinkBackend]

_connect: ConnectBackend | None = None


def set_backend(connect: ConnectBackend | None) -> None:
    """Give `init_link()` what it connects to; set by the process that runs a standalone module."""
    global _connect
    _connect = connect


def connect_backend() -> LinkBackend:
    """Connect to the engine; SyntalosPyError when no engine started this process."""
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
