"""Messages between engine and worker.

A channel (`mlink.channel`) carries each as one packet: texts are truncated so that they fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import msgspec

from mlink.devices import DeviceEndpoint
from mlink.module import PortSpec
from mlink.transport.plan import StreamPlan

TEXT_LIMIT = 16_000
"""Longest text in a message, in characters (a packet holds about 200 kB)."""

MAX_DESCRIPTORS = 253
"""Most descriptors that a worker is passed; the kernel's limit is 253 (SCM_MAX_FD)."""

NO_TIME = -1
"""In `Waits`: the module waits for items only, not for a time."""


HANDLER_TIMES = "handler_times"
"""Attribute of recordings: module → input → the times that its handler took, as a `Cost`."""


class InputPlan(msgspec.Struct, frozen=True):
    """What a worker needs to open a subscription: its source, metadata, layout and queue."""

    source: str
    """ "module.port" """
    metadata: bytes
    stream: StreamPlan | None = None
    """None for small items."""
    feedback: bool = False
    queue: int = 0
    """Small items: how many may wait, which the sender counts in the pipe; 0: a number of bytes."""
    lossless: bool = False
    """Whether a lost item ends the run (commands)."""


class Cost(msgspec.Struct, frozen=True):
    """Times that a module takes for an item, each with how often it took it."""

    usec: list[Annotated[int, msgspec.Meta(ge=0)]]
    count: list[Annotated[int, msgspec.Meta(ge=1)]]

    def __post_init__(self) -> None:
        if not self.usec or len(self.usec) != len(self.count):
            raise ValueError("a cost has as many counts as times, and at least one")

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Self:
        """Return the cost of counted times: µs → how often."""
        return cls(sorted(counts), [counts[usec] for usec in sorted(counts)])


class WorkerSpec(msgspec.Struct, frozen=True):
    """Everything that a worker needs to build its module; passed once, when it is forked."""

    name: str
    type_id: str
    implementation: str
    """ "package.module:Class" """
    settings_type: str
    """ "package.module:Class" of the settings struct."""
    inputs: tuple[PortSpec, ...]
    outputs: tuple[PortSpec, ...]
    bench_name: str
    bench_dir: str
    work_dir: str
    recording_dir: str | None
    run_uuid: bytes
    settings: bytes
    """msgpack of the settings struct."""
    device: DeviceEndpoint | None = None
    pipes_out: dict[str, list[int]] = {}
    """Output port of small items → positions, in the list of passed descriptors, of the pipe and
    the store of each subscription.

    Positions count in the list of passed descriptors: 0 is the control channel, 1 the module's
    own doorbell.
    """
    queues_out: dict[str, list[int]] = {}
    """Output port of small items → items that each subscription may queue; 0: bytes alone."""
    losing_out: dict[str, list[bool]] = {}
    """In virtual time: output port → whether each subscription loses items while its queue is full.
    """
    pipes_in: dict[str, tuple[int, int]] = {}
    """Input port of small items → positions of its pipe and its store."""
    arrays_out: dict[str, list[int]] = {}
    """Output port of frames or signal blocks → positions of its memory, and then for each
    subscription of the pipe of records and of the pipe of returned slots."""
    arrays_in: dict[str, tuple[int, int, int]] = {}
    """Input port of frames or signal blocks → positions of memory, records, returned slots."""
    program: tuple[str, ...] = ()
    """Command line of a standalone module: a program that calls `init_link()` itself."""
    nice: int = 0
    """Nice value to request: modules of the loop come before recorders and views."""
    debug: bool = False
    sources: dict[str, str] = {}
    """Input port → the stream that it subscribes to ("module.port")."""
    journal: bool = False
    """Record what the module receives and sends (mlink.recording.journal)."""
    tape: str = ""
    """In a replay: path of the journal whose events the module receives again; "" for none."""
    quiet_outputs: tuple[str, ...] = ()
    """In virtual time: outputs whose items wake no module."""
    tape_ports: tuple[str, ...] = ()
    """In a replay: inputs of replayed sources; their items come from the tape, if there is one."""
    virtual_time: bool = False
    """Whether the module runs in virtual time, in turns."""
    time_created: str = ""
    """Creation time that files are given (ISO 8601); "" is now."""
    costs: dict[str, Cost] = {}
    """In virtual time: input → time that the module takes for an item before it handles it."""
    seed: int = 0
    """In virtual time: seed of what the run draws."""
    dataset_attributes: dict[str, str] = {}
    """Attributes of each dataset that the module makes."""
    subject: str = ""
    subject_group: str = ""
    compat: str = ""
    """Whose behaviour scripts get where mlink's own differs: "syntalos", or "" for mlink's."""
    time_handlers: bool = False
    """Whether to take the times of the module's handlers."""
    stages_dir: str = ""
    """Where to write the moments at which items pass (worker/stages.py); "" for no such notes."""
    warn_nondeterminism: bool = False
    """Whether to warn of lines of a script that make two runs in virtual time differ."""


