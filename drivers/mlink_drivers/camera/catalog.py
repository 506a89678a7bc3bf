"""The module type `camera-generic`: its settings and ports.

It is imported wherever module types are listed, so it must not import OpenCV or the backends.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from mlink.errors import DeviceError
from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec, Request
from mlink.types import DataType
from mlink_drivers.camera.addresses import GENICAM, V4L2, find_backend, refuse_wrong_form, scheme_of
from mlink_drivers.trigger import (
    ANSWERS_OUTPUT,
    EDGES_INPUT,
    EDGES_OUTPUT,
    Strobe,
    Trigger,
    answers_input,
)

AUTO = "auto"
_SILENCE_SEC = 2.0
CONTROLS = (
    "power_line_frequency",
    "exposure",
    "gain",
    "white_balance",
    "focus",
    "brightness",
    "contrast",
    "saturation",
    "hue",
)
"""Controls with a key of their own, in the order in which they are set."""


class CameraSettings(ModuleSettings):
    """Keys of a `camera-generic` table."""

    size: tuple[int, int] | None = None
    """Width and height in pixels; None is 640 × 480, or what a GenICam camera is set to. A file has
    its own."""
    framerate: float | None = None
    """Frames per second; None is 30, or what a network camera states. A file has its own."""
    silence_limit: float | None = None
    """Without a frame for this long (s) the camera is lost; None is 2 s or three frame periods,
    whichever is longer."""
    open_timeout: float = 5.0
    """Longest wait for the first picture of a camera, in s."""
    pixel_format: str = ""
    """As the camera names it: four characters of V4L2 such as "MJPG", "YUYV" or "GREY", a GenICam
    name such as "Mono12Packed" or "BayerRG8"; empty: the driver's choice."""
    convert: bool = True
    """Whether raw pictures become BGR; else they are sent in the camera's own layout: two bytes for
    each pixel of YUYV, one value for each of a Bayer pattern."""
    exposure: float | str | None = None
    """Exposure time in µs, or "auto"."""
    gain: float | str | None = None
    """In the camera's own unit, or "auto"."""
    white_balance: float | str | None = None
    """Colour temperature in K, or "auto"."""
    focus: float | str | None = None
    """In the camera's own unit, or "auto"."""
    power_line_frequency: int | str | None = None
    """50 or 60 (Hz), "off" or "auto": suppresses the flicker of lamps."""
    brightness: float | None = None
    """In the camera's own unit."""
    contrast: float | None = None
    """In the camera's own unit."""
    saturation: float | None = None
    """In the camera's own unit."""
    hue: float | str | None = None
    """In the camera's own unit, or "auto"."""
    controls: dict[str, bool | int | float | str] = {}
    """Any other V4L2 control, by its name in `v4l2-ctl --list-ctrls`."""
    features: dict[str, bool | int | float | str] = {}
    """GenICam features by name, in the order in which to set them; also the settings of a backend
    of another package."""
    strict: bool = False
    """Whether a setting that the camera does not adopt as requested fails the run."""
    roi: tuple[int, int, int, int] | None = None
    """Region of interest: x, y, width and height in pixels; only this part is sent."""
    greyscale: bool = False
    """Whether colour pictures are converted to grey."""
    loop: bool = False
    """Whether a file starts again at its end."""
    paced: bool = True
    """Whether a file plays at its own pace; else it is read as fast as possible."""
    end_of_source: Literal["stop", "idle"] = "stop"
    """At the end of a file: end the run as a success, or only stop sending."""
    on_loss: Literal["stop", "continue"] = "stop"
    """When the camera is lost: end the run as a failure, or wait until it is back."""
    on_reconnect: Literal["stop", "continue"] = "continue"
    """When it is back: end the run as a success, or continue the stream after a marked gap."""
    affinity: tuple[int, ...] = ()
    """Processors on which the capture thread may run; empty: all."""
    trigger: Trigger | None = None
    """The train of a board's chip that triggers the camera, and gives frames their times."""
    strobe: Strobe | None = None
    """The camera's own line at a board, whose edges give frames their times."""
    camera: int | None = None
    """Number N of /dev/videoN, for a module without a device; as in Syntalos. Last resort."""

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be two positive numbers of pixels, not {self.size}")
        for name in ("framerate", "silence_limit", "open_timeout"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be more than 0, not {value}")
        if not self.pixel_format.isprintable():
            raise ValueError(f"pixel_format must be a name, not {self.pixel_format!r}")
        if self.greyscale and not self.convert:
            raise ValueError("greyscale = true needs convert = true")
        for name in ("exposure", "gain", "white_balance", "focus", "hue"):
            wish = getattr(self, name)
            if isinstance(wish, str) and wish != AUTO:
                raise ValueError(f"{name} must be a number or \"{AUTO}\", not '{wish}'")
        if self.roi is not None and (min(self.roi) < 0 or min(self.roi[2:]) < 1):
            raise ValueError(f"roi must be [x, y, width, height] in pixels, not {list(self.roi)}")
        if self.roi is not None and not self.convert and any(n % 2 for n in self.roi):
            raise ValueError(
                "roi must have even numbers with convert = false: pixels share colours"
            )

        if self.trigger is not None and self.strobe is not None:
            raise ValueError("trigger and strobe: a frame can have one source of its time only")
        if self.trigger is not None and self.framerate is None:
            self.framerate = self.trigger.rate_hz

    @property
    def edges(self) -> Trigger | Strobe | None:
        """Where frames have their times from, if it is a board."""
        return self.trigger or self.strobe

    @property
    def is_triggered(self) -> bool:
        """Whether the camera's own rate follows from a trigger, and is none of its settings."""
        return self.trigger is not None and self.framerate == self.trigger.rate_hz

    @property
    def silence_sec(self) -> float:
        """Without a frame for this long (s), the camera is lost."""
        if self.silence_limit is not None:
            return self.silence_limit
        return max(_SILENCE_SEC, 3 / self.framerate) if self.framerate else _SILENCE_SEC

    def all_controls(self) -> dict[str, bool | int | float | str]:
        """Return the controls to set by name, in the order in which to set them."""
        named = {name: getattr(self, name) for name in CONTROLS}
        given = {name: wish for name, wish in named.items() if wish is not None}
        return given | self.controls | self.features


def what_is_wrong(settings: CameraSettings, device: str) -> tuple[str, str]:
    """Return (why no backend can open such a device string, what to do); ("", "") if one can.

    Args:
        settings: The module's settings.
        device: Device string of the bench; "" for the numbered camera of the settings.
    """
    try:
        if device:
            find_backend(device)
            refuse_wrong_form(device)
        scheme = scheme_of(device) if device else V4L2
        if scheme == GENICAM:
            from mlink_drivers.camera.genicam.finding import conditions

            conditions(device)
    except DeviceError as error:
        return error.message, error.remedy
    name = settings.pixel_format
    if scheme == V4L2 and name and not (len(name) == 4 and name.isascii()):
        return (
            f"pixel_format: {name!r} is no V4L2 format, which has 4 characters",
            'Write for example "MJPG", "YUYV" or "GREY"; `mlink devices --modes` lists them.',
        )
    return "", ""


def absent_camera(device: str) -> str:
    """Return why a device string means no camera or file that is there now; "" if it does."""
    scheme, _, rest = device.partition(":")
    if scheme in ("file", "images"):
        path = rest.partition("?")[0]
        return "" if Path(path).exists() else f"there is no {path}"
    if device.startswith("/"):
        return "" if Path(device).exists() else f"there is no {device} now"
    if scheme == "usb":
        from mlink_drivers.camera.v4l2.identity import find_camera

        try:
            find_camera(device)
        except DeviceError as error:
            return error.message
    return ""


def why_not_virtual(settings: CameraSettings, device: str) -> str:
    """Return why a camera cannot run in virtual time; "" if it can.

    Backends are imported only here, for benches that ask for virtual time.

    Args:
        settings: The module's settings.
        device: Device string of the bench; "" for the numbered camera of the settings.
    """
    from mlink_drivers.camera.backend import PacedCamera, make_backend, shown_address

    address = device or f"/dev/video{settings.camera}"
    try:
        backend = make_backend(address)
    except DeviceError:
        return ""  # the run reports it
    if not isinstance(backend, PacedCamera):
        return f"camera {shown_address(address)} runs in real time only"
    if not settings.paced:
        return f"{shown_address(address)} runs in real time only, as paced = false"
    return ""


_INPUTS = (PortSpec("control-in", DataType.ControlCommand, "Control"),)
_OUTPUTS = (
    PortSpec("video", DataType.Frame, "Video"),
    PortSpec("changes", DataType.TableRow, "Changes"),
)


def _ports(settings: CameraSettings) -> Ports:
    if settings.edges is None:
        return _INPUTS, _OUTPUTS
    edges = PortSpec(EDGES_INPUT, DataType.TableRow, "Edges")
    return (*_INPUTS, edges), (*_OUTPUTS, PortSpec(ANSWERS_OUTPUT, DataType.TableRow, "Trigger"))


def _requests(settings: CameraSettings, name: str) -> tuple[Request, ...]:
    wanted = settings.edges
    if wanted is None:
        return ()
    request = Request(
        "trigger.board" if settings.trigger else "strobe.board",
        wanted.board,
        wanted.wish(),
        ((EDGES_INPUT, EDGES_OUTPUT),),
        ((ANSWERS_OUTPUT, answers_input(name)),),
    )
    return (request,)


camera_generic = ModuleType(
    id="camera-generic",
    title="Camera",
    summary="Frames of a camera, a video file or a rendered scene, stamped when taken",
    category=Category.DEVICE,
    settings=CameraSettings,
    implementation="mlink_drivers.camera.module:CameraModule",
    inputs=_INPUTS,
    outputs=_OUTPUTS,
    ports=_ports,
    requests=_requests,
    uses_device=True,
    wrong_device=what_is_wrong,
    absent_device=absent_camera,
    virtual_time=why_not_virtual,
)
