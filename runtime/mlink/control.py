"""Messages between engine and worker, and the channel that carries them.

The channel is a Unix SEQPACKET socket pair: one packet, one msgpack message. Texts are cut so
that a message stays below the kernel's packet limit.
"""

from __future__ import annotations

import socket
import threading
from typing import Generic, TypeVar

import msgspec

from mlink.devices import DeviceEndpoint
from mlink.errors import ControlError
from mlink.module import PortSpec
from mlink.transport.plan import StreamPlan

TEXT_LIMIT = 16_000
"""Longest text in a message, in characters (a packet holds about 200 kB)."""

NO_TIME = -1
"""In `Waits`: no time of its own."""

_PACKET_LIMIT = 1 << 20


class InputPlan(msgspec.Struct, frozen=True):
    """One subscription: the source and its metadata; for shared memory its layout and queue."""

    source: str
    """ "module.port" """
    metadata: bytes
    stream: StreamPlan | None = None
    """None for small items, whose pipe the worker has from the start."""
    queue_items: int = 0
    feedback: bool = False
    lossless: bool = False
    """A control stream: an overflow ends the run."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """All that a worker must know to build its module; sent once, first."""

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
    shm_prefix: str
    recording_dir: str | None
    run_uuid: bytes
    settings: bytes
    """msgpack of the settings struct."""
    device: DeviceEndpoint | None = None
    doorbells: dict[str, list[int]] = {}
    """Output port → positions, in the list of passed descriptors, of its subscribers' doorbells.

    Position 0 is the control channel, 1 the module's own doorbell.
    """
    pipes_out: dict[str, list[int]] = {}
    """Output port of small items → positions of its subscribers' pipes."""
    pipes_in: dict[str, int] = {}
    """Input port of small items → position of its pipe."""
    program: tuple[str, ...] = ()
    """Command line of a standalone module: a program that calls `init_link()` itself."""
    nice: int = 0
    """Nice value to ask for: the loop's own modules come before recorders and views."""
    debug: bool = False
    sources: dict[str, str] = {}
    """Input port → the stream that it subscribes to ("module.port")."""
    journal: bool = False
    """Write down what the module meets and sends (mlink.recording.journal)."""
    tape: str = ""
    """In a replay: the journal of the module that is to meet the same again; "" for none."""
    quiet_outputs: tuple[str, ...] = ()
    """In a replay: outputs whose items give nobody a turn."""
    tape_ports: tuple[str, ...] = ()
    """Inputs of replayed sources: their items come from the tape, if there is one."""
    virtual_time: bool = False
    """A replay: modules have turns in virtual time."""
    time_created: str = ""
    """What files are to give as the time of their making (ISO 8601); "" is now."""


class EngineMessage(msgspec.Struct, tag=True, frozen=True):
    """Base of what the engine sends."""


class Prepare(EngineMessage, frozen=True):
    """Open these inputs, then run the module's prepare()."""

    inputs: dict[str, InputPlan]


class OpenOutputs(EngineMessage, frozen=True):
    """Create the publishers; only connected outputs are named."""

    outputs: dict[str, StreamPlan]


class ConnectInput(EngineMessage, frozen=True):
    """Open a feedback input, whose source was prepared later."""

    port: str
    plan: InputPlan


class UpdateMetadata(EngineMessage, frozen=True):
    """The source of an input changed its metadata in start()."""

    port: str
    metadata: bytes


class Start(EngineMessage, frozen=True):
    """The run starts; master time zero is at this CLOCK_MONOTONIC reading."""

    t0_monotonic_ns: int


class Turn(EngineMessage, frozen=True):
    """It is this master time, and this module's turn (virtual time only)."""

    time_usec: int
    free_until_usec: int = 0
    """Nobody else has a turn before: the module may go on to earlier times without asking."""


class Stop(EngineMessage, frozen=True):
    """Stop acquiring, drain, finish."""

    failed: bool = False


