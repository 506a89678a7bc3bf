"""The control socket of a simulated board: requests, replies and events.

A Unix stream socket; each message is one line of JSON. Several clients may be connected. Requests
of one client are answered in order; events come between the replies and have the key `event`. Pins
are numbered as on an Uno: 0 to 13 are digital, 14 to 19 are A0 to A5. Pins 0 and 1 are the serial
line and cannot be driven.

    {"cmd":"drive","pin":7,"level":true}    connect to 5 V; false: to ground, null: to nothing
        → {"ok":true,"pin":7,"level":true,"changed":true,"cycle":…,"time_ns":…}
    {"cmd":"analog","pin":0,"volts":2.5}    put 0 to 5 V on A0 to A5; null: disconnect it
        → as for drive
    {"cmd":"read","pin":13}
        → {"ok":true,"pin":13,"level":false,"output":true,"driven":false,"cycle":…,"time_ns":…}
    {"cmd":"watch","pins":[8,13]}           from now on, send this client the edges of these pins
        → {"ok":true,"pins":[8,13]}
        {"event":"edge","pin":8,"level":true,"cycle":…,"time_ns":…}
    {"cmd":"reset"}                         push the reset button
    {"cmd":"unplug"}                        pull the cable: serial port and power vanish
    {"cmd":"plug"}                          plug it in: power on, a new port at the same link
    {"cmd":"noise","drop":0.01,"corrupt":0,"to_board":true,"from_board":true,"seed":1}
                                            lose or corrupt bytes of the serial line at random
    {"cmd":"skew","ppm":200}                let the board's clock run fast by that much
    {"cmd":"brownout","on":true}            lower its supply: held in reset until "on":false
    {"cmd":"stick","pin":7,"level":true}    hold a pin at a level, whatever drives it; null ends it
    {"cmd":"halt","pins":[13]}              in virtual time: stand still at each edge of these pins
        → {"ok":true,"edges":[0,…]}         how many edges each pin has had
    {"cmd":"registers"}                     → {"ok":true,"registers":{"PC":…,"R0":…,"PORTB":…}}
    {"cmd":"memory","address":256,"length":2,"flash":false}
        → {"ok":true,"data":"…"}            in base64
    {"cmd":"line"}                          in real time: the bytes on the line since the last such
        → {"ok":true,"events":[[0,…,1],…]}  request, from the first one on: see LineReply
    {"cmd":"stats"}                         → {"ok":true,"cycle":…, …}: see StatsReply
    {"cmd":"quit"}                          end the program

A request that cannot be carried out is answered by {"ok":false,"error":"…"}.

`level` in a reply is what the pin reads. `cycle` counts the board's clock, `time_ns` is the same
moment on CLOCK_MONOTONIC. A request takes effect at the cycle that corresponds to its arrival.
A pin that is driven from outside has that level, also when the board drives it as an output: a
button to ground wins against the pin.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class _Request(
    msgspec.Struct, tag_field="cmd", tag=str.lower, forbid_unknown_fields=True, frozen=True
):
    """Base of all requests."""


class Drive(_Request, frozen=True):
    """Connect a pin to 5 V (true) or ground (false), or release it (null)."""

    pin: int
    level: bool | None


class Analog(_Request, frozen=True):
    """Put a voltage on an analog input (`pin` 0 is A0), or release it (null)."""

    pin: int
    volts: float | None


class Read(_Request, frozen=True):
    """Return a pin's state.

    The reply is a `ReadReply`.
    """

    pin: int


class Watch(_Request, frozen=True):
    """Send this client the edges of pins; replaces its earlier list.

    The reply is a `WatchReply`; each change is an `Edge` from then on.
    """

    pins: list[int]
    wake: bool = False
    """In virtual time: each of these edges gives the client's module a turn."""


class Halt(_Request, frozen=True):
    """In virtual time: let the simulation stand still at each edge of pins; replaces the last list.

    It stands right after the instruction that caused the edge, until the engine goes on. The reply
    is a `HaltReply`.
    """

    pins: list[int]


class Registers(_Request, frozen=True):
    """Return the processor's registers, without an effect on them.

    The reply is a `RegistersReply`.
    """


class Memory(_Request, frozen=True):
    """Return a part of the processor's memory, without an effect on it.

    The reply is a `MemoryReply`.
    """

    address: int
    length: int
    flash: bool = False
    """Whether the flash is meant; else the data space (registers, I/O registers, RAM)."""


class Reset(_Request, frozen=True):
    """Push the reset button."""


class Unplug(_Request, frozen=True):
    """Pull the USB cable."""


class Plug(_Request, frozen=True):
    """Plug the USB cable in."""


class Stats(_Request, frozen=True):
    """Return the counters of the simulation.

    The reply is a `StatsReply`.
    """


class Line(_Request, frozen=True):
    """Return the bytes on the serial line since the last such request; the first one begins it.

    The reply is a `LineReply`.
    """


