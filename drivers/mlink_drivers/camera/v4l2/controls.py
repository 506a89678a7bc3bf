"""The controls of a V4L2 camera: found by name, set, and read back.

They are set by the kernel's ioctls, because OpenCV's properties lack names for most controls,
change units between versions, and hide whether and why a control was refused. A control may be set
from any thread while frames are captured, since the node is opened a second time.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from mlink.metadata import Settable
from mlink_drivers.camera.v4l2.ioctl import (
    G_CTRL,
    NEXT_CONTROL,
    QUERYCTRL,
    QUERYMENU,
    S_CTRL,
    Ioctl,
    c_string,
    system_ioctl,
)

_QUERYCTRL = struct.Struct("=II32siiiiI8x")
_QUERYMENU = struct.Struct("=II32s4x")
_CONTROL = struct.Struct("=Ii")

INTEGER, BOOLEAN, MENU, BUTTON, INTEGER64, CLASS, STRING, BITMASK, INTEGER_MENU = range(1, 10)
_SETTABLE = (INTEGER, BOOLEAN, MENU, BUTTON, BITMASK, INTEGER_MENU)
_DISABLED, _READ_ONLY, _WRITE_ONLY = 0x1, 0x4, 0x40
_CONTROLS_AT_MOST = 500
"""Bound for a broken driver that never ends its list."""
_OLD_NAMES = {
    "exposure_absolute": "exposure_time_absolute",
    "exposure_auto": "auto_exposure",
    "exposure_auto_priority": "exposure_dynamic_framerate",
    "white_balance_temperature_auto": "white_balance_automatic",
    "focus_auto": "focus_automatic_continuous",
}
"""Names before kernel 5.18, and the present ones; either finds the control."""
_SAME = _OLD_NAMES | {new: old for old, new in _OLD_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Control:
    """One control, as described by its driver (VIDIOC_QUERYCTRL)."""

    id: int
    name: str
    """The name in `v4l2-ctl --list-ctrls`: "exposure_time_absolute"."""
    kind: int
    minimum: int
    maximum: int
    step: int
    default: int
    flags: int
    menu: tuple[tuple[int, str], ...] = ()
    """(value, name) of each entry of a menu."""

    @property
    def settable(self) -> bool:
        """Whether it can be set."""
        return self.kind in _SETTABLE and not self.flags & (_READ_ONLY | _DISABLED)

    @property
    def readable(self) -> bool:
        """Whether it has a value."""
        return self.kind != BUTTON and not self.flags & _WRITE_ONLY

    @property
    def offers(self) -> str:
        """The values that it accepts, as text."""
        if self.kind == BOOLEAN:
            return "true or false"
        if self.menu:
            return ", ".join(f"{value} ({name})" for value, name in self.menu)
        return f"{self.minimum} to {self.maximum}" + (f" by {self.step}" if self.step > 1 else "")

    def shown(self, value: int) -> str:
        """Return a value as text: true or false, the name of a menu entry, or the number."""
        if self.kind == BOOLEAN:
            return "true" if value else "false"
        return dict(self.menu).get(value, str(value))

    def settable_from(self, value: int) -> Settable | None:
        """Return it for people who set it, with its present value; None for other kinds."""
        if self.kind == BOOLEAN:
            return Settable(self.name, bool(value))
        if self.kind == INTEGER:
            step = max(1, self.step)
            return Settable(self.name, value, self.minimum, self.maximum, step)
        if self.menu:  # a command's text is divided at these characters
            names = tuple(name for _, name in self.menu if not {",", ";"} & set(name))
            return Settable(self.name, self.shown(value), choices=names) if names else None
        return None

    def value_of(self, wish: bool | float | str) -> int | None:
        """Return the number to set for a requested value; None if it cannot be converted.

        Args:
            wish: A number, which is rounded; a boolean; or a text: the name of a menu entry, "true"
                or "false", "on" or "off", or a number.
        """
        if isinstance(wish, str):
            folded = normal_name(wish)
            for value, name in self.menu:
                if normal_name(name) == folded:
                    return value
            if self.kind == BOOLEAN and folded in ("true", "false", "on", "off"):
                return int(folded in ("true", "on"))
            try:
                return int(wish, 0)
            except ValueError:
                return None
        return round(wish)


def normal_name(name: str) -> str:
    """Return a control's name in lower-case letters, digits and single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


class V4L2Controls:
    """The controls of a node; owns a descriptor on it.

    Args:
        node: The camera's device node.
        ioctl: Replaces the system's ioctl in tests.

    Raises:
        OSError: The node cannot be opened, or its controls cannot be listed.
    """

    def __init__(self, node: Path, ioctl: Ioctl = system_ioctl) -> None:
        self._ioctl = ioctl
        self._descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._by_name = {control.name: control for control in self._enumerate()}
        self._by_id = {control.id: control for control in self._by_name.values()}

    def everything(self) -> tuple[Control, ...]:
        """Return all controls in the driver's order."""
        return tuple(self._by_name.values())

    def find(self, name_or_id: str | int) -> Control | None:
        """Return a control by its name (old or new) or its id; None if there is none."""
        if isinstance(name_or_id, int):
            return self._by_id.get(name_or_id)
        name = normal_name(name_or_id)
        return self._by_name.get(name) or self._by_name.get(_SAME.get(name, ""))

    def get(self, control: Control) -> int:
        """Return a control's value.

        Raises:
            OSError: The driver refuses to read it.
        """
        buffer = bytearray(_CONTROL.pack(control.id, 0))
        self._ioctl(self._descriptor, G_CTRL, buffer)
        return int(_CONTROL.unpack(buffer)[1])

    def set(self, control: Control, value: int) -> None:
        """Set a control; drivers clamp integers to the control's range.

        Raises:
            OSError: The driver refuses the value, or the control at present.
        """
        self._ioctl(self._descriptor, S_CTRL, bytearray(_CONTROL.pack(control.id, value)))

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _enumerate(self) -> list[Control]:
        found: list[Control] = []
        last = 0
        while len(found) < _CONTROLS_AT_MOST:
            buffer = bytearray(_QUERYCTRL.size)
            struct.pack_into("=I", buffer, 0, last | NEXT_CONTROL)
            try:
                self._ioctl(self._descriptor, QUERYCTRL, buffer)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOTTY):  # no more, or none at all
                    break
                raise
            id_, kind, name, minimum, maximum, step, default, flags = _QUERYCTRL.unpack(buffer)
            if id_ <= last:
                break
            last = id_
            if kind == CLASS or flags & _DISABLED:
                continue
            menu = self._menu(id_, kind, minimum, maximum)
            found.append(
                Control(id_, normal_name(c_string(name)), kind, minimum, maximum, step, default,
                        flags, menu)
            )  # fmt: skip
        return found

    def _menu(self, id_: int, kind: int, minimum: int, maximum: int) -> tuple[tuple[int, str], ...]:
        """Return the entries that a menu has; a driver may leave out some indices."""
        if kind not in (MENU, INTEGER_MENU):
            return ()
        choices = []
        for index in range(max(minimum, 0), min(maximum, 255) + 1):
            buffer = bytearray(_QUERYMENU.pack(id_, index, b""))
            try:
                self._ioctl(self._descriptor, QUERYMENU, buffer)
            except OSError:
                continue
            raw = _QUERYMENU.unpack(buffer)[2]
            name = str(struct.unpack_from("=q", raw)[0]) if kind == INTEGER_MENU else c_string(raw)
            choices.append((index, name))
        return tuple(choices)
