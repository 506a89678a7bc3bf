"""What a `camera-arv` module of a Syntalos project (GenICam, by Aravis) becomes.

Its extra data is the camera's list of features: lines "Category: NAME", and, with tabs between,
"", name, kind, value, and for some a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

_TAKEN: Final = (
    "ExposureAuto", "ExposureTime", "ExposureTimeAbs", "GainAuto", "Gain", "GainRaw", "BlackLevel",
    "Gamma", "BalanceWhiteAuto", "ReverseX", "ReverseY",
)  # fmt: skip
"""Features that a person sets, in the order in which to set them; of a list with hundreds."""
_TRIGGER: Final = ("TriggerSource", "TriggerActivation", "TriggerMode")
_ADJUSTED_BY: Final = {
    "ExposureTime": "ExposureAuto",
    "ExposureTimeAbs": "ExposureAuto",
    "Gain": "GainAuto",
    "GainRaw": "GainAuto",
}
"""Value → the feature that hands it to the camera, unless that is Off."""


@dataclass(slots=True)
class GenicamCamera:
    """A camera of a project, as a bench names it."""

    device: str
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def genicam_settings(stored: Mapping[str, Any], listed: bytes) -> GenicamCamera:
    """Return device, settings and notes of a camera.

    Args:
        stored: Its settings in the project.
        listed: Its list of features.
    """
    about, region, general = (_table(stored, name) for name in ("camera", "roi", "general"))
    name = about.get("device")
    name = name.strip() if isinstance(name, str) else ""
    made = GenicamCamera("genicam:" + (f"id={quote(name, safe=' ')}" if name else ""))
    if name.startswith("Fake_"):
        made.notes.append("its camera is Aravis' simulated one: use a real one, or virtual:scene")
    if "fps" in about:
        made.settings["framerate"] = float(about["fps"])
    if wanted := about.get("pixel_format"):
        made.settings["pixel_format"] = str(wanted)
    features: dict[str, Any] = {}
    binning = region.get("binning")
    is_binned = isinstance(binning, int) and binning > 1
    if is_binned:  # it changes the size, so it comes first
        features |= {"BinningHorizontal": binning, "BinningVertical": binning}
    if {"width", "height"} <= set(region):
        width, height = int(region["width"]), int(region["height"])
        if is_binned:
            features |= {"Width": width, "Height": height}
        else:
            made.settings["size"] = [width, height]
    features |= {
        f"Offset{axis.upper()}": region[axis]
        for axis in ("x", "y")
        if isinstance(region.get(axis), int) and region[axis] > 0
    }
    features |= _chosen(_read(listed))
    if features:
        made.settings["features"] = features
    changed = [key for key, value in general.items() if isinstance(value, int) and value]
    if changed:
        made.notes.append(f"{', '.join(changed)}: a videotransform module does that here")
    return made


def _table(stored: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = stored.get(name)
    return dict(table) if isinstance(table, dict) else {}


def _read(listed: bytes) -> dict[str, Any]:
    """Return the features of a list; those whose value cannot be read are left out."""
    found: dict[str, Any] = {}
    for line in listed.decode("utf-8", "replace").splitlines():
        parts = line.split("\t")
        if len(parts) < 4 or parts[0]:
            continue
        name, kind, text = (part.strip() for part in parts[1:4])
        try:
            if kind == "Integer":
                found[name] = int(text)
            elif kind == "Float":
                found[name] = float(text)
            elif kind == "Boolean":
                found[name] = text.lower() in ("1", "true")
            elif kind in ("Enumeration", "String") and text:
                found[name] = text
        except ValueError:
            continue
    return found


def _chosen(features: dict[str, Any]) -> dict[str, Any]:
    """Return what of a list belongs into a bench."""
    found: dict[str, Any] = {
        name: features[name]
        for name in _TAKEN
        if name in features and features.get(_ADJUSTED_BY.get(name, ""), "Off") == "Off"
    }
    if features.get("TriggerMode") == "On":
        selector = features.get("TriggerSelector")
        end = f"[TriggerSelector={selector}]" if selector else ""
        found |= {f"{name}{end}": features[name] for name in _TRIGGER if name in features}
    return found