class Noise(_Request, frozen=True):
    """Lose or corrupt bytes of the serial line at random; two zeros end it."""

    drop: float = 0.0
    """Probability that a byte is lost, 0 to 1."""
    corrupt: float = 0.0
    """Probability that one bit of a byte is inverted, 0 to 1."""
    to_board: bool = True
    from_board: bool = True
    seed: int = 1


class Skew(_Request, frozen=True):
    """Let the board's clock run fast (negative: slow) by parts per million; 0 ends it."""

    ppm: float


class Brownout(_Request, frozen=True):
    """Hold the processor in reset by a low supply while its port stays; then let it boot."""

    on: bool


class Stick(_Request, frozen=True):
    """Hold a pin at a level, whatever drives it; None ends that."""

    pin: int
    level: bool | None


class Quit(_Request, frozen=True):
    """End the program."""


Request: TypeAlias = (
    Drive
    | Analog
    | Read
    | Watch
    | Halt
    | Registers
    | Memory
    | Reset
    | Unplug
    | Plug
    | Noise
    | Skew
    | Brownout
    | Stick
    | Stats
    | Line
    | Quit
)


class Reply(msgspec.Struct, kw_only=True):
    """Base of all replies, and the reply to a request that has no result."""

    ok: bool = True


class ErrorReply(Reply, kw_only=True):
    """The reply to a request that was not carried out, with the reason."""

    ok: bool = False
    error: str


class PinReply(Reply, kw_only=True):
    """The level of a pin after a change, and when that was.

    `cycle` is a cycle of the board's clock, `time_ns` the same moment on CLOCK_MONOTONIC.
    """

    pin: int
    level: bool
    changed: bool
    cycle: int
    time_ns: int


class ReadReply(Reply, kw_only=True):
    """A pin's state.

    `cycle` is a cycle of the board's clock, `time_ns` the same moment on CLOCK_MONOTONIC.
    """

    pin: int
    level: bool
    output: bool
    """The board drives it."""
    driven: bool
    """Whether it is driven from outside."""
    cycle: int
    time_ns: int


class WatchReply(Reply, kw_only=True):
    """The pins that are watched now."""

    pins: list[int]


class HaltReply(Reply, kw_only=True):
    """The number of edges that each pin has had so far, by its number."""

    edges: list[int]


class RegistersReply(Reply, kw_only=True):
    """Registers by name: PC (in bytes), SP, SREG, R0 to R31, and those of the data sheet."""

    registers: dict[str, int]


class MemoryReply(Reply, kw_only=True):
    """A part of the memory."""

    data: bytes


class LineReply(Reply, kw_only=True):
    """What was on the serial line, in order, as (kind, ns of CLOCK_MONOTONIC, bytes)."""

    events: list[tuple[int, int, int]]
    """Kinds: `LEFT`, at the end of a byte's stop bit; `WRITTEN` to the port; `READ` from it,
    when they begin to arrive at the board."""
    missing: int
    """Events that were not kept."""


LEFT, WRITTEN, READ = range(3)


class StatsReply(Reply, kw_only=True):
    """Counters of the simulation since its start."""

    simulator: str
    firmware: str
    frequency_hz: int
    cycle: int
    """Cycles of the board's clock since its start, including its boot."""
    time_ns: int
    """The same moment on CLOCK_MONOTONIC."""
    slices: int
    """Number of times that the simulation was advanced to the present."""
    late_slices: int
    """Slices that began more than one slice length after they were due."""
    late_percent: float
    slip_usec: float
    """µs that the simulation skipped because it was too far behind."""
    uart_bytes_in: int
    uart_bytes_out: int
    overruns: int
    """Bytes lost because the firmware, or the program at the port, read too late."""
    bytes_dropped: int
    """Bytes lost by the fault `Noise`."""
    bytes_corrupted: int
    cpu_sec: float
    """CPU time that the program used."""
    edges: list[int] = []
    """Number of edges of each pin."""
    scheduling: str
    """The scheduling that the system granted."""


class Edge(msgspec.Struct, frozen=True, tag_field="event", tag="edge"):
    """A watched pin changed its level; `level` is the new one.

    `cycle` is a cycle of the board's clock, `time_ns` the same moment on CLOCK_MONOTONIC.
    """

    pin: int
    level: bool
    cycle: int
    time_ns: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The line that a program prints once its ports and sockets exist.

    `tty` is the path of the serial port, `control` that of the control socket.
    """

    ready: bool = True
    tty: str
    control: str
    simulator: str
    firmware: str
    scheduling: str
    others: list[Ready] = []
    """The other boards of a program that simulates several, and its chips, which have no port."""


_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def decode_request(line: bytes) -> Request:
    """Return a decoded request; msgspec.DecodeError when the line is not a request."""
    return _requests.decode(line)


def encode(message: Any) -> bytes:
    """Return a message as a line of JSON."""
    return _encoder.encode(message) + b"\n"
