"""Messages of the view: between a run and the program, and between the program and a page.

The former never leave the machine, and both ends are of one version. The latter are JSON, with a
number in `Welcome.version` that grows when a message changes its meaning (docs/view.md).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

VERSION = 1
"""Version of the messages between the program and a page."""
FARTHEST = 1 << 53
"""Numbers beyond are not exact in a browser; as times in µs these are 285 years."""


class _Message(msgspec.Struct, tag=True, tag_field="kind", omit_defaults=True):
    """Base of all messages; `kind` is the name of the class."""


# -- what is shown -----------------------------------------------------------------------------


class ShownPort(msgspec.Struct):
    """A port of a module; an input has its `source`, "module.port" or ""."""

    id: str
    data_type: str
    source: str = ""


class ShownModule(msgspec.Struct):
    """A module of the bench."""

    name: str
    type: str
    title: str
    category: str
    device: str
    inputs: list[ShownPort]
    outputs: list[ShownPort]


class ShownTarget(msgspec.Struct):
    """An input that pages may command."""

    target: str
    """ "module.port" """
    data_type: str
    lines: list[int] = []
    """Lines that `hwline-userctl` modules of the bench name for it."""


class ShownBench(msgspec.Struct):
    """The bench that runs."""

    name: str
    path: str
    time: str
    """Kind of time, "real" or "virtual"."""
    duration_s: float | None
    modules: list[ShownModule]
    targets: list[ShownTarget] = []
    """What pages may command."""
    no_control: str = ""
    """Why pages may command nothing."""


# -- from a run --------------------------------------------------------------------------------


class Begins(_Message):
    """First message of a run: its bench."""

    bench: ShownBench


class Subscriber(msgspec.Struct):
    """Counts of a subscription, as `mlink.engine.status.SubscriptionStatus`."""

    module: str
    port: str
    received: int
    lost: int
    queued: int
    queue_limit: int
    not_taken: int = 0


class Stream(msgspec.Struct):
    """Counts of a stream, as `mlink.engine.status.StreamStatus`."""

    name: str
    data_type: str
    sent: int
    rate_hz: float
    lost_at_source: int
    subscriptions: list[Subscriber]


class Status(_Message):
    """Snapshot of a run, four times a second."""

    phase: str
    elapsed_s: float
    streams: list[Stream]
    modules: dict[str, str]
    """Module → its status text."""


class LogLine(_Message):
    """A line of a module's log, or (level 0) of what it printed; module "" is the engine."""

    module: str
    level: int
    text: str
    elapsed_s: float = 0.0


class Failed(msgspec.Struct):
    """One reason why a run failed."""

    module: str
    phase: str
    message: str
    remedy: str


class Ended(_Message):
    """Last message of a run: how it ended."""

    success: bool
    failures: list[Failed]
    stop_reason: str
    duration_s: float
    hints: list[str]
    reports: dict[str, dict[str, float | str]]
    streams: list[Stream]
    recording: str


class Gone(_Message):
    """The run's process has ended without a result; the program sends that to its pages."""


# -- from a run's steps, in virtual time ---------------------------------------------------------


class Stood(_Message):
    """Where a run in virtual time stands, or that it goes on; first message of its steps."""

    time_usec: int
    """Master time."""
    stands: bool
    chips: list[str] = []
    """Simulated boards and chips that pages may look into."""
    edge: str = ""
    """The edge that it stands at, as a text; "" where it stands at a time."""
    error: str = ""
    """Why the last step was not made."""
    remedy: str = ""


class PinShown(msgspec.Struct):
    """A pin: what it reads, and whether the chip or something outside drives it."""

    number: int
    level: bool
    output: bool
    driven: bool


class SymbolShown(msgspec.Struct):
    """A variable of a firmware, its bytes as hexadecimal text."""

    name: str
    address: int
    data: str


class Looked(_Message):
    """What there is in a simulated chip at a moment."""

    chip: str
    time_usec: int
    pins: list[PinShown] = []
    registers: dict[str, int] = {}
    symbols: list[SymbolShown] = []
    address: int = 0
    memory: str = ""
    """Bytes from `address` on, as hexadecimal text."""
    error: str = ""
    remedy: str = ""


