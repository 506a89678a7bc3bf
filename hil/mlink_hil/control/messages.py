"""The control socket of a virtual board: requests, replies and events.

A Unix stream socket; each message is one line of JSON. Several clients may be connected. Requests
of one client are answered in order; events come between the replies and are told by their key
`event`. Pins are the Uno's: 0 to 13 digital, 14 to 19 are A0 to A5. Pins 0 and 1 are the serial
line and cannot be driven.

    {"cmd":"drive","pin":7,"level":true}    wire the pin to 5 V, false: to ground, null: to nothing
        → {"ok":true,"pin":7,"level":true,"changed":true,"cycle":…,"time_ns":…}
    {"cmd":"analog","pin":0,"volts":2.5}    put a voltage on A0 to A5 (0 to 5), null: nothing
        → as for drive
    {"cmd":"read","pin":13}
        → {"ok":true,"pin":13,"level":false,"output":true,"driven":false,"cycle":…,"time_ns":…}
    {"cmd":"watch","pins":[8,13]}           from now on, send this client the edges of these pins
        → {"ok":true,"pins":[8,13]}
        {"event":"edge","pin":8,"level":true,"cycle":…,"time_ns":…}
    {"cmd":"reset"}                         push the reset button
    {"cmd":"unplug"}                        pull the cable: the serial port and the power vanish
    {"cmd":"plug"}                          put it back: power on, a new port at the same link
    {"cmd":"noise","drop":0.01,"corrupt":0,"to_board":true,"from_board":true,"seed":1}
                                            lose or change bytes of the serial line by chance
    {"cmd":"skew","ppm":200}                let the board's clock run fast by that much
    {"cmd":"brownout","on":true}            let its supply sag: held in reset until "on":false
    {"cmd":"stick","pin":7,"level":true}    short a pin, whatever is wired to it; null frees it
    {"cmd":"stats"}                         → {"ok":true,"cycle":…, …}: see StatsReply
    {"cmd":"quit"}                          end the program

A request that cannot be carried out is answered by {"ok":false,"error":"…"}; the program goes on.

`level` in a reply is what the pin reads. `cycle` counts the board's clock, `time_ns` is the same
moment on CLOCK_MONOTONIC. A request takes effect at the cycle that its arrival corresponds to.
A pin wired from outside shows what it is wired to, also when the board drives it as an output: a
button to ground wins against the pin, and nothing burns.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class _Request(
    msgspec.Struct, tag_field="cmd", tag=str.lower, forbid_unknown_fields=True, frozen=True
):
    """Base of all requests."""


class Drive(_Request, frozen=True):
    """Wire a pin to a level, or release it."""

    pin: int
    level: bool | None


class Analog(_Request, frozen=True):
    """Put a voltage on an analog input (0 is A0), or release it."""

    pin: int
    volts: float | None


class Read(_Request, frozen=True):
    """Ask for a pin's state."""

    pin: int


class Watch(_Request, frozen=True):
    """Ask for the edges of pins; replaces the client's earlier list."""

    pins: list[int]


class Reset(_Request, frozen=True):
    """Push the reset button."""


class Unplug(_Request, frozen=True):
    """Pull the cable."""


class Plug(_Request, frozen=True):
    """Put the cable back."""


class Stats(_Request, frozen=True):
    """Ask how the simulation does."""


class Noise(_Request, frozen=True):
    """Lose or change bytes of the serial line, each with a probability; zeros end it."""

    drop: float = 0.0
    corrupt: float = 0.0
    """Share of the bytes of which one bit is turned over."""
    to_board: bool = True
    from_board: bool = True
    seed: int = 1


class Skew(_Request, frozen=True):
    """Let the board's clock run fast (or slow) by parts per million; 0 ends it."""

    ppm: float


class Brownout(_Request, frozen=True):
    """Let the supply sag: the processor is held in reset, the port stays; then it boots."""

    on: bool


class Stick(_Request, frozen=True):
    """Hold a pin at a level, whatever it is wired to; None frees it."""

    pin: int
    level: bool | None


class Quit(_Request, frozen=True):
    """End the program."""


Request: TypeAlias = (
    Drive
    | Analog
    | Read
    | Watch
    | Reset
    | Unplug
    | Plug
    | Noise
    | Skew
    | Brownout
    | Stick
    | Stats
    | Quit
)


class Reply(msgspec.Struct, kw_only=True):
    """Base of all replies; by itself the answer to a request without a result."""

    ok: bool = True


class ErrorReply(Reply, kw_only=True):
    """A request that was not carried out, and why."""

    ok: bool = False
    error: str


class PinReply(Reply, kw_only=True):
    """What a pin was changed to, and when."""

    pin: int
    level: bool
    changed: bool
    cycle: int
    time_ns: int


class ReadReply(Reply, kw_only=True):
    """A pin's state: its level, whether the board drives it, whether it is wired from outside."""

    pin: int
    level: bool
    output: bool
    driven: bool
    cycle: int
    time_ns: int


class WatchReply(Reply, kw_only=True):
    """The pins that are watched."""

    pins: list[int]


class StatsReply(Reply, kw_only=True):
    """How the simulation did since its start."""

    simulator: str
    firmware: str
    frequency_hz: int
    cycle: int
    """Cycles of the board's clock so far, the boot among them."""
    time_ns: int
    """The same moment on CLOCK_MONOTONIC."""
    slices: int
    """How often the simulation was brought up to the present."""
    late_slices: int
    """Slices that began more than one slice length after they were due."""
    late_percent: float
    slip_usec: float
    """µs that the simulation gave up because it was too far behind."""
    uart_bytes_in: int
    uart_bytes_out: int
    overruns: int
    """Bytes lost: not fetched by the firmware in time, or by the program at the port."""
    bytes_dropped: int
    """Bytes that a fault asked for has lost (Noise)."""
    bytes_corrupted: int
    cpu_sec: float
    """CPU time that the program used."""
    scheduling: str
    """What scheduling the system granted."""


class Edge(msgspec.Struct, frozen=True, tag_field="event", tag="edge"):
    """A watched pin changed its level."""

    pin: int
    level: bool
    cycle: int
    time_ns: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The line that a program prints when the port and the socket are there."""

    ready: bool = True
    tty: str
    control: str
    simulator: str
    firmware: str
    scheduling: str
    others: list[Ready] = []
    """The other boards of a program that simulates several; chips without a port among them."""


_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def decode_request(line: bytes) -> Request:
    """Decode one request; msgspec.DecodeError (or its ValidationError) when it is none."""
    return _requests.decode(line)


def encode(message: Any) -> bytes:
    """Encode one message as a line."""
    return _encoder.encode(message) + b"\n"
