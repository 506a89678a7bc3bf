"""Camera settings of a bench ("exposure" in µs or "auto", …), applied to V4L2 controls.

A setting with an automatic mode needs two controls, set in this order: the mode, then the value.
Every value is read back, so that the answer contains what the camera actually does.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass

from mlink.metadata import Settable
from mlink_drivers.camera.backend import DONE, Answer, ControlValue, in_words
from mlink_drivers.camera.v4l2.controls import BUTTON, Control, V4L2Controls

AUTO = "auto"
_USER, _CAMERA = 0x0098_0900, 0x009A_0900
EXPOSURE_MODE, EXPOSURE_TIME = _CAMERA + 1, _CAMERA + 2
_EXPOSURE_UNIT_USEC = 100
_AUTOMATIC_EXPOSURES = (3, 0, 2)
"""Aperture priority, automatic, shutter priority, in order of preference; UVC has the first."""
_MANUAL_EXPOSURES = (1, 2)


@dataclass(frozen=True, slots=True)
class _Known:
    """A setting: the ids of its control and of that for its automatic mode (0: it has none)."""

    value: int
    automatic: int = 0
    unit: str = ""


_KNOWN = {
    "brightness": _Known(_USER + 0),
    "contrast": _Known(_USER + 1),
    "saturation": _Known(_USER + 2),
    "hue": _Known(_USER + 3, automatic=_USER + 25),
    "white_balance": _Known(_USER + 26, automatic=_USER + 12, unit=" K"),
    "gain": _Known(_USER + 19, automatic=_USER + 18),
    "focus": _Known(_CAMERA + 10, automatic=_CAMERA + 12),
    "power_line_frequency": _Known(_USER + 24),
}
_MAINS = {"off": 0, "disabled": 0, "0": 0, "false": 0, "50": 1, "60": 2, AUTO: 3}
"""Text in a bench → entry of the kernel's menu of power-line frequencies."""


