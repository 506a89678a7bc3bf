"""GenICam features by name: type and range are checked, and each value is read back.

"ExposureTime" is one; "LineSource[LineSelector=Line2]" one of several that a selector chooses.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from ctypes import byref, c_double, c_int64
from dataclasses import replace

from mlink.metadata import Settable
from mlink_drivers.camera.backend import DONE, Answer, ControlValue, in_words
from mlink_drivers.camera.genicam.library import Aravis, AravisError, Pointer

AUTO = "auto"
_NAME = re.compile(r"(?P<name>\w+)(?:\[(?P<selectors>[^\]]*)\])?")
_KINDS = ("command", "boolean", "enumeration", "float", "integer", "string")
"""In the order in which a node is asked: an enumeration is an integer and a string as well."""
_READ_ONLY = 0
_COMMAND_WORDS = (True, 1, "execute")
_SETTINGS = {
    "exposure": (("ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw"), "ExposureAuto"),
    "gain": (("Gain", "GainAbs", "GainRaw"), "GainAuto"),
    "white_balance": ((), "BalanceWhiteAuto"),
    "brightness": (("BlackLevel", "BlackLevelRaw"), "BlackLevelAuto"),
}
"""Setting of a bench → names that cameras have for its value, and for its automatic mode."""
_OURS = ("AcquisitionStart", "AcquisitionStop", "AcquisitionMode", "TLParamsLocked")
_LEAST_RESOLUTION = 1e-3


class Features:
    """Reads and sets the features of an open camera.

    Args:
        library: Aravis.
        device: The camera's device.
    """

    def __init__(self, library: Aravis, device: Pointer) -> None:
        self._library = library
        self._device = device

    def kind(self, name: str) -> str:
        """Return the type of a feature, "" if the camera has none of this name."""
        node = self._node(name)
        found = (kind for kind in _KINDS if self._library.is_a(node, f"arv_gc_{kind}"))
        return next(found, "")

    def apply(self, setting: str, wish: ControlValue) -> Answer:
        """Set a setting of a bench, or a feature, and read it back.

        Args:
            setting: "exposure", "gain", …, or a feature's name, with its selectors or without.
            wish: Its value; "auto" for the automatic mode of a setting; `true` runs a command.

        Returns:
            The value read back, or why it was not set: its type or range.
        """
        try:
            if setting in _SETTINGS:
                return self._setting(setting, wish)
            return self._feature(setting, wish)
        except AravisError as error:
            return Answer(setting, in_words(wish), f"refused: {error}")

    def settables(self) -> list[Settable]:
        """Return the settings of a bench that this camera has as numbers, with their ranges."""
        found = []
        for setting, (names, _) in _SETTINGS.items():
            name = self.first_of(*names)
            value = self.value(name) if name else None
            if isinstance(value, int | float):
                with contextlib.suppress(AravisError):
                    low, high = self.bounds(name)
                    step = self._step(name) if self.kind(name) == "integer" else None
                    found.append(Settable(setting, value, low, high, step, _unit(setting, name)))
        return found

    def first_of(self, *names: str) -> str:
        """Return the first of these names that the camera has; "" for none."""
        return next((name for name in names if self.kind(name)), "")

    def value(self, name: str) -> ControlValue | None:
        """Return a feature's value; None if it cannot be read at present, or does not exist."""
        kind = self.kind(name)
        if kind in ("", "command"):
            return None
        try:
            return self._read(name, kind)
        except AravisError:
            return None

    def choices(self, name: str) -> list[str]:
        """Return the entries that an enumeration offers at present."""
        call = "arv_device_dup_available_enumeration_feature_values_as_strings"
        try:
            return self._library.texts(call, self._device, name)
        except AravisError:
            return []

    def bounds(self, name: str) -> tuple[float, float]:
        """Return the smallest and largest value of a number."""
        kind = self.kind(name)
        low, high = (c_double(), c_double()) if kind == "float" else (c_int64(), c_int64())
        call = f"arv_device_get_{kind}_feature_bounds"
        self._library.call(call, self._device, name, byref(low), byref(high))
        return low.value, high.value

    def unlimit_rate(self) -> None:
        """Switch off the camera's own rate, by which many ignore triggers that come sooner."""
        if self.kind("AcquisitionFrameRateEnable"):
            self.apply("AcquisitionFrameRateEnable", False)
        elif name := self.first_of("AcquisitionFrameRate", "AcquisitionFrameRateAbs"):
            with contextlib.suppress(AravisError):
                self.apply(name, self.bounds(name)[1])

    def _node(self, name: str) -> Pointer:
        found: Pointer = self._library.call("arv_device_get_feature", self._device, name)
        return found

    def _setting(self, setting: str, wish: ControlValue) -> Answer:
        names, automatic = _SETTINGS[setting]
        if wish == AUTO:
            if not self.kind(automatic):
                return Answer(setting, AUTO, f"this camera has no automatic {in_text(setting)}")
            answer = self._feature(automatic, "Continuous")
            return Answer(setting, AUTO, AUTO if answer.same else answer.got, answer.same)
        name = self.first_of(*names)
        if not name:
            return Answer(setting, in_words(wish), "no such control on this camera")
        if self.kind(automatic) and self.value(automatic) != "Off":
            self._feature(automatic, "Off")
        if self.kind(name) == "integer" and isinstance(wish, float):
            wish = round(wish)
        unit = f" {_unit(setting, name)}".rstrip()
        answer = self._feature(name, wish)
        return replace(
            answer, setting=setting, asked=answer.asked + unit,
            got=answer.got + (unit if answer.same else ""),
        )  # fmt: skip

    def _feature(self, setting: str, wish: ControlValue) -> Answer:
        match = _NAME.fullmatch(setting)
        if match is None:
            what = 'no name of a feature; write "Name" or "Name[Selector=Entry]"'
            return Answer(setting, in_words(wish), what)
        for part in (match["selectors"] or "").split(",") if match["selectors"] else ():
            selector, _, entry = (word.strip() for word in part.partition("="))
            chosen = self._set(selector, _number(entry, self.kind(selector)))
            if not chosen.same:
                return Answer(setting, in_words(wish), f"{selector or part}: {chosen.got}")
        return replace(self._set(match["name"], wish), setting=setting)

    def _set(self, name: str, wish: ControlValue) -> Answer:
        asked = in_words(wish)
        if name in _OURS:
            return Answer(name, asked, "mlink sets it, at the start and the end of a run")
        kind, node = self.kind(name), self._node(name)
        if not kind:
            return Answer(name, asked, f"this camera has no such feature{self._meant(name)}")
        if why := self._why_not(name, kind, wish) or self._why_locked(name, kind, node):
            return Answer(name, asked, why)
        if kind == "command":
            self._library.call("arv_device_execute_command", self._device, name)
            return Answer(name, asked, DONE, same=True)
        setter = "string" if kind == "enumeration" else kind
        call = f"arv_device_set_{setter}_feature_value"
        value = int(wish) if kind == "integer" else float(wish) if kind == "float" else wish
        self._library.call(call, self._device, name, value)
        got = self._read(name, kind)
        if kind == "float":
            same = abs(float(got) - float(wish)) <= _LEAST_RESOLUTION * max(1.0, abs(float(wish)))
            return Answer(name, asked, f"{got:.6g}", same)
        return Answer(name, asked, in_words(got), got == wish)

    def _read(self, name: str, kind: str) -> ControlValue:
        getter = "string" if kind == "enumeration" else kind
        got = self._library.call(f"arv_device_get_{getter}_feature_value", self._device, name)
        if kind == "boolean":
            return bool(got)
        return "" if got is None else got

    def _why_not(self, name: str, kind: str, wish: ControlValue) -> str:
        """Return why a value does not fit a feature's type or range; "" if it does."""
        if kind == "command":
            return "" if wish in _COMMAND_WORDS else "a command: true runs it"
        if kind == "boolean":
            return "" if isinstance(wish, bool) else "true or false is needed"
        if kind == "string":
            return "" if isinstance(wish, str) and "\0" not in wish else "a text is needed"
        if kind == "enumeration":
            offered = self.choices(name)
            return "" if wish in offered else f"it offers {', '.join(offered)}"
        if isinstance(wish, bool | str) or not math.isfinite(wish):
            return f"a number {self._range(name, kind)} is needed"
        low, high = self.bounds(name)
        if kind == "integer":
            step = self._step(name)
            if wish != int(wish) or (step > 1 and low <= wish <= high and (wish - low) % step):
                return f"a whole number {self._range(name, kind)} is needed"
        return "" if low <= wish <= high else f"out of its range {self._range(name, kind)}"

    def _range(self, name: str, kind: str) -> str:
        low, high = self.bounds(name)
        text = f"from {low:.10g} to {high:.10g}"
        if kind == "integer" and (step := self._step(name)) > 1:
            return f"{text} in steps of {step}"
        return text

    def _step(self, name: str) -> int:
        call = "arv_device_get_integer_feature_increment"
        return int(self._library.call(call, self._device, name))

    def _why_locked(self, name: str, kind: str, node: Pointer) -> str:
        if not self._library.call("arv_device_is_feature_available", self._device, name):
            return "not available at present: another feature rules it out"
        if self._library.call("arv_gc_feature_node_is_locked", node):
            return "locked at present, as by a running acquisition or an automatic mode"
        mode = self._library.call("arv_gc_feature_node_get_actual_access_mode", node)
        return "it cannot be set" if mode == _READ_ONLY and kind != "command" else ""

    def _meant(self, name: str) -> str:
        """Return the usual names of features that are near to a wrong one, as a question."""
        near = [
            known for known in difflib.get_close_matches(name, _USUAL, 2, 0.75) if self.kind(known)
        ]
        return f" (did you mean {' or '.join(near)}?)" if near else ""


