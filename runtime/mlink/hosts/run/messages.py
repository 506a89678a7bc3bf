"""What controller and agents say to each other about a run, and an agent to the process of its run.

The controller asks, some ten times a second, for what is new (`Look`): so nothing is lost when a
connection was, and each end knows how long ago it heard of the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from mlink.engine.status import Failure, RunResult, RunStatus
from mlink.hosts.link.calls import Message
from mlink.hosts.run.split import Part

MOST_SCRIPT_BYTES = 1 << 20
MOST_CHUNK_BYTES = 2 << 20
"""Bytes of a file in one answer."""
MOST_FILES = 1000
"""Files in one answer."""

RunId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Text = Annotated[str, msgspec.Meta(max_length=20_000)]
Name = Annotated[str, msgspec.Meta(max_length=1000)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Script = Annotated[bytes, msgspec.Meta(max_length=MOST_SCRIPT_BYTES)]


class HostOptions(msgspec.Struct, frozen=True):
    """Options of a run that its hosts have in common."""

    name: Name
    """Name of the recording."""
    record: bool = True
    subject: Name = ""
    subject_group: Name = ""
    experimenter: Name = ""
    comment: Text = ""
    on_loss: str = "continue"
    island_s: float = 60.0
    load_timeout_s: float = 60.0
    prepare_timeout_s: float = 120.0
    start_timeout_s: float = 30.0
    stop_grace_s: float = 5.0
    debug: bool = False


# what the controller asks an agent for ------------------------------------------------------


class Check(Message, frozen=True):
    """Whether the host could run this part; nothing is started."""

    part: Part
    scripts: dict[Name, Script] = {}


class Checked(Message, frozen=True):
    """Answer to `Check`; a part that cannot run is refused instead."""

    free_bytes: Count
    """On the disk of its recordings."""
    devices: list[Name] = []
    """Devices of the part that are not there, each with what to do."""


class Prepare(Message, frozen=True):
    """Begin a run: load and prepare its modules."""

    run: RunId
    owner: Name
    """Who leads it, for people."""
    part: Part
    options: HostOptions
    scripts: dict[Name, Script] = {}
    """Module → its script."""
    clock_key: Annotated[bytes, msgspec.Meta(max_length=64)] = b""


class Prepares(Message, frozen=True):
    """Answer to `Prepare`."""

    clock_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Look(Message, frozen=True):
    """What is new since event number `since`."""

    run: RunId
    since: Count


class Go(Message, frozen=True):
    """Start at this reading of the controller's CLOCK_MONOTONIC."""

    run: RunId
    t0_ns: Count


class Halt(Message, frozen=True):
    """Stop in order; with `abort` without waiting for modules."""

    run: RunId
    success: bool = True
    abort: bool = False


class Done(Message, frozen=True):
    """Answer to what needs none."""


# what happens in a run ----------------------------------------------------------------------


class Logged(msgspec.Struct, tag=True, frozen=True):
    """A line of a log."""

    module: Name
    level: int
    text: Text


class Printed(msgspec.Struct, tag=True, frozen=True):
    """A line that a script printed."""

    module: Name
    text: Text


class Failed(msgspec.Struct, tag=True, frozen=True):
    """A failure, which ends the run."""

    failure: Failure


Event = Logged | Printed | Failed


class Seen(Message, frozen=True):
    """Answer to `Look`."""

    events: Annotated[list[Event], msgspec.Meta(max_length=500)]
    next: Count
    """Number of the event after these."""
    left_out: Count = 0
    """Events that were not kept, as there were too many."""
    status: RunStatus | None = None
    is_prepared: bool = False
    """Whether all modules have prepared, and wait for the start."""
    ends: Name | None = None
    """Why the run ends there; None while it does not."""
    result: RunResult | None = None
    """After its end."""
    clock: dict[Name, float | str] = {}


# recordings ---------------------------------------------------------------------------------


class Files(Message, frozen=True):
    """The files of the host's part of a recording, from number `first` on."""

    run: RunId
    first: Count = 0


class File(msgspec.Struct, frozen=True):
    """A file; its path is below the recording's folder."""

    path: Name
    size: Count


class Listed(Message, frozen=True):
    """Answer to `Files`."""

    files: Annotated[list[File], msgspec.Meta(max_length=MOST_FILES)]
    total: Count
    """Number of all files."""


class Fetch(Message, frozen=True):
    """Bytes of a file."""

    run: RunId
    path: Name
    offset: Count


class Chunk(Message, frozen=True):
    """Answer to `Fetch`; empty at the end of the file."""

    data: Annotated[bytes, msgspec.Meta(max_length=MOST_CHUNK_BYTES)]


class Digest(Message, frozen=True):
    """The SHA-256 of a file; asked for again until it is known."""

    run: RunId
    path: Name


class Digested(Message, frozen=True):
    """Answer to `Digest`."""

    sha256: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Hexadecimal; "" while it is computed."""


# between an agent and the process of its run ------------------------------------------------


class Begin(msgspec.Struct, tag=True, frozen=True):
    """What the process runs."""

    run: RunId
    part: Part
    options: HostOptions
    folder: Name
    """The run's own folder, with its scripts."""
    endpoint: Name
    """Where bridges connect to."""
    clock_fd: int = -1


class Start(msgspec.Struct, tag=True, frozen=True):
    """Start at this reading of this host's CLOCK_MONOTONIC."""

    t0_ns: int
    figures: dict[str, float | str] = {}


class Stop(msgspec.Struct, tag=True, frozen=True):
    """End the run."""

    reason: str
    abort: bool = False


class Ready(msgspec.Struct, tag=True, frozen=True):
    """All modules have prepared."""


class Now(msgspec.Struct, tag=True, frozen=True):
    """The state of the run."""

    status: RunStatus


class Ends(msgspec.Struct, tag=True, frozen=True):
    """The run ends, for this reason, and not because it was asked to."""

    reason: str


class Over(msgspec.Struct, tag=True, frozen=True):
    """The result."""

    result: RunResult


ToChild = Begin | Start | Stop
FromChild = Ready | Now | Ends | Over | Logged | Printed | Failed


def packed(message: Any) -> bytes:
    """Return a message of the process of a run."""
    return msgspec.msgpack.encode(message, enc_hook=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is in a message")


def _from_text(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"a message holds a {kind.__name__}")


to_child: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToChild, dec_hook=_from_text)
from_child: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromChild, dec_hook=_from_text)