class V4L2Settings:
    """Sets a camera's controls by the names of bench settings or of V4L2; owns the controls."""

    def __init__(self, controls: V4L2Controls) -> None:
        self._controls = controls

    def apply(self, name: str, wish: ControlValue) -> Answer:
        """Set one control and read it back.

        Args:
            name: Setting of a bench, or name of a V4L2 control.
            wish: Number, boolean, name of a menu entry, or "auto".

        Returns:
            The value read back, or the reason if the camera refused it.
        """
        try:
            if name == "exposure":
                return self._exposure(wish)
            if name == "power_line_frequency":
                return self._mains(wish)
            if known := _KNOWN.get(name):
                return self._known(name, known, wish)
            control = self._controls.find(name)
            if control is None:
                return Answer(name, in_words(wish), "no such control on this camera")
            return self._set(name, control, wish)
        except OSError as error:
            return Answer(name, in_words(wish), _refusal(error))

    def settables(self) -> list[Settable]:
        """Return the controls that a person may set, with their present values."""
        found: list[Settable] = []
        for control in self._controls.everything():
            if control.settable and control.readable:
                with suppress(OSError):  # the driver refuses to read it at present
                    each = control.settable_from(self._controls.get(control))
                    found += [] if each is None else [each]
        return found

    def close(self) -> None:
        """Close the controls."""
        self._controls.close()

    def _exposure(self, wish: ControlValue) -> Answer:
        """Set the exposure: "auto", or a time in µs."""
        mode = self._controls.find(EXPOSURE_MODE)
        time = self._controls.find(EXPOSURE_TIME)
        if wish == AUTO:
            if mode is None:
                return Answer("exposure", AUTO, "this camera has no automatic exposure")
            return self._choose("exposure", AUTO, mode, _AUTOMATIC_EXPOSURES)
        usec = _number(wish)
        asked = f"{in_words(wish)} µs"
        if time is None or usec is None:
            why = f"a time in µs or '{AUTO}' is needed" if time else "no exposure on this camera"
            return Answer("exposure", asked, why)
        if mode is not None:
            chosen = self._choose("exposure", "manual", mode, _MANUAL_EXPOSURES)
            if not chosen.same:
                return Answer("exposure", asked, f"{chosen.got}, which allows no exposure time")
        # Clamped here, because the driver's unit is another one.
        steps = max(time.minimum, min(round(usec / _EXPOSURE_UNIT_USEC), time.maximum))
        self._controls.set(time, steps)
        got = self._controls.get(time) * _EXPOSURE_UNIT_USEC
        finest = max(time.step, 1) * _EXPOSURE_UNIT_USEC
        return Answer("exposure", asked, f"{got} µs", abs(got - usec) <= finest / 2)

    def _mains(self, wish: ControlValue) -> Answer:
        """Set the power-line frequency: "off", 50, 60 (Hz) or "auto"."""
        name = "power_line_frequency"
        control = self._controls.find(_KNOWN[name].value)
        if control is None:
            return Answer(name, in_words(wish), "no such control on this camera")
        value = _MAINS.get(in_words(wish).lower().removesuffix("hz").strip())
        if value is None or (control.menu and value not in dict(control.menu)):
            return Answer(name, in_words(wish), f"it offers {control.offers}")
        return self._set(name, control, value, asked=in_words(wish))

    def _known(self, name: str, known: _Known, wish: ControlValue) -> Answer:
        """Set a setting that may have an automatic mode."""
        automatic = self._controls.find(known.automatic) if known.automatic else None
        value = self._controls.find(known.value)
        if wish == AUTO:
            if automatic is None:
                return Answer(name, AUTO, f"this camera has no automatic {name.replace('_', ' ')}")
            answer = self._set(name, automatic, True)
            return Answer(name, AUTO, AUTO if answer.same else answer.got, answer.same)
        if value is None:
            return Answer(name, f"{in_words(wish)}{known.unit}", "no such control on this camera")
        if automatic is not None:
            self._set(name, automatic, False)
        return self._set(name, value, wish, unit=known.unit)

    def _choose(self, name: str, asked: str, mode: Control, preferred: tuple[int, ...]) -> Answer:
        """Set a menu to the first of the preferred entries that it has."""
        offered = dict(mode.menu) or dict.fromkeys(range(mode.minimum, mode.maximum + 1), "")
        for choice in preferred:
            if choice in offered:
                self._controls.set(mode, choice)
                got = self._controls.get(mode)
                return Answer(name, asked, asked if got == choice else mode.shown(got),
                              got == choice)  # fmt: skip
        return Answer(name, asked, f"it offers {mode.offers}")

    def _set(
        self, name: str, control: Control, wish: ControlValue, *, asked: str = "", unit: str = ""
    ) -> Answer:
        """Set a control to a number, a menu entry's name or a boolean, and read it back.

        Args:
            name: Setting, for the answer.
            control: The control to set.
            wish: Requested value.
            asked: Text of the request for the answer, by default the value with its unit.
            unit: Unit for the answer, with a leading space.
        """
        asked = asked or f"{in_words(wish)}{unit}"
        value = control.value_of(wish)
        if not control.settable or value is None:
            reason = f"it offers {control.offers}" if control.settable else "it cannot be set"
            return Answer(name, asked, reason)
        self._controls.set(control, value)
        if control.kind == BUTTON or not control.readable:
            return Answer(name, asked, DONE, same=True)
        got = self._controls.get(control)
        return Answer(name, asked, f"{control.shown(got)}{unit}", same=got == value)


def _number(wish: ControlValue) -> float | None:
    try:
        return float(wish)
    except ValueError:
        return None


def _refusal(error: OSError) -> str:
    """Return why the driver refused a control, as text."""
    reason = error.strerror or str(error)
    if error.errno == errno.ERANGE:
        return "refused: out of its range"
    if error.errno in (errno.EBUSY, errno.EACCES):
        return f"refused ({reason}): another setting controls it, such as an automatic mode"
    return f"refused ({reason})"
