"""What a module is: its declared type, its ports, and the life that a worker leads it through.

Every method of a `Module` runs in its worker's main thread. A module that needs a thread (a
capture loop, a serial reader) starts it in `start()` and has stopped it when `halt()` returns;
from that thread it may use `OutputPort.submit`, `OutputPort.loan_frame`, `ModuleContext.fail`,
the clock and the log.

    prepare()  slow work: open devices, set output metadata. No data flows, no time exists.
    start()    the master timer runs; submitting is allowed; metadata freezes on return.
    run()      most modules leave this alone: it serves inputs until a stop was asked.
    halt()     a stop was asked: sources stop acquiring. Nothing new of their own after this.
    stop()     all inputs are drained; may still send (an LED off).
    close()    always called, also after a failure: give everything back.
"""

from __future__ import annotations

import enum
import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
from numpy.typing import DTypeLike, NDArray

from mlink.clock import Clock
from mlink.devices import DeviceEndpoint
from mlink.errors import ModuleError
from mlink.metadata import Metadata
from mlink.types import DataType, StreamItem

if TYPE_CHECKING:
    from mlink.storage.edl import Dataset


class Category(enum.Enum):
    """What a module is for; sources of time-critical data come first in a tie."""

    DEVICE = "device"
    GENERATOR = "generator"
    PROCESSING = "processing"
    SCRIPT = "script"
    WRITER = "writer"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A declared input or output: its id, type, and title for people."""

    id: str
    data_type: DataType
    title: str = ""


class ModuleSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of a module's settings: the keys of its table in the bench file."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Return problems that can be seen before a run, each a sentence ("key: what")."""
        return []

    def names_device(self) -> bool:
        """Tell whether the settings name a device themselves, as Syntalos' do by these keys."""
        return any(getattr(self, key, None) not in (None, "") for key in ("serial_port", "camera"))


Ports = tuple[tuple[PortSpec, ...], tuple[PortSpec, ...]]
"""(inputs, outputs)"""


@dataclass(frozen=True, slots=True)
class ModuleType:
    """What the runtime knows of a module type without importing its implementation.

    Entry points of the group `mlink.modules` name objects of this class. `implementation` is
    "package.module:Class" and is imported only in the worker. `ports`, when given, derives the
    ports from the settings (scripts); else `inputs` and `outputs` hold them.
    """

    id: str
    title: str
    summary: str
    category: Category
    settings: type[ModuleSettings]
    implementation: str
    inputs: tuple[PortSpec, ...] = ()
    outputs: tuple[PortSpec, ...] = ()
    ports: Callable[[Any], Ports] | None = None
    program: Callable[[Any, Path], tuple[str, ...]] | None = None
    """Makes the command line of a standalone module, from (settings, bench folder)."""
    uses_device: bool = False
    aliases: tuple[str, ...] = ()

    def ports_for(self, settings: ModuleSettings) -> Ports:
        """Return (inputs, outputs) of a module with these settings."""
        if self.ports is not None:
            return self.ports(settings)
        return self.inputs, self.outputs

    def load(self) -> type[Module[Any]]:
        """Import the implementation; ModuleError when it cannot be imported."""
        module_name, _, class_name = self.implementation.partition(":")
        try:
            cls: type[Module[Any]] = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise ModuleError(
                f"module type '{self.id}' cannot be loaded from {self.implementation}: {error}",
                remedy="Reinstall the package that provides it, with its extras.",
            ) from error
        return cls


class FrameLoan(Protocol):
    """Pixels in shared memory, to be written once and then sent, or given back by `discard`."""

    array: NDArray[Any]

    def send(self, *, index: int, time_usec: int) -> None:
        """Publish the frame; the loan is used up."""
        ...

    def discard(self) -> None:
        """Give the memory back unsent."""
        ...


class InputPort(Protocol):
    """One input of a module. Handlers are called in the worker's main thread."""

    @property
    def id(self) -> str:
        """The port's id."""
        ...

    @property
    def data_type(self) -> DataType:
        """The type of its items."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a stream is subscribed."""
        ...

    def set_throttle(self, items_per_sec: float) -> None:
        """Deliver at most this many items a second; 0 delivers all."""
        ...

    @property
    def metadata(self) -> Metadata:
        """The source's metadata; complete when `start()` of this module is called."""
        ...

    on_item: Callable[[Any], object] | None
    """Called with each item; an exception in it is a module error."""
    on_gap: Callable[[int], None] | None
    """Called with the number of items lost, before the first item after the gap."""