def _unit(setting: str, name: str) -> str:
    """Return the unit of a setting that a feature is for."""
    return "µs" if setting == "exposure" and not name.endswith("Raw") else ""


def in_text(setting: str) -> str:
    """Return the name of a setting as words."""
    return setting.replace("_", " ")


def _number(entry: str, kind: str) -> ControlValue:
    """Return a selector's entry: a number for a selector that counts."""
    if kind == "integer" and entry.lstrip("-").isdecimal():
        return int(entry)
    return entry


_USUAL = [
    "ExposureTime", "ExposureTimeAbs", "ExposureAuto", "Gain", "GainRaw", "GainAuto", "BlackLevel",
    "Width", "Height", "OffsetX", "OffsetY", "BinningHorizontal", "BinningVertical", "PixelFormat",
    "ReverseX", "ReverseY", "Gamma", "TestPattern", "AcquisitionFrameRate", "AcquisitionMode",
    "AcquisitionFrameRateEnable", "TriggerSelector", "TriggerMode", "TriggerSource", "TriggerDelay",
    "TriggerActivation", "TriggerSoftware", "LineSelector", "LineMode", "LineSource",
    "LineInverter", "BalanceWhiteAuto", "BalanceRatio", "DeviceLinkThroughputLimit",
    "GevSCPSPacketSize", "GevSCPD", "UserSetSelector", "UserSetLoad",
]  # fmt: skip
"""Names of the standard (SFNC) that misspelt ones are compared with."""
