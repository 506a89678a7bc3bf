"""What modules of a Syntalos project become: their type, settings, files and devices in a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import msgspec

from mlink.catalog import module_type, module_types
from mlink.modules.actions.catalog import NULL_DEVICE, AudioSettings
from mlink.modules.signals.catalog import PlotSettings
from mlink.types import DataType
from mlink_hil.syct.archive import ProjectModule
from mlink_hil.syct.genicam import genicam_settings

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
_WRITERS: Final = ("jsonwriter", "zarrwriter")
"""Writers of signals."""
_SAME: Final = {
    "table": "table",
    "videotransform": "videotransform",
    "canvas": "canvas",
    "latencycheck": "latencycheck",
    "devel.latencycheck": "latencycheck",
    "devel.datasource": "devel.datasource",
    "devel.clock": "devel.clock",
    "flowmeter": "flowmeter",
    "signalfilter": "signalfilter",
    "prism": "prism",
    "triled-tracker": "triled-tracker",
    "runcmd": "runcmd",
    "hwline-userctl": "hwline-userctl",
    "firmata-userctl": "hwline-userctl",
}
"""Modules that are the same here: their type by their id there; keys that it knows are taken."""
NEED_INPUT: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        [
            "table",
            "videotransform",
            "jsonwriter",
            "zarrwriter",
            "signalfilter",
            "prism",
            "triled-tracker",
        ],
        (),
    ),
    "videorecorder": ("frames-in",),
    "latencycheck": ("line-a-in",),
    "devel.latencycheck": ("line-a-in",),
}
"""Modules that take no part in a run without a source of one of these inputs; () is any."""
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
        settings: Its settings, with those that modules of every type have.
        device: Device string of the real device; "" for a module without one.
        stand_in: Device string of a virtual device that stands in for it.
        off: Settings with which it needs no hardware, where it is no device.
        files: Files beside the bench, by name.
        notes: What is not as in the project.
    """

    type: str
    settings: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    stand_in: str = ""
    off: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def converted(module: ProjectModule, key: str) -> Made | None:
    """Return what a module becomes under the name `key`; None where mlink has no such module."""
    if module.id in _SAME:
        type_id = _SAME[module.id]
        return Made(type_id, _known(module.settings, module_type(type_id).settings))
    convert = _CONVERTERS.get(module.id)
    if convert is not None:
        return convert(module, key)
    found = module_types().get(module.id)
    if found is None or not (folder := getattr(found.settings, "folder", "")):
        return None
    files = {f"{key}.settings": module.data} if module.data else {}
    settings = {"show_display": True} if module.shown else {}
    return Made(module.id, settings, files=files, notes=[f"it is the module in {folder}"])


def port_of(module: ProjectModule, port: str) -> str:
    """Return the present id of an input port of 2.x."""
    return _OLD_PORTS.get(port, port) if module.id in _WRITERS else port


SOURCES: Final = {"cpp-workbench": "cpp", "intan-rhx": "xml"}
"""Modules that mlink lacks, whose extra data is worth a look: the ending of its file."""


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


def _workbench(module: ProjectModule, key: str) -> Made:
    made = _script(module, key)
    made.type = "upy-workbench"
    made.device = _serial_port(module) or "/dev/ttyACM0"
    made.stand_in = "virtual:micropython"
    return made


def _board(module: ProjectModule, _key: str) -> Made:
    return Made("firmata-io", device=_serial_port(module) or "firmata:", stand_in="virtual:uno")


def _serial_port(module: ProjectModule) -> str:
    """Return the path of a module's port, which may be stored as a name; "" for none."""
    port = str(module.settings.get("serial_port") or "").strip()
    return f"/dev/{port}" if port and not {"/", ":"} & set(port) else port


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