class OutputPort(Protocol):
    """One output of a module; `submit` and `loan_frame` may be used from any thread."""

    @property
    def id(self) -> str:
        """The port's id."""
        ...

    @property
    def data_type(self) -> DataType:
        """The type of its items."""
        ...

    @property
    def connected(self) -> bool:
        """Whether anybody listens; sending without a listener only counts."""
        ...

    @property
    def frozen(self) -> bool:
        """Whether `start()` has returned: metadata can no longer change."""
        ...

    @property
    def metadata(self) -> Metadata:
        """This stream's metadata, to be filled in `prepare()` (2.x scripts: in `start()`)."""
        ...

    def submit(self, item: StreamItem) -> None:
        """Send one item; never waits. StreamError when it does not fit the port's type."""
        ...

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = ...) -> FrameLoan:
        """Loan shared memory for a frame of this shape, to write its pixels straight into."""
        ...

    def note_lost(self, count: int) -> None:
        """Say that `count` items were lost before they could be sent; subscribers see a gap."""
        ...


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a module may know of the run it is part of."""

    run_uuid: bytes
    """UUIDv7, 16 bytes; the same as the collection's id."""
    bench_name: str
    bench_dir: Path
    """Folder of the bench file; relative paths in settings start here."""
    work_dir: Path
    """A folder of this run's own for sockets and such; gone when the run ends."""
    recording_dir: Path | None
    """The collection's folder; None when the run is not recorded."""
    debug: bool = False
    time_created: datetime | None = None
    """What files are to give as the time of their making; None is now. A replay's is that of
    its recording, so that two replays write the same."""


SettingsT = TypeVar("SettingsT", bound=ModuleSettings)
SettingsT_co = TypeVar("SettingsT_co", bound=ModuleSettings, covariant=True)


class ModuleContext(Protocol[SettingsT_co]):
    """A module's whole world; made by the worker."""

    @property
    def name(self) -> str:
        """The module's name in the bench."""
        ...

    @property
    def type_id(self) -> str:
        """The module's type."""
        ...

    @property
    def settings(self) -> SettingsT_co:
        """The module's settings, checked."""
        ...

    @property
    def inputs(self) -> Mapping[str, InputPort]:
        """Inputs by id."""
        ...

    @property
    def outputs(self) -> Mapping[str, OutputPort]:
        """Outputs by id."""
        ...

    @property
    def clock(self) -> Clock:
        """The master timer."""
        ...

    @property
    def log(self) -> logging.Logger:
        """The module's log; shown and recorded."""
        ...

    @property
    def run_info(self) -> RunInfo:
        """The run that the module is part of."""
        ...

    @property
    def device(self) -> DeviceEndpoint | None:
        """The device that the bench gives the module."""
        ...

    @property
    def running(self) -> bool:
        """True from `start()` until a stop was asked."""
        ...

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:
        """Make a dataset of the recording (name made free if taken); None when not recorded."""
        ...

    def fail(self, error: BaseException | str) -> None:
        """Report a failure, from any thread: the run ends and names this module."""
        ...

    def request_stop(self, reason: str) -> None:
        """Ask for the run's end as a success, from any thread."""
        ...

    def set_status(self, text: str) -> None:
        """Show a short status text for this module while the run lasts."""
        ...

    def report(self, key: str, value: float | str) -> None:
        """Give a figure to the run's summary and to the recording."""
        ...

    def serve(self, timeout_usec: int = -1) -> None:
        """Wait for items or control messages, and dispatch them.

        Negative: until a stop was asked. Else: at most one wait of that long.
        """
        ...

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call once from `serve`, `delay_usec` µs from now."""
        ...


class Module(Generic[SettingsT]):
    """Base of all modules; override what is needed (the life is in this file's docstring)."""

    ahead: ClassVar[bool] = False
    """Whether `run()` goes ahead of the threads that the module makes: it runs a user's code."""

    def __init__(self, context: ModuleContext[SettingsT]) -> None:
        self.context = context
        self.settings = context.settings
        self.log = context.log

    def prepare(self) -> None:
        """Do slow work and set output metadata."""

    def start(self) -> None:
        """Begin; master time runs."""

    def run(self) -> None:
        """Serve inputs until a stop is asked."""
        self.context.serve()

    def halt(self) -> None:
        """Stop acquiring; called when a stop was asked, before inputs are drained."""

    def stop(self) -> None:
        """Finish; inputs are drained, sending is still allowed."""

    def drained(self) -> None:
        """Called once more when feedback inputs are drained too, after `stop()`."""

    def close(self) -> None:
        """Give everything back; always called, also when `prepare()` failed."""

    def explain(self, error: BaseException, phase: str) -> BaseException:  # noqa: ARG002
        """Return what to report for an error of this module; scripts speak of their own lines."""
        return error