# -- from the feed -----------------------------------------------------------------------------


class FeedBegins(_Message):
    """First message of a feed: what the streams say of themselves."""

    metadata: dict[str, dict[str, Any]]
    """Stream → its metadata, in plain values."""


class Items(msgspec.Struct, omit_defaults=True):
    """Items of one stream since the message before, as columns of equal length.

    Columns by type of the stream: `line, value, time_usec` of readings; `command, line, value,
    time_usec` of commands; `cells, time_usec` of rows; `command, time_usec` of control commands;
    `time_usec, data` (a list for each channel) of signals; frames have `last` alone.
    """

    stream: str
    columns: dict[str, list[Any]] = {}
    count: int = 0
    """How many items came, those that are left out included."""
    missed: int = 0
    """Items that did not reach the view; its recorder and its scripts may have them."""
    last: dict[str, Any] = {}
    """Number, master time, shape and type of the newest frame."""

    @property
    def length(self) -> int:
        """How many items the columns hold."""
        return len(self.columns.get("time_usec", ()))


class Act(_Message):
    """A command of a page; to the feed."""

    target: str
    """The input, "module.port"."""
    command: str
    """For lines: output, input, pull-up, high, low, pulse, analog; for modules: start, pause, stop,
    step, custom."""
    line: int = 0
    value: int = 0
    duration_usec: int = 0
    text: str = ""
    """Of custom."""
    by: str = ""
    """Who gave it: the address of the page."""


class Acted(_Message):
    """What became of a command."""

    act: Act
    sent_usec: int
    """Master time at which it was sent to its module, or refused."""
    taken_usec: int | None = None
    """Master time at which the module took it; None for never."""
    refused: str = ""
    """Why it was refused; "" where it was not."""


class RefusedActs(_Message):
    """Commands that the program refused before the run; to the feed, which records them."""

    act: Act
    """The newest one."""
    refused: str
    count: int = 1
    """How many they are."""


class Batch(_Message):
    """What has come since the last batch."""

    time_usec: int
    """Master time of the batch."""
    items: list[Items]


class Picture(_Message):
    """The newest frame of a stream, as it was asked for."""

    stream: str
    width: int
    """The width that was asked for, in pixels."""
    index: int
    time_usec: int
    sent_usec: int
    """Master time at which the picture was made."""
    shape: list[int]
    dtype: str
    low: float
    high: float
    """Least and greatest value in the picture."""
    saturated: float
    """Share of pixels at the upper end of their type, 0 to 1."""
    histogram: list[int]
    """64 bins over the range of the type, or of the values where these are shown scaled."""
    scaled: bool
    """Whether the values from `low` to `high` are shown as black to white."""
    jpeg: bytes


# -- to a run ----------------------------------------------------------------------------------


class Stop(_Message):
    """Stop the run as a success."""

    reason: str


class Want(_Message):
    """Send the next frame of a stream as a picture, at most so wide; to the feed."""

    stream: str
    width: int


_Usec = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]
_Text = Annotated[str, msgspec.Meta(max_length=1_000)]


class Step(_Message, tag="step"):
    """Make a step, in virtual time; of a page, and to the run's steps."""

    act: Literal["pause", "go", "until", "for", "edge"]
    time_usec: _Usec = 0
    """Of until: the master time. Of for: how long. Of edge: longest time."""
    chip: _Text = ""
    pin: _Number = 0
    which: Literal["rising", "falling", "any"] = "any"


class Look(_Message, tag="look"):
    """Look into a simulated chip; of a page, and to the run's steps."""

    chip: _Text
    elf: _Text = ""
    """ELF file of its firmware, in the bench's folder."""
    symbols: Annotated[list[_Text], msgspec.Meta(max_length=32)] = []
    address: _Number = 0
    length: Annotated[int, msgspec.Meta(ge=0, le=4_096)] = 0
    """Bytes of the data space to show."""


FromRun: TypeAlias = (
    Begins | Status | LogLine | Ended | Gone | FeedBegins | Batch | Picture | Acted | Stood | Looked
)
ToRun: TypeAlias = Stop | Want | Act | RefusedActs | Step | Look
