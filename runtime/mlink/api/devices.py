"""Devices of this machine, as a bench can name them."""

from __future__ import annotations

from collections.abc import Iterable

from mlink import catalog
from mlink.devices import FoundDevice
from mlink.errors import MlinkError


class DeviceList(list[FoundDevice]):
    """Devices that were found.

    Attributes:
        problems: Why some kinds of devices could not be looked for; empty when all could.
    """

    def __init__(self, devices: Iterable[FoundDevice] = (), problems: Iterable[str] = ()) -> None:
        super().__init__(devices)
        self.problems = list(problems)


def list_devices() -> DeviceList:
    """Return the serial ports, cameras and virtual devices of this machine.

    `FoundDevice.address`, and each string of `FoundDevice.identity`, can be written into the
    `[devices]` table of a bench. Looking opens no device. One discoverer that fails does not hide
    what others find: it is reported in `problems`.
    """
    found = DeviceList()
    for name, discover in catalog.discoverers().items():
        try:
            found += discover()
        except MlinkError as error:
            found.problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - one discoverer's fault does not hide the rest
            found.problems.append(f"'{name}' could not look for devices: {error}")
    for scheme in catalog.device_schemes():
        try:
            known = getattr(catalog.device_provider(scheme), "known", ())
        except MlinkError as error:
            found.problems.append(str(error))
            continue
        found += [FoundDevice(kind="virtual", address=spec, name="") for spec in known]
    return found
