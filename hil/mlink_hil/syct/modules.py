"""What modules of a Syntalos project become: their type, settings, files and devices in a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mlink_hil.syct.archive import ProjectModule

_CODECS: Final = {1: "raw", 2: "ffv1", 3: "av1", 4: "vp9", 5: "h264", 6: "hevc", 7: "h264"}
_MPEG4: Final = 7
_CONTAINERS: Final = {1: "matroska", 2: "avi"}
_MODES: Final = ("constant-quality", "constant-bitrate")
_LOSSLESS: Final = ("raw", "ffv1")
_FORMATS: Final = {"Motion-JPEG": "MJPG", "YUYV 4:2:2": "YUYV"}
_OLD_PORTS: Final = {"intsig1-in": "i32sig-in", "fpsig1-in": "f32sig-in"}
_INPUT_TYPES: Final = {
    "f32sig-in": "SignalBlockF32",
    "i32sig-in": "SignalBlockI32",
    "u16sig-in": "SignalBlockU16",
    "rows-in": "TableRow",
    "lines-in": "LineReading",
}
_WRITERS: Final = {
    "jsonwriter": (
        "input_type", "use_name_from_source", "data_name", "format", "record_all",
        "recorded_entries", "available_entries",
    ),
    "zarrwriter": ("input_type", "use_name_from_source", "data_name"),
}  # fmt: skip
"""Writers of signals, with their settings."""
_LATENCY: Final = ("mode", "trigger_edge", "ack_line", "ack_pulse_ms", "histogram_bins")
_SAME: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "table": ("table", ("use_name_from_source", "data_name", "save_data", "display_data")),
    "videotransform": ("videotransform", ("video_transform",)),
    "canvas": ("canvas", ("highlight_saturation", "histogram_visible")),
    "latencycheck": ("latencycheck", _LATENCY),
    "devel.latencycheck": ("latencycheck", _LATENCY),
    "devel.datasource": (
        "devel.datasource",
        ("fps", "color_video", "sample_rate", "test_freq_low", "test_freq_high"),
    ),
    "devel.clock": ("devel.clock", ("interval_us", "high_priority")),
    "flowmeter": ("flowmeter", ("data_type",)),
}
"""Modules that are the same here: by their id there, the type and the settings that are taken."""
_CAMERA_CONTROLS: Final = {
    "exposure": 10.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 55.0,
    "hue": 0.0,
    "gain": 0.0,
}
"""Controls of `camera-generic` with the values that Syntalos stores when nobody changed them."""


@dataclass(slots=True)
class Made:
    """What a module becomes.

    Attributes:
        type: Type of the module in the bench.
        settings: Its settings.
        device: Device string of the real device; "" for a module without one.
        stand_in: Device string of a virtual device that stands in for it.
        files: Files beside the bench, by name.
        notes: What is not as in the project.
    """

    type: str
    settings: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    stand_in: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def converted(module: ProjectModule, key: str) -> Made | None:
    """Return what a module becomes under the name `key`; None where mlink has no such module."""
    if module.id in _SAME:
        type_id, names = _SAME[module.id]
        return Made(type_id, _kept(module.settings, *names))
    convert = _CONVERTERS.get(module.id)
    return None if convert is None else convert(module, key)


def port_of(module: ProjectModule, port: str) -> str:
    """Return the present id of an input port of 2.x."""
    return _OLD_PORTS.get(port, port) if module.id in _WRITERS else port


def could_stand_in(type_id: str) -> str:
    """Return what could do the work of a module that mlink lacks; "" if nothing does."""
    return _INSTEAD.get(type_id, "")


def _script(module: ProjectModule, key: str) -> Made:
    name = f"{key}.py"
    settings: dict[str, Any] = {"script": name}
    for side in ("ports_in", "ports_out"):
        given = module.settings.get(side)
        settings[side] = [
            {word: str(port[word]) for word in ("id", "title", "data_type") if port.get(word)}
            for port in (given if isinstance(given, list) else [])
            if isinstance(port, dict)
        ]
    return Made("pyscript", settings, files={name: module.data})


def _board(module: ProjectModule, _key: str) -> Made:
    port = str(module.settings.get("serial_port") or "")
    return Made("firmata-io", device=port or "firmata:", stand_in="virtual:uno")


def _camera(module: ProjectModule, _key: str) -> Made:
    stored, notes = module.settings, []
    settings: dict[str, Any] = {}
    if {"width", "height"} <= set(stored):
        settings["size"] = [stored["width"], stored["height"]]
    if "fps" in stored:
        settings["framerate"] = float(stored["fps"])
    if wanted := stored.get("capture_format"):
        if wanted in _FORMATS:
            settings["pixel_format"] = _FORMATS[wanted]
        else:
            notes.append(f"its format '{wanted}' is left to the camera")
    changed = [
        f"{name} = {stored[name]:g}"
        for name, usual in _CAMERA_CONTROLS.items()
        if isinstance(stored.get(name), int | float) and float(stored[name]) != usual
    ]
    if changed:
        controls = ", ".join(changed)
        notes.append(f"its controls ({controls}) are not taken: set them in the camera's own units")
    number = stored.get("camera")
    number = number if isinstance(number, int) and number >= 0 else 0
    return Made("camera-generic", settings, f"/dev/video{number}", "virtual:scene", notes=notes)


def _recorder(module: ProjectModule, _key: str) -> Made:
    stored, notes = module.settings, []
    settings = _kept(
        stored, "video_name_from_source", "video_name", "start_stopped", "deferred_encode_enabled",
        "deferred_encode_instant_start", "deferred_encode_parallel_count",
    )  # fmt: skip
    codec = _CODECS.get(stored.get("video_codec", 2), "")
    if not codec:
        notes.append(f"its codec number {stored['video_codec']!r} is unknown: FFV1 is taken")
        codec = "ffv1"
    if stored.get("video_codec") == _MPEG4:
        notes.append("its codec MPEG-4 is H.264 here")
    settings["video_codec"] = codec
    container = _CONTAINERS.get(stored.get("video_container", 1), "matroska")
    if container == "avi" and codec != "raw":
        notes.append(f"its container AVI is Matroska here, which {codec} needs")
        container = "matroska"
    settings["video_container"] = container
    lossless = bool(stored.get("lossless")) and codec not in _LOSSLESS
    if lossless:
        settings["lossless"] = True
    elif codec not in _LOSSLESS and stored.get("mode") in _MODES:
        settings["mode"] = stored["mode"]
        number = "quality" if stored["mode"] == "constant-quality" else "bitrate_kbps"
        settings |= _kept(stored, number)
    minutes = stored.get("slices_interval", 0)
    if stored.get("slices_enabled") and isinstance(minutes, int | float) and minutes > 0:
        settings |= {"slices_enabled": True, "slices_interval": float(minutes)}
    if stored.get("vaapi_enabled"):
        notes.append("it encodes on the processor, not by VA-API")
    return Made("videorecorder", settings, notes=notes)


def _writer(module: ProjectModule, _key: str) -> Made:
    """Take a writer of signals; files of 2.x lack its type, which the connected port shows."""
    settings = _kept(module.settings, *_WRITERS[module.id])
    for port in (port_of(module, each) for each in module.inputs):
        if port in _INPUT_TYPES:
            settings.setdefault("input_type", _INPUT_TYPES[port])
    return Made(module.id, settings)


def _kept(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


_CONVERTERS: Final[dict[str, Callable[[ProjectModule, str], Made]]] = {
    "pyscript": _script,
    "firmata-io": _board,
    "camera-generic": _camera,
    "videorecorder": _recorder,
    **dict.fromkeys(_WRITERS, _writer),
}

_CAMERA: Final = "a camera-generic module with your camera, or with virtual:scene"
_INSTEAD: Final = {
    **dict.fromkeys(
        ["camera-arv", "camera-lc", "camera-flir", "camera-tis", "camera-ueye", "miniscope"],
        _CAMERA,
    ),
    "prism": "a videotransform module",
    "plot-timeseries": "a jsonwriter or zarrwriter module, which records what it drew",
    "hwline-userctl": "`mlink board`, or a script",
    "firmata-userctl": "`mlink board`, or a script",
    "upy-workbench": "a firmata-io module with a board that runs Firmata",
    "signalfilter": "a pyscript module with scipy.signal.sosfilt",
    "runcmd": "a python module that starts the program",
}
