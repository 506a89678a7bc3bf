"""What a module has from the runtime: its settings, its ports, and its context.

The worker implements them; `mlink.testing` does for tests. A driver waits by
`ModuleContext.waiting`, which makes its calls in a thread in real time, and in turns in virtual
time. A module that needs a thread of its own (a capture loop) starts it in `start()` and ends it in
`halt()`. Those calls and that thread may use `OutputPort.submit`, `OutputPort.loan_frame`,
`OutputPort.note_lost`, `ModuleContext.fail`, `ModuleContext.request_stop`, the clock and the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from numpy.typing import DTypeLike, NDArray

from mlink.clock import Clock
from mlink.devices import DeviceEndpoint
from mlink.metadata import Metadata, Settable
from mlink.types import ControlCommand, DataType, StreamItem
from mlink.waiting import Waiting

if TYPE_CHECKING:
    from mlink.storage.edl import Dataset


class ModuleSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of a module's settings: the keys of its table in the bench file.

    Subclasses declare typed fields with defaults; a field without one is required.
    """

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Return the problems that can be found before a run, each as "key: what".

        Args:
            bench_dir: Folder of the bench file; relative paths start here.
        """
        return []

    def names_device(self) -> bool:
        """Return whether the settings name a device, as Syntalos benches do by these keys."""
        return any(getattr(self, key, None) not in (None, "") for key in ("serial_port", "camera"))


class FrameLoan(Protocol):
    """Memory for a frame, to be written once and then sent or discarded.

    Attributes:
        array: The pixels to write; undefined at first, not to be used after `send`.
    """

    array: NDArray[Any]

    def send(self, *, index: int, time_usec: int) -> None:
        """Publish the frame; the loan cannot be used again.

        Args:
            index: Number of the frame, from 0.
            time_usec: Master time of the frame, in µs.
        """

    def discard(self) -> None:
        """Free the memory without sending."""


class InputPort(Protocol):
    """One input of a module. Handlers are called in the main thread, while the module serves."""

    @property
    def id(self) -> str:
        """The port's id."""

    @property
    def data_type(self) -> DataType:
        """The type of its items."""

    @property
    def connected(self) -> bool:
        """Whether the bench connects it to a stream."""

    @property
    def sent_ns(self) -> int:
        """When the command or row that is handled was sent, in ns of CLOCK_MONOTONIC.

        0 where it is not known, and for other items.
        """

    def set_throttle(self, items_per_sec: float) -> None:
        """Deliver at most this many items per second and skip the others; 0 delivers all."""

    @property
    def metadata(self) -> Metadata:
        """Metadata of the stream; complete when `start()` of this module is called.

        Metadata of commands to a device that their source sets in its `start()` come later.
        """

    @property
    def taken(self) -> int:
        """Items of the stream that were received or are known to be lost.

        While an item is handled, its number in the stream is one less.
        """

    @property
    def doubtful(self) -> bool:
        """Whether items may be lost that neither a later one nor the end has shown yet."""

    on_item: Callable[[Any], object] | None
    """Called with each item; an exception in it fails the module."""
    on_gap: Callable[[int], None] | None
    """Called with the number of lost items, before the first item after the gap."""


class OutputPort(Protocol):
    """One output of a module. Its methods may be called in any thread."""

    @property
    def id(self) -> str:
        """The port's id."""

    @property
    def data_type(self) -> DataType:
        """The type of its items."""

    @property
    def connected(self) -> bool:
        """Whether there are subscribers; without them items are checked and counted only."""

    @property
    def frozen(self) -> bool:
        """Whether `start()` has returned, after which metadata must not change."""

    @property
    def metadata(self) -> Metadata:
        """Metadata of the stream, to be set in `prepare()` (2.x scripts set it in `start()`)."""

    def submit(self, item: StreamItem) -> None:
        """Send one item. Never waits: a subscriber with a full queue loses it.

        Raises:
            StreamError: The item is not of the port's type, or the stream has ended.
        """

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = ...) -> FrameLoan:
        """Loan shared memory for a frame, which saves a copy of its pixels.

        Args:
            shape: H×W or H×W×C.
            dtype: Type of a pixel's elements; uint8 by default.

        Raises:
            StreamError: Such a frame cannot be sent, or memory is used up.
        """

    def note_lost(self, count: int) -> None:
        """Report that the source lost items before they could be sent.

        Args:
            count: How many; subscribers and recorders see a gap of that size.
        """


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Facts about the run that a module is part of."""

    run_uuid: bytes
    """UUIDv7, 16 bytes; the same as the collection's id."""
    bench_name: str
    bench_dir: Path
    """Folder of the bench file; relative paths in settings start here."""
    work_dir: Path
    """Temporary folder of the run, for sockets; removed at its end."""
    recording_dir: Path | None
    """The collection's folder; None when the run is not recorded."""
    debug: bool = False
    time_created: datetime | None = None
    """Creation time for files; None is now. In a replay it is that of the recording, so that two
    replays write the same bytes."""
    subject: str = ""
    """Subject of the run, as `mlink run --subject` has it."""
    subject_group: str = ""
    compat: str = ""
    """Whose behaviour scripts get where mlink's own differs: "syntalos", or "" for mlink's."""


