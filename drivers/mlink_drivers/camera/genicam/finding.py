"""Which GenICam cameras are there, and which one a device word means.

genicam:serial=22334455                    one condition, or several that all must hold:
genicam:vendor=Basler,model=acA1300-60gm   vendor, model, serial, id (Aravis' own), address
genicam:address=192.168.7.20               asked directly, also where broadcasts do not get
genicam:                                   the only camera

Texts are percent-encoded where they contain a comma, a percent sign or anything unprintable.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import quote, unquote

from mlink.devices import FoundDevice
from mlink.errors import DeviceError
from mlink_drivers.camera.genicam.library import Aravis, aravis

SCHEME = "genicam:"
_KEYS = ("serial", "vendor", "model", "id", "address")
_SAFE = " !#$&'()*+-./:;<=>?@[]^_{|}~"
_SYNTAX = (
    'Write "genicam:serial=…" or "genicam:vendor=…,model=…"; `mlink devices` lists the cameras.'
)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that answered."""

    id: str
    """By which Aravis opens it."""
    vendor: str
    model: str
    serial: str
    address: str
    """IP address of a GigE camera; of others the place in the system."""
    protocol: str

    def __str__(self) -> str:
        return f"{self.vendor} {self.model} {self.serial} at {self.address}"

    def word(self, *keys: str) -> str:
        """Return the device word with these conditions."""
        given = (f"{key}={quote(getattr(self, key), safe=_SAFE)}" for key in keys)
        return SCHEME + ",".join(given)

    def identity(self, others: list[Camera]) -> str:
        """Return the shortest lasting word that means this camera alone among `others`."""
        for keys in (("serial",), ("vendor", "model", "serial")):
            same = [it for it in others if all(getattr(it, k) == getattr(self, k) for k in keys)]
            if self.serial and len(same) == 1:
                return self.word(*keys)
        return self.word("id")


def present(library: Aravis) -> list[Camera]:
    """Ask all networks and USB buses for cameras; takes about a second."""
    library.call("arv_update_device_list")
    names = [field.name for field in fields(Camera)]
    calls = [f"arv_get_device_{name}".replace("_serial", "_serial_nbr") for name in names]
    found = [
        Camera(*(library.call(call, index) or "" for call in calls))
        for index in range(library.call("arv_get_n_devices"))
    ]
    return sorted(found, key=lambda camera: camera.id)


def conditions(word: str) -> dict[str, str]:
    """Return what a device word requires of a camera, by key.

    Raises:
        DeviceError: It is malformed.
    """
    wanted: dict[str, str] = {}
    for part in filter(None, word.removeprefix(SCHEME).split(",")):
        key, equals, text = part.partition("=")
        if key.strip() not in _KEYS or not equals or not text.strip():
            raise DeviceError(
                f"'{word}': '{part}' is no condition for a GenICam camera "
                f"(those are {', '.join(_KEYS)})",
                remedy=_SYNTAX,
            )
        wanted[key.strip()] = unquote(text.strip())
    return wanted


def find(library: Aravis, word: str) -> tuple[str, str]:
    """Return (by which name Aravis opens the camera of a word, the word that means it for good).

    Raises:
        DeviceError: No camera fits, or several do; the message lists them.
    """
    wanted = conditions(word)
    if list(wanted) == ["address"]:
        return wanted["address"], word
    there = present(library)
    fitting = [it for it in there if all(getattr(it, key) == text for key, text in wanted.items())]
    if len(fitting) == 1:
        return fitting[0].id, fitting[0].identity(there)
    if fitting:
        listed = "; ".join(f"{it} ({it.identity(there)})" for it in fitting)
        raise DeviceError(
            f"'{word}' means {len(fitting)} cameras: {listed}",
            remedy="Write the word of one of them.",
        )
    listed = "; ".join(map(str, there))
    raise DeviceError(
        f"there is no GenICam camera '{word}'" + (f"; there are: {listed}" if there else ""),
        remedy="Check power and cable, and that the camera's address is in the network of this "
        "computer's port; `mlink devices` lists the cameras.",
    )


def list_devices() -> list[FoundDevice]:
    """Return the GenICam cameras, for `mlink devices`.

    Raises:
        DeviceError: Aravis is missing.
    """
    there = present(aravis())
    found = []
    for camera in there:
        address = camera.identity(there)
        words = (camera.word("vendor", "model"), camera.word("id"))
        found.append(
            FoundDevice(
                kind="camera",
                address=address,
                name=f"{camera.vendor} {camera.model} ({camera.protocol}, {camera.address})",
                identity=[word for word in words if word != address],
            )
        )
    return found


def open_failed(word: str, reason: str) -> DeviceError:
    """Return the error for a camera that is there and cannot be opened."""
    return DeviceError(
        f"the camera {word} cannot be opened: {reason}",
        remedy="Check power, cable and network; that no other program uses it (one that was killed "
        "keeps it for 3 s); for USB, that udev's rules let this user.",
    )
