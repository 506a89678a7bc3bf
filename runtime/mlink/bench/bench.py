"""The bench as a value: what `load_bench` returns and a run reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.bench.file import Table
from mlink.bench.module import ModuleConfig


@dataclass(frozen=True, slots=True)
class Bench:
    """A checked bench."""

    name: str
    path: Path
    dir: Path
    """Folder of the bench file, absolute; relative paths in settings start here."""
    devices: dict[str, str]
    modules: dict[str, ModuleConfig]
    companions: dict[str, Any] = field(default_factory=dict)
    """Keys of companions, such as `faults`, as the file has them."""
    tables: dict[str, Table] = field(default_factory=dict)
    """Tables of device providers by their scheme, such as `[virtual]`, as the file has them."""
    keep_awake: bool = True
    """Whether processors are kept from sleeping where the bench commands a device."""
    lab: dict[str, Any] = field(default_factory=dict)
    """Tables of other packages in the devices file, as that has them; empty without one."""

    def device_spec(self, name: str) -> str:
        """Return the device string of a module's `device`, which may be one itself."""
        return self.devices.get(name, name)

    def used_devices(self) -> dict[str, str]:
        """Return the devices that modules use: what their `device` says → device string."""
        names = (module.device for module in self.modules.values() if module.device is not None)
        return {name: self.device_spec(name) for name in names}