SettingsT_co = TypeVar("SettingsT_co", bound=ModuleSettings, covariant=True)


class ModuleContext(Protocol[SettingsT_co]):
    """All that a module has from the runtime; the worker implements it."""

    @property
    def name(self) -> str:
        """The module's name in the bench."""

    @property
    def type_id(self) -> str:
        """The module's type."""

    @property
    def settings(self) -> SettingsT_co:
        """The module's settings, checked."""

    @property
    def inputs(self) -> Mapping[str, InputPort]:
        """Inputs by id."""

    @property
    def outputs(self) -> Mapping[str, OutputPort]:
        """Outputs by id."""

    @property
    def clock(self) -> Clock:
        """The master timer."""

    @property
    def waiting(self) -> Waiting:
        """What a driver waits for: bytes and moments, in real and in virtual time."""

    @property
    def log(self) -> logging.Logger:
        """The module's log; it is shown and recorded."""

    @property
    def run_info(self) -> RunInfo:
        """Facts about the run."""

    @property
    def device(self) -> DeviceEndpoint | None:
        """The device that the bench assigns to the module; None without one."""

    @property
    def running(self) -> bool:
        """Whether the run lasts: True from `start()` until a stop is requested."""

    @property
    def stop_asked(self) -> bool:
        """Whether a stop was requested; unlike `running`, reading it takes no virtual time."""

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:
        """Create a dataset in the recording.

        Args:
            preferred_name: Its name; empty takes the module's. A number is appended to one in use.
            group: Group that it belongs to, created when needed; empty for none.

        Returns:
            The dataset; None when the run is not recorded.
        """

    def fail(self, error: BaseException | str) -> None:
        """Report a failure of this module, which ends the run; may be called in any thread.

        It does not raise, and returns at once.

        Args:
            error: What failed; an MlinkError brings its remedy along.
        """

    def request_stop(self, reason: str) -> None:
        """Request the end of the run as a success; may be called in any thread."""

    def set_status(self, text: str) -> None:
        """Show a short status text for this module while the run lasts."""

    def report(self, key: str, value: float | str) -> None:
        """Add a figure to the summary and the recording of the run.

        Args:
            key: Its name, ending in its unit ("latency_p50_ms").
            value: The figure.
        """

    def hint(self, text: str) -> None:
        """Add a hint to the summary: what may be wrong although nothing has failed.

        Args:
            text: What it is, and what to do; shown after the module's name, if the run succeeds.
        """

    def note_loss(self, what: str, remedy: str) -> None:
        """Report a loss that is no gap of a stream: a failure of a strict run, else a hint.

        Args:
            what: What was lost, how much and why; call once for each cause, with the total.
            remedy: What the user can do about it, as a sentence.
        """

    def offer(self, values: Sequence[Settable], take: Callable[[ControlCommand], object]) -> None:
        """Show values that a person may set, until `start()` has returned.

        Args:
            values: All of them; a later call replaces those of an earlier one.
            take: Called in the main thread with each change, a CUSTOM command "NAME=VALUE"; an
                MlinkError is the answer to who made it, and ends no run.

        Raises:
            ModuleError: `start()` has returned.
        """

    def refuse(self, why: str) -> None:
        """Answer the person who gave the command that is handled with why it is not carried out.

        It does nothing for commands of other modules.
        """

    def serve(self, timeout_usec: int = -1) -> None:
        """Wait for items and control messages, and dispatch them.

        Args:
            timeout_usec: Longest wait in µs; returns earlier when something was dispatched.
                Negative serves until a stop is requested.
        """

    def serve_for(self, duration_usec: int, step_usec: int) -> None:
        """Dispatch items and control messages for this whole time, in every phase.

        A stop does not end it, only an interrupt does. Before the start it lasts as long, and
        master time stays 0.

        Args:
            duration_usec: The time in µs; 0 and less return at once.
            step_usec: Longest single wait in µs, as `serve` is called with.
        """

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call a function once, from `serve`.

        Args:
            delay_usec: Time from now in µs.
            call: A function without arguments; an exception in it fails the module.
        """