def _genicam(module: ProjectModule, key: str) -> Made:
    camera = genicam_settings(module.settings, module.data)
    files = {}
    if module.data:
        files[f"{key}.features.txt"] = module.data
        camera.notes.append(
            f"all features of the camera as the project has them: {key}.features.txt"
        )
    return Made(
        "camera-generic", camera.settings, camera.device, "virtual:scene", files=files,
        notes=camera.notes,
    )  # fmt: skip


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
        if number != "quality" or stored.get("video_codec") != _MPEG4:  # of another scale
            settings |= _kept(stored, number)
    minutes = stored.get("slices_interval", 0)
    if stored.get("slices_enabled") and isinstance(minutes, int | float) and minutes > 0:
        settings |= {"slices_enabled": True, "slices_interval": float(minutes)}
    if stored.get("vaapi_enabled"):
        notes.append("it encodes on the processor, not by VA-API")
    return Made("videorecorder", settings, notes=notes)


def _writer(module: ProjectModule, _key: str) -> Made:
    """Take a writer of signals; files of 2.x lack its type, which the connected port shows."""
    settings = _known(module.settings, module_type(module.id).settings)
    for port in (port_of(module, each) for each in module.inputs):
        if port in _INPUT_TYPES:
            settings.setdefault("input_type", _INPUT_TYPES[port])
    return Made(module.id, settings)


def _plot(module: ProjectModule, _key: str) -> Made:
    """Take a plot; of files of 2.x its connections alone show its inputs."""
    settings = _known(module.settings, PlotSettings)
    old = {"fpsig": "SignalBlockF32", "intsig": "SignalBlockI32"}
    ports = [
        {"id": port, "title": port, "data_type": data_type}
        for port in module.inputs
        for prefix, data_type in old.items()
        if port.startswith(prefix)
    ]
    if "ports_in" not in settings and ports:
        settings["ports_in"] = ports
    return Made("plot-timeseries", settings)


def _audio(module: ProjectModule, _key: str) -> Made:
    settings, notes = _known(module.settings, AudioSettings), []
    if named := settings.pop("device_id", ""):
        notes.append(f"it plays on the usual sound device, not on '{named}'")
    return Made("audiosource", settings, off={"device_id": NULL_DEVICE}, notes=notes)


def _known(settings: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the settings that a table of ours has, too; also in its lists of tables."""
    found = {}
    for field_ in msgspec.structs.fields(kind):
        value = settings.get(field_.name)
        (item, *_) = get_args(field_.type) or (None,)
        if isinstance(value, list) and isinstance(item, type) and issubclass(item, msgspec.Struct):
            value = [_known(each, item) if isinstance(each, dict) else each for each in value]
        if field_.name in ("input_type", "data_type") and isinstance(value, str):
            known = DataType.__members__.get(value)  # FloatSignalBlock of 2.x is SignalBlockF32
            value = known.name if known is not None else value
        if value is not None:
            found[field_.name] = value
    return found


def _kept(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


_CONVERTERS: Final[dict[str, Callable[[ProjectModule, str], Made]]] = {
    "pyscript": _script,
    "upy-workbench": _workbench,
    "firmata-io": _board,
    "camera-generic": _camera,
    "camera-arv": _genicam,
    "videorecorder": _recorder,
    "audiosource": _audio,
    "plot-timeseries": _plot,
    **dict.fromkeys(_WRITERS, _writer),
}

_CAMERA: Final = "a camera-generic module with your camera, or with virtual:scene"
_INSTEAD: Final = {
    **dict.fromkeys(
        ["camera-lc", "camera-flir", "camera-tis", "camera-ueye", "miniscope"],
        _CAMERA,
    ),
    "cpp-workbench": "a pyscript module with its ports, and its program in Python",
    **dict.fromkeys(
        ["intan-rhx", "open-ephys-acq"], "a devel.datasource module, for trials without the device"
    ),
    **dict.fromkeys(
        ["galdur-stim", "onix-commutator", "sp210-pressuresense"],
        "a pyscript module that speaks to the device",
    ),
}
