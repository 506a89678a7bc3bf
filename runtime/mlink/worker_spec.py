"""What a worker is given when it is forked: its module, its descriptors, its kind of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import msgspec

from mlink.devices import DeviceEndpoint
from mlink.module import PortSpec

MAX_DESCRIPTORS = 253
"""Most descriptors that a worker is passed; the kernel's limit is 253 (SCM_MAX_FD)."""

HANDLER_TIMES = "handler_times"
"""Attribute of recordings: module → input → the times that its handler took, as a `Cost`."""


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
    clock_page: int = 0
    """Position of the page of the host's clock (mlink.steered_clock); 0 without one."""
    program: tuple[str, ...] = ()
    """Command line of a standalone module: a program that calls `init_link()` itself."""
    nice: int = 0
    """Nice value to request: modules of the loop come before recorders and views."""
    debug: bool = False
    sources: dict[str, str] = {}
    """Input port → the stream that it subscribes to ("module.port")."""
    journal: bool = False
    """Record what the module receives and sends (mlink.recording.journal.reading)."""
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
