"""Messages between engine and worker.

A channel (`mlink.channel`) carries each as one packet: texts are truncated so that they fit.
"""

from __future__ import annotations

import msgspec

from mlink.transport.plan import StreamPlan

TEXT_LIMIT = 16_000
"""Longest text in a message, in characters (a packet holds about 200 kB)."""

NO_TIME = -1
"""In `Waits`: the module waits for items only, not for a time."""


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