class StreamEnded(EngineMessage, frozen=True):
    """The source of this input has ended its stream after `sent` items."""

    port: str
    sent: int


class Close(EngineMessage, frozen=True):
    """Everybody has drained: close files and exit."""


class WorkerMessage(msgspec.Struct, tag=True, frozen=True):
    """Base of what a worker sends."""


class Loaded(WorkerMessage, frozen=True):
    """The module's code is imported and the module is built; `nice` is what it runs at."""

    nice: int = 0


class Prepared(WorkerMessage, frozen=True):
    """prepare() has returned; metadata of every output."""

    metadata: dict[str, bytes]


class Acknowledged(WorkerMessage, frozen=True):
    """OpenOutputs or ConnectInput is done."""


class Started(WorkerMessage, frozen=True):
    """start() has returned; metadata is frozen."""

    metadata: dict[str, bytes]


class InputCount(msgspec.Struct, frozen=True, array_like=True):
    """Counts of one subscription."""

    received: int
    lost: int
    first_item_ns: int = 0
    """CLOCK_MONOTONIC at the first item; 0 while there was none."""


class Waits(WorkerMessage, frozen=True):
    """The module gives its turn back (virtual time only)."""

    until_usec: int
    """When it wants its next turn if nothing arrives before; NO_TIME if not at all."""
    sent: dict[str, int]
    """Items sent so far, by output."""


class Status(WorkerMessage, frozen=True):
    """Counts of a worker's streams, about four times a second."""

    sent: dict[str, int]
    received: dict[str, InputCount]
    text: str = ""


class OutputsEnded(WorkerMessage, frozen=True):
    """stop() has returned; the outputs are complete with these counts."""

    sent: dict[str, int]


class Finished(WorkerMessage, frozen=True):
    """Feedback inputs are drained too; final counts."""

    sent: dict[str, int]
    received: dict[str, InputCount]


class Closed(WorkerMessage, frozen=True):
    """Files are closed; the worker exits."""


class Failed(WorkerMessage, frozen=True):
    """The module failed; the worker will still end its streams and close its files."""

    phase: str
    message: str
    remedy: str = ""
    detail: str = ""


class StopRequest(WorkerMessage, frozen=True):
    """The module asks for the run's end, as a success."""

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
)

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of a control connection; `send` may be used from any thread."""

    def __init__(self, sock: socket.socket, receives: object) -> None:
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(receives)
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return self._sock.fileno()

    def send(self, message: EngineMessage | WorkerMessage) -> None:
        """Send one message; ControlError when the other side is gone."""
        with self._lock:
            try:
                self._sock.send(self._encoder.encode(message))
            except OSError as error:
                raise ControlError(
                    f"cannot send {type(message).__name__} over the control channel: {error}"
                ) from error

    def receive(self) -> Received | None:
        """Return a waiting message, None when there is none; EOFError when the peer is gone."""
        try:
            packet = self._receive_packet()
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError(str(error)) from error
        if not packet:
            raise EOFError("the other side has closed the control channel")
        try:
            return self._decoder.decode(packet)
        except msgspec.MsgspecError as error:
            raise ControlError(f"control message not understood: {error}") from error

    def _receive_packet(self) -> bytes:
        try:
            return self._sock.recv(_PACKET_LIMIT, socket.MSG_DONTWAIT)
        except ConnectionResetError:
            # the peer left without reading all we sent; its own last words come after this error
            return self._sock.recv(_PACKET_LIMIT, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


def engine_channel(sock: socket.socket) -> Channel[WorkerMessages]:
    """Return the engine's end."""
    return Channel(sock, WorkerMessages)


def worker_channel(sock: socket.socket) -> Channel[EngineMessages]:
    """Return the worker's end."""
    return Channel(sock, EngineMessages)


def cut(text: str) -> str:
    """Cut a text to what a message may hold."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " … (cut)"