class EngineMessage(msgspec.Struct, tag=True, frozen=True):
    """Base class of the engine's messages.

    A worker handles them in its main thread, between two items.
    """


class Prepare(EngineMessage, frozen=True):
    """Open these inputs, then run the module's prepare().

    Sent when all sources have prepared; feedback inputs are not included. The worker answers with
    Prepared or Failed.
    """

    inputs: dict[str, InputPlan]


class OpenOutputs(EngineMessage, frozen=True):
    """Open all outputs; `outputs` has the layouts of connected ones in shared memory.

    Sent after Prepared, because the layout depends on the metadata. The worker answers with
    Acknowledged.
    """

    outputs: dict[str, StreamPlan]


class ConnectInput(EngineMessage, frozen=True):
    """Open a feedback input, whose source has prepared after this module.

    Sent when all modules have prepared. The worker answers with Acknowledged.
    """

    port: str
    plan: InputPlan


class UpdateMetadata(EngineMessage, frozen=True):
    """The source of an input has changed its metadata in start().

    Sent before the Start of this module, except for a feedback input and for commands to a device.
    """

    port: str
    metadata: bytes


class Start(EngineMessage, frozen=True):
    """Start the module; zero of master time is this CLOCK_MONOTONIC reading in ns.

    All workers get the same reading, so that their master times agree. Sent when all sources have
    started, and the devices that the module commands; the worker answers with Started or Failed.
    """

    t0_monotonic_ns: int


class Turn(EngineMessage, frozen=True):
    """Give the turn to this module, at this master time (virtual time only).

    The module runs until it waits; then the worker answers with Waits.
    """

    time_usec: int
    free_until_usec: int = 0
    """Time before which no other module has a turn: until then no new turn is needed."""
    enters: bool = False
    """Whether a message follows by which the module prepares or starts."""


class Stop(EngineMessage, frozen=True):
    """Stop acquiring, drain, finish; `failed` if the run has failed.

    The worker answers with OutputsEnded when its inputs are drained, then with Finished.
    """

    failed: bool = False
    at_usec: int = 0
    """Virtual time at which the run ends; no meaning in real time."""


class StreamEnded(EngineMessage, frozen=True):
    """The source of this input has ended its stream after `sent` items; -1 if unknown.

    It is sent after the last item is in the pipe or queue: the subscriber drains up to this count
    and knows how many items are missing. The count is unknown when the source has died.
    """

    port: str
    sent: int


class Close(EngineMessage, frozen=True):
    """All modules have drained, or the engine waits no longer: close files and exit.

    A worker that still drains leaves the rest in its queues. The worker answers with Closed; its
    exit code is 0 if the module has not failed.
    """


class WorkerMessage(msgspec.Struct, tag=True, frozen=True):
    """Base class of a worker's messages.

    They may be sent from any thread of the worker.
    """


class Loaded(WorkerMessage, frozen=True):
    """The module is imported and built; `nice` is the nice value of its process.

    A worker sends it first, without being asked.
    """

    nice: int = 0


class Prepared(WorkerMessage, frozen=True):
    """prepare() has returned; packed metadata of every output."""

    metadata: dict[str, bytes]


class Acknowledged(WorkerMessage, frozen=True):
    """OpenOutputs or ConnectInput is done."""


class Started(WorkerMessage, frozen=True):
    """start() has returned; packed metadata of every output, now final."""

    metadata: dict[str, bytes]


