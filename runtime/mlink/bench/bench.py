"""The bench as a value: what `load_bench` returns and a run reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlink.bench.file import Table
from mlink.bench.hosts import Host
from mlink.bench.module import ModuleConfig
from mlink.bench.subject import Subject, take_subject
from mlink.storage.place import Storage

Time = Literal["real", "virtual"]
"""The two kinds of time that a run can be in."""

Compat = Literal["", "syntalos"]
"""Whose behaviour scripts get where mlink's own differs; "" is mlink's."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A checked bench: every module, connection and device in it is valid by itself.

    Whether a device is plugged in and a file can be written is found out by the run.
    """

    name: str
    path: Path
    dir: Path
    """Folder of the bench file, absolute; relative paths in settings start here."""
    devices: dict[str, str]
    modules: dict[str, ModuleConfig]
    companions: dict[str, Any] = field(default_factory=dict)
    """Values of companions' keys, such as `faults`, as in the bench file."""
    tables: dict[str, Table] = field(default_factory=dict)
    """Tables of device providers by scheme, such as `[virtual]`, as in the bench file."""
    keep_awake: bool = True
    """Whether processors are kept from idle states while the bench commands a device."""
    lab: dict[str, Any] = field(default_factory=dict)
    """Tables of other packages in the devices file, as in that file; empty without one."""
    strict: bool = False
    """Whether a run fails if any subscription has not got all that was sent to it."""
    warn_nondeterminism: bool = True
    """Whether lines of scripts that make two runs in virtual time differ are warned of."""
    time: Time | None = None
    """Kind of time that runs are in; None leaves it to who starts them."""
    seed: int | None = None
    """In virtual time: gives recordings their id and date, unless a run has its own."""
    speed: float | None = None
    """In virtual time: speed relative to real time, unless a run has its own."""
    compat: Compat = ""
    """Whose behaviour scripts get where mlink's own differs; "" for mlink's."""
    others: dict[str, Any] = field(default_factory=dict)
    """Tables of other packages, such as `[fuzz]`, as in the bench file."""
    subject: Subject = field(default_factory=Subject)
    """The animal or person of the run; a run may name another (`mlink run --subject-file`)."""
    storage: Storage = field(default_factory=Storage)
    """Where its runs are recorded, unless a run has its own."""
    view_control: bool = False
    """Whether the page of a run may command its modules, unless an option overrides it."""
    hosts: dict[str, Host] = field(default_factory=dict)
    """The other machines of its runs by name; modules on none are on this one, the controller."""
    described: dict[str, Table] = field(default_factory=dict)
    """The checked `[modules]` tables, with what replaced or was added to those of the file."""
    subjects: tuple[Subject, ...] = ()
    """Subjects of which a run uses one; `subject` is empty until it is chosen."""

    def subject_of(self, subject_id: str, given: Subject | None = None) -> Subject:
        """Return the subject of a run, as `Subject.of_run` does, or the one of the list.

        Raises:
            BenchError: It is not the bench's, not in the list, or not active.
        """
        if self.subject.id or not self.subjects:
            return self.subject.of_run(subject_id, given)
        return take_subject(self.subjects, subject_id, given)

    def device_spec(self, name: str) -> str:
        """Return the device string of a module's `device`: a key of `devices`, or one itself."""
        return self.devices.get(name, name)

    @property
    def on_hosts(self) -> bool:
        """Whether modules of it run on other machines."""
        return any(module.host for module in self.modules.values())

    def used_devices(self) -> dict[str, str]:
        """Return the devices that modules use: their `device` setting → device string."""
        names = (module.device for module in self.modules.values() if module.device is not None)
        return {name: self.device_spec(name) for name in names}
