"""Which serial port a bench means: device strings, resolved against the ports that are there.

usb:2341:0043                 vendor and product id (hexadecimal)
usb:serial=7583433…           serial number; also path=1-2.3, manufacturer=, product=
usb:2341:0043,path=1-2.3      several, of which all must hold
firmata:name=StandardFirmata  the firmware that answers on it; firmata: is any
/dev/ttyACM0, by-id links, socket://host:port, rfc2217://host:port   opened as they are
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import usb.core
from serial.tools import list_ports

from mlink.errors import DeviceError

_USB_PAIR: Final = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})")
_USB_KEYS: Final = ("serial", "path", "manufacturer", "product")
_SYNTAX_REMEDY: Final = (
    'Write for example "usb:2341:0043", "usb:serial=…", "usb:path=1-2.3" or'
    ' "firmata:name=StandardFirmata"; `mlink devices` shows what fits.'
)


class PortIdentity(msgspec.Struct, frozen=True):
    """A serial port, and what stays true of its device when it is plugged in elsewhere."""

    address: str
    vendor_id: int | None = None
    product_id: int | None = None
    serial: str = ""
    path: str = ""
    manufacturer: str = ""
    product: str = ""

    def __str__(self) -> str:
        name = " ".join(filter(None, (self.manufacturer, self.product)))
        ids = "" if self.vendor_id is None else f"usb:{self.vendor_id:04x}:{self.product_id:04x}"
        serial = f"usb:serial={self.serial}" if self.serial else ""
        path = f"usb:path={self.path}" if self.path else ""
        known = ", ".join(filter(None, (name, ids, serial, path)))
        return f"{self.address} ({known})" if known else self.address

    def is_same_device(self, other: PortIdentity) -> bool:
        """Whether another port is, as far as USB tells, this device plugged in again."""
        if self.vendor_id is None:
            return self.address == other.address
        ids = (self.vendor_id, self.product_id)
        if ids != (other.vendor_id, other.product_id):
            return False
        if self.serial or other.serial:
            return self.serial == other.serial
        return self.path == other.path  # twins without serial numbers differ by their socket


Ports = Callable[[], list[PortIdentity]]
AskFirmware = Callable[[str], str]
"""Returns the name of the firmware that answers on a port; DeviceError when none does."""


class _UsbSpec(msgspec.Struct):
    """What a `usb:` string asks for."""

    vendor_id: int | None = None
    product_id: int | None = None
    wanted: dict[str, str] = {}

    def fits(self, port: PortIdentity) -> bool:
        if port.vendor_id is None:
            return False
        if self.vendor_id is not None and (self.vendor_id, self.product_id) != (
            port.vendor_id,
            port.product_id,
        ):
            return False
        return all(getattr(port, key) == value for key, value in self.wanted.items())


def present_ports() -> list[PortIdentity]:
    """Return the serial ports that pyserial finds, sorted by address."""
    return sorted((_identity(port) for port in list_ports.comports()), key=_address)


def resolve(spec: str, *, ports: Ports = present_ports, ask: AskFirmware | None = None) -> str:
    """Return the address that a device string means now; DeviceError when none or several fit."""
    scheme, colon, rest = spec.partition(":")
    if colon and scheme == "usb":
        usb_spec = _parse_usb(spec, rest)
        fitting = [port for port in ports() if usb_spec.fits(port)]
        return _only(spec, fitting, ports, lambda: _seen_without_port(usb_spec)).address
    if colon and scheme == "firmata":
        return _by_firmware(spec, rest, ports, ask)
    return spec


def find_again(
    spec: str, before: PortIdentity | None, *, ports: Ports = present_ports
) -> str | None:
    """Return where a board is that went away, None while it is not there.

    `before` is what it was when it was opened: a USB device is found by its identity, whatever
    its new name; a link or a pseudo-terminal when its path is there again; a URL always.
    """
    if "://" in spec:
        return spec
    if before is not None and before.vendor_id is not None:
        same = [port for port in ports() if before.is_same_device(port)]
        return same[0].address if same else None
    return spec if Path(spec).exists() else None


def identify(address: str, *, ports: Ports = present_ports) -> PortIdentity | None:
    """Return what is known of the device behind an address, None when nothing is."""
    if "://" in address:
        return None
    device = os.path.realpath(address)
    return next((port for port in ports() if port.address in (address, device)), None)


def _by_firmware(spec: str, rest: str, ports: Ports, ask: AskFirmware | None) -> str:
    wanted = rest.removeprefix("name=")
    if rest and (not rest.startswith("name=") or not wanted):
        raise DeviceError(f"'{spec}' is not a device", remedy=_SYNTAX_REMEDY)
    if ask is None:
        raise DeviceError(f"'{spec}': nobody here can ask boards for their firmware")
    fitting: list[PortIdentity] = []
    answers: list[str] = []
    for port in ports():
        if port.vendor_id is None:
            continue  # a built-in port may be anything; nothing is sent to it unasked
        try:
            firmware = ask(port.address)
        except DeviceError as error:
            answers.append(f"{port.address}: {error.message}")
            continue
        answers.append(f"{port.address}: {firmware}")
        if _plain(wanted) in ("", _plain(firmware)):
            fitting.append(port)
    return _only(spec, fitting, ports, lambda: "; ".join(answers)).address


def _plain(firmware: str) -> str:
    """Name a firmware without its file's suffix and its case."""
    return firmware.casefold().removesuffix(".ino").removesuffix(".cpp")


def _only(
    spec: str, fitting: list[PortIdentity], ports: Ports, explain: Callable[[], str]
) -> PortIdentity:
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DeviceError(
            f"'{spec}' fits {len(fitting)} boards: {'; '.join(map(str, fitting))}",
            remedy="Name one of them by its serial number or by its path.",
        )
    seen = "; ".join(str(port) for port in ports()) or "no serial port"
    detail = explain()
    raise DeviceError(
        f"no board fits '{spec}'" + (f" ({detail})" if detail else ""),
        remedy=f"Plug the board in, or correct the device; present: {seen}.",
    )


def _parse_usb(spec: str, rest: str) -> _UsbSpec:
    parsed = _UsbSpec()
    for part in rest.split(","):
        pair = _USB_PAIR.fullmatch(part)
        key, equals, value = part.partition("=")
        if pair is not None:
            parsed.vendor_id, parsed.product_id = int(pair[1], 16), int(pair[2], 16)
        elif equals and key in _USB_KEYS and value:
            parsed.wanted[key] = value
        else:
            raise DeviceError(
                f"'{spec}' is not a device: '{part}' is unclear", remedy=_SYNTAX_REMEDY
            )
    return parsed


def _seen_without_port(spec: _UsbSpec) -> str:
    """Say whether the device is on the bus, but has no serial port; empty when it is not."""
    if spec.vendor_id is None:
        return ""
    match: Mapping[str, Any] = {"idVendor": spec.vendor_id, "idProduct": spec.product_id}
    try:
        seen = usb.core.find(**match)
    except (usb.core.NoBackendError, usb.core.USBError):  # no libusb here, or no access to the bus
        return ""
    if seen is None:
        return ""
    return "it is on the USB, but no driver has made a serial port of it: see `dmesg`"


def _identity(port: Any) -> PortIdentity:
    return PortIdentity(
        address=port.device,
        vendor_id=port.vid,
        product_id=port.pid,
        serial=port.serial_number or "",
        path=(port.location or "").partition(":")[0],
        manufacturer=port.manufacturer or "",
        product=port.product or "",
    )


def _address(port: PortIdentity) -> str:
    return port.address
