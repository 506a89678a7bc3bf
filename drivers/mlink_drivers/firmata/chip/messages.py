"""Messages of a board with mlink's firmware (sysex 0x01 to 0x0C), as values; decode.py makes them.

firmware/PROTOCOL.md describes them byte by byte. Times are 32-bit ticks of the chip's clock.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

from mlink.reflexes import Edges

MAGIC: Final = b"mlnk"
"""Identifies the feature query: other firmwares use the same sysex ids for other messages."""
TICK_BITS: Final = 32
SEQUENCES: Final = {1: 1 << 7, 2: 1 << 14}
"""Version of the extension → number of sequence numbers."""


class ExtensionId(enum.IntEnum):
    """Sysex ids of the extension, in the range reserved for user firmware (0x01 to 0x0F).

    The first data byte of most messages is a sub-command.
    """

    FEATURES = 0x01
    EDGES = 0x02
    CLOCK = 0x03
    PULSES = 0x04
    ANALOG_BLOCKS = 0x05
    REFLEXES = 0x06
    SAFE_STATE = 0x07
    BAUD = 0x08
    STATUS = 0x09
    COUNTERS = 0x0A
    STEPPERS = 0x0B
    I2C = 0x0C


class Feature(enum.IntFlag):
    """Features of a firmware.

    Bits of the number `features` in the answer to the feature query.
    """

    EDGES = 1 << 0
    CLOCK = 1 << 1
    PULSES = 1 << 2
    ANALOG_BLOCKS = 1 << 3
    REFLEXES = 1 << 4
    SAFE_STATE = 1 << 5
    BAUD = 1 << 6
    STATUS = 1 << 7
    COUNTERS = 1 << 8
    STEPPERS = 1 << 9
    I2C = 1 << 10
    ONE_TIME = 1 << 13
    """Lines that switch together carry one time, also those on different ports of the chip."""


class _Value(msgspec.Struct, frozen=True, gc=False):
    """Base of all messages."""


class Features(_Value, frozen=True):
    """The answer to the feature query: what the board can do, and its limits.

    `edge_pins` have an interrupt, `output_pins` can make pulses; `tick_hz` is the frequency of the
    clock.
    """

    version: int
    tick_hz: int
    features: Feature
    event_queue: int
    """Length of the event queue; when it is full, events are counted and dropped."""
    pulse_slots: int
    reflexes: int
    longest_sysex: int
    """Bytes between id and END_SYSEX that the board accepts."""
    receive_buffer: int
    highest_baud: int
    """0: the line is USB and has no baud rate."""
    edge_pins: frozenset[int]
    output_pins: frozenset[int]

    def has(self, feature: Feature) -> bool:
        """Whether the firmware has a feature.

        `feature` may combine several flags; all of them have to be present.
        """
        return feature in self.features


class EdgeWatch(_Value, frozen=True):
    """Confirms which edges of a pin are reported from now on; it had `level` at `ticks`.

    `level` is the first reading of the line. `kind` NONE confirms that reports have ended.
    """

    pin: int
    kind: Edges
    level: bool
    ticks: int


class ChipEdge(_Value, frozen=True):
    """One edge of a pin.

    `level` is the level after the edge; `ticks` was taken in the interrupt.
    """

    pin: int
    level: bool
    ticks: int


class EdgeBlock(_Value, frozen=True):
    """Edges in order of time; `sequence` counts blocks (modulo 128 in version 1, else 16,384).

    A gap in `sequence` means that the line has lost blocks.
    """

    sequence: int
    edges: tuple[ChipEdge, ...]


class EventsLost(_Value, frozen=True):
    """Events dropped since the board's start because its queue was full (21 bits).

    The difference to the total before is the number of lost events.
    """

    total: int


class ClockAnswer(_Value, frozen=True):
    """Times of a clock exchange on the chip: query received, answer sent.

    `id` repeats the number of the query.
    """

    id: int
    exact: bool
    """Whether an interrupt took the time of the query; else it was taken in the loop, later."""
    received_ticks: int
    sent_ticks: int


class PulseEnd(_Value, frozen=True):
    """A pulse or train has ended; `complete` is False when it was stopped early.

    `count` is the number of pulses made; `first_ticks` and `last_ticks` are the times of the first
    and the last edge.
    """

    pin: int
    complete: bool
    first_ticks: int
    last_ticks: int
    count: int


class AnalogBlock(_Value, frozen=True):
    """Samples of whole scans, in the channel order of the command that started the sampling.

    `first_ticks` is the time of the first sample. The times of the others follow from the period
    of the scans and the conversion time of a channel.
    """

    sequence: int
    first_ticks: int
    values: tuple[int, ...]


class ScansMissed(_Value, frozen=True):
    """Scans left out since the board's start because the line was too slow (21 bits).

    The difference to the total before is the number of missed scans.
    """

    total: int


class ReflexFired(_Value, frozen=True):
    """A reflex has acted; times of the edge and of the action.

    The delay of the reflex is `action_ticks` − `edge_ticks`.
    """

    index: int
    edge_ticks: int
    action_ticks: int


class ReflexState(_Value, frozen=True):
    """A reflex was set or removed.

    The board confirms each order to set (`on`) or remove a reflex with it.
    """

    index: int
    on: bool


class SafeStateSet(_Value, frozen=True):
    """Confirms the silence after which outputs become safe, in ms; 0 for never.

    The board confirms each change of the safe state with it.
    """

    timeout_msec: int


class SafeStateTripped(_Value, frozen=True):
    """The host was silent for too long; the board has made its outputs safe.

    Its reflexes and pulse trains have ended; `ticks` is the time of the change.
    """

    ticks: int


class BaudAnswer(_Value, frozen=True):
    """The board is about to change its baud rate, has confirmed it, or has fallen back.

    `step` is CHANGE, CONFIRMED or FELL_BACK; `baud_rate` is the rate in effect afterwards. With
    `refused` the rate stays as it was.
    """

    step: int
    refused: bool
    baud_rate: int

    CHANGE = 0
    CONFIRMED = 1
    FELL_BACK = 2


class ChipStatus(_Value, frozen=True):
    """Counts since the board's start; 16-bit counts wrap.

    `ticks` is the time of the answer. The board answers commands in order, so a status also
    confirms that earlier commands were executed.
    """

    ticks: int
    events_lost: int
    glitches: int
    """Interrupts without a changed pin: pulses shorter than some µs."""
    receive_lost: int
    framing_errors: int
    send_lost: int
    malformed: int
    texts_lost: int
    late_edges: int
    scans_missed: int
    safe_states: int
    next_block: int = -1
    """Sequence number of the next block of edges; −1 in version 1."""


class CounterState(_Value, frozen=True):
    """A counter was set or removed; the board confirms each order with it."""

    index: int
    on: bool


class CounterReport(_Value, frozen=True):
    """The totals of a counter since it was set, at `ticks`; numbers wrap.

    `position` is in steps of an encoder (unsigned, 32 bits), else it is the number of edges.
    """

    index: int
    tag: int
    """That of the order that has set the counter."""
    sequence: int
    ticks: int
    position: int
    count: int
    last_ticks: int
    """When the last edge was counted; only if `count` is not 0."""
    high_ticks: int
    """How long the line had been high at that edge, in all; 0 for an encoder."""
    errors: int
    """Times at which both lines of an encoder had changed, so that steps are missing (14 bits)."""
    glitches: int
    """Interrupts without a changed pin on the whole board (14 bits)."""


class StepperState(_Value, frozen=True):
    """A stepper was set or removed; the board confirms each order with it."""

    index: int
    on: bool


class StepperHow(enum.IntEnum):
    """Whether a stepper moves, or why it stands."""

    MOVING = 0
    ARRIVED = 1
    STOPPED = 2
    LOW_LIMIT = 3
    HIGH_LIMIT = 4
    ENDED = 5
    """The safe state, or another use of one of its lines, has ended the motion."""


class StepperReport(_Value, frozen=True):
    """Where a stepper is, at the time of its last step; a standing one was stopped then."""

    index: int
    tag: int
    """That of the last order to move."""
    how: StepperHow
    sequence: int
    """Counts reports, modulo 128."""
    ticks: int
    position: int
    interval: int
    """To the next step, in 1/256 tick; 0 when it stands."""


class I2CStatus(enum.IntEnum):
    """How a transfer on the I2C bus has ended."""

    DONE = 0
    NO_DEVICE = 1
    REFUSED = 2
    SDA_LOW = 3
    SCL_LOW = 4
    BUS_ERROR = 5


class I2CSpeed(_Value, frozen=True):
    """Confirms the frequency of the I2C bus in kHz, as near to the wanted one as the board can."""

    khz: int


class I2CResult(_Value, frozen=True):
    """A transfer on the I2C bus has ended; it began at `ticks`.

    `data` has the bytes that were read, none unless `status` is DONE.
    """

    tag: int
    """That of the order."""
    status: I2CStatus
    ticks: int
    data: bytes


ExtensionMessage: TypeAlias = (
    Features
    | EdgeWatch
    | EdgeBlock
    | EventsLost
    | ClockAnswer
    | PulseEnd
    | AnalogBlock
    | ScansMissed
    | ReflexFired
    | ReflexState
    | SafeStateSet
    | SafeStateTripped
    | BaudAnswer
    | ChipStatus
    | CounterState
    | CounterReport
    | StepperState
    | StepperReport
    | I2CSpeed
    | I2CResult
)
"""Any message of the extension."""