class InputCount(msgspec.Struct, frozen=True, array_like=True):
    """Counts of one subscription.

    `lost` are items that were sent and will not arrive: the queue was full, or the source has lost
    them.
    """

    received: int
    lost: int
    first_item_ns: int = 0
    """CLOCK_MONOTONIC in ns at the first item; 0 before it."""


class Waits(WorkerMessage, frozen=True):
    """The module gives its turn back (virtual time only).

    It has nothing to do until `until_usec`, or until an item arrives.
    """

    until_usec: int
    """Time of its next turn in µs if no item arrives before; NO_TIME for no such time."""
    sent: dict[str, int]
    """Number of items sent so far, by output."""
    stopping: bool = False
    """Whether it has been sent Stop."""


class Status(WorkerMessage, frozen=True):
    """Counts of a worker's streams, about four times a second.

    `text` is the module's status text.
    """

    sent: dict[str, int]
    received: dict[str, InputCount]
    text: str = ""
    lost: dict[str, list[int]] = {}
    """Items that did not get into each subscription, by output, in the order of the bench."""
    skipped: dict[str, int] = {}
    """Items that the source lost before it could send them, by output; without zeros."""
    slowest_item_s: float = 0.0
    """Longest time that the module has taken for one item; the engine gives it time to match."""


class OutputsEnded(WorkerMessage, frozen=True):
    """stop() has returned; the outputs are complete with these counts.

    The engine passes the counts to the subscribers as StreamEnded. Feedback inputs may still
    deliver items.
    """

    sent: dict[str, int]
    lost: dict[str, list[int]] = {}
    """Items that did not get into each subscription, by output, in the order of the bench."""
    skipped: dict[str, int] = {}
    """Items that the source lost before it could send them, by output; without zeros."""


class Finished(WorkerMessage, frozen=True):
    """Feedback inputs are drained too; the counts are final."""

    sent: dict[str, int]
    received: dict[str, InputCount]
    lost: dict[str, list[int]] = {}
    """Items that did not get into each subscription, by output, in the order of the bench."""
    skipped: dict[str, int] = {}
    """Items that the source lost before it could send them, by output; without zeros."""
    handled: dict[str, dict[int, int]] = {}
    """Input → time in µs that its handler took → how often, rounded down to 3 %."""


class Closed(WorkerMessage, frozen=True):
    """Files are closed; the worker exits."""


class Failed(WorkerMessage, frozen=True):
    """The module has failed; its worker still ends its streams and closes its files.

    Only the first failure of a module is sent. `detail` is a traceback, with --debug only.
    """

    phase: str
    message: str
    remedy: str = ""
    detail: str = ""


class StopRequest(WorkerMessage, frozen=True):
    """The module requests the end of the run, as a success."""

    reason: str


class Log(WorkerMessage, frozen=True):
    """A log record."""

    level: int
    text: str


class Output(WorkerMessage, frozen=True):
    """A line that a script printed."""

    text: str


class Report(WorkerMessage, frozen=True):
    """A figure for the run's summary."""

    key: str
    value: float | str


class Hint(WorkerMessage, frozen=True):
    """What may be wrong with a module that has not failed; for the run's summary."""

    text: str


class Rests(WorkerMessage, frozen=True):
    """The module waits knowingly after the stop: its script's wait lasts its whole time."""

    left_s: float


class Loss(WorkerMessage, frozen=True):
    """What a module has lost that is no item of a stream; a failure where the run is strict."""

    what: str
    remedy: str


EngineMessages = (
    Prepare
    | OpenOutputs
    | ConnectInput
    | UpdateMetadata
    | Start
    | Turn
    | Stop
    | StreamEnded
    | Close
)
WorkerMessages = (
    Loaded
    | Prepared
    | Acknowledged
    | Started
    | Waits
    | Status
    | OutputsEnded
    | Finished
    | Closed
    | Failed
    | StopRequest
    | Log
    | Output
    | Report
    | Hint
    | Rests
    | Loss
)


def cut(text: str) -> str:
    """Truncate a text to TEXT_LIMIT characters, and escape what is not valid UTF-8 in it.

    A message must fit into one packet and be UTF-8, or it cannot be sent at all.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " … (cut)"
