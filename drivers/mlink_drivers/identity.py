"""Resolves the device strings of a bench to the serial ports that are present.

usb:2341:0043                 vendor and product id (hexadecimal)
usb:serial=7583433…           serial number; also path=1-2.3, manufacturer=, product=
usb:2341:0043,path=1-2.3      several conditions, all of which must hold
firmata:name=StandardFirmata  name of the firmware that answers; firmata: accepts any
/dev/ttyACM0, by-id links, socket://host:port, rfc2217://host:port   used unchanged
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
import usb.core
from serial.tools import list_ports

from mlink.errors import DeviceError

_USB_PAIR: Final = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})")
_USB_KEYS: Final = ("serial", "path", "manufacturer", "product")
_ASKED_AT_ONCE: Final = 16
_SYNTAX_REMEDY: Final = (
    'Write for example "usb:2341:0043", "usb:serial=…", "usb:path=1-2.3" or'
    ' "firmata:name=StandardFirmata"; `mlink devices` lists the names of devices.'
)


class PortIdentity(msgspec.Struct, frozen=True):
    """A serial port, and the properties by which its device is found at another port.

    Ids are None, and texts empty, where USB does not provide them.
    """

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
        """Return whether another port is the same device plugged in again, judged by USB.

        Devices with a serial number are the same if it is equal; others, if they are in the same
        USB port. A port without USB ids is known by its address only.
        """
        if self.vendor_id is None:
            return self.address == other.address
        ids = (self.vendor_id, self.product_id)
        if ids != (other.vendor_id, other.product_id):
            return False
        if self.serial or other.serial:
            return self.serial == other.serial
        return self.path == other.path


Ports = Callable[[], list[PortIdentity]]
AskFirmware = Callable[[str], str]
"""Returns the name of the firmware that answers on a port; raises DeviceError if none does."""


class _UsbSpec(msgspec.Struct):
    """The conditions of a `usb:` string."""

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
    """Return the serial ports that pyserial finds, by address."""
    return sorted((_identity(port) for port in list_ports.comports()), key=_address)


def absent_port(spec: str) -> str:
    """Return why a device string means no serial port that is there now; "" if it does.

    A board that is known by its firmware is not asked.
    """
    if spec.startswith("/") and not Path(spec).exists():
        return f"there is no {spec} now"
    if not spec.startswith("usb:"):
        return ""
    try:
        resolve(spec)
    except DeviceError as error:
        return error.message
    return ""


def resolve(spec: str, *, ports: Ports = present_ports, ask: AskFirmware | None = None) -> str:
    """Return the address that a device string means at present.

    Args:
        spec: Device string of a bench.
        ports: Lists the ports that are present.
        ask: Asks the board at an address for the name of its firmware; several threads call it.

    Raises:
        DeviceError: No port fits, several fit, or the string is malformed.
    """
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
    """Return the present address of a board that was lost; None while it is away.

    A USB device is found by its identity, whatever its new address; a link, a pseudo-terminal
    or the socket of a simulated board (unix://PATH) when its path exists again. Another URL is
    returned unchanged.

    Args:
        spec: Device string of the bench.
        before: Identity of the board when it was opened.
        ports: Lists the ports that are present.
    """
    scheme, separator, path = spec.partition("://")
    if separator and scheme != "unix":
        return spec
    if before is not None and before.vendor_id is not None:
        same = [port for port in ports() if before.is_same_device(port)]
        return same[0].address if same else None
    return spec if Path(path or spec).exists() else None


def identify(address: str, *, ports: Ports = present_ports) -> PortIdentity | None:
    """Return the identity of the device at an address; None if it is unknown."""
    if "://" in address:
        return None
    device = os.path.realpath(address)
    return next((port for port in ports() if port.address in (address, device)), None)


def _by_firmware(spec: str, rest: str, ports: Ports, ask: AskFirmware | None) -> str:
    wanted = rest.removeprefix("name=")
    if rest and (not rest.startswith("name=") or not wanted):
        raise DeviceError(f"'{spec}' is not a device", remedy=_SYNTAX_REMEDY)
    if ask is None:
        raise DeviceError(f"'{spec}': no Firmata driver is available to ask for the firmware")
    fitting: list[PortIdentity] = []
    answers: list[str] = []
    remedies: list[str] = []
    # Any device may be at a built-in port, and must not receive bytes unasked.
    asked = [port for port in ports() if port.vendor_id is not None]

    def answer(port: PortIdentity) -> str | DeviceError:
        try:
            return ask(port.address)
        except DeviceError as error:
            return error

    with ThreadPoolExecutor(_ASKED_AT_ONCE, "firmware") as pool:  # a silent port takes seconds
        found = list(pool.map(answer, asked))
    for port, firmware in zip(asked, found, strict=True):
        if isinstance(firmware, DeviceError):
            answers.append(f"{port.address}: {firmware.message}")
            remedies.append(firmware.remedy)
            continue
        answers.append(f"{port.address}: {firmware}")
        if _plain(wanted) in ("", _plain(firmware)):
            fitting.append(port)
    return _only(spec, fitting, ports, lambda: "; ".join(answers), remedies).address


def _plain(firmware: str) -> str:
    """Return the name of a firmware without the suffix of its source file, in lower case."""
    return firmware.casefold().removesuffix(".ino").removesuffix(".cpp")


def _only(
    spec: str,
    fitting: list[PortIdentity],
    ports: Ports,
    explain: Callable[[], str],
    remedies: Sequence[str] = (),
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
        remedy=" ".join(
            filter(
                None,
                (
                    f"Plug the board in, or correct the device; present: {seen}.",
                    *dict.fromkeys(remedies),
                ),
            )
        ),
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
                f"'{spec}' is not a device: cannot parse '{part}'", remedy=_SYNTAX_REMEDY
            )
    return parsed


def _seen_without_port(spec: _UsbSpec) -> str:
    """Return a remark if the device is on the USB but has no serial port; else ""."""
    if spec.vendor_id is None:
        return ""
    match: Mapping[str, Any] = {"idVendor": spec.vendor_id, "idProduct": spec.product_id}
    try:
        seen = usb.core.find(**match)
    except (usb.core.NoBackendError, usb.core.USBError):  # no libusb, or no access to the bus
        return ""
    if seen is None:
        return ""
    return "it is on the USB, but no driver created a serial port for it: see `dmesg`"


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
