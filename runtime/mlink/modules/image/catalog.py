"""Module types that transform and show frames, and their settings; imports nothing heavy."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.types import DataType

KINDS = ("crop", "scale", "rotate", "mirror", "greyscale", "falsecolor", "histnorm")
_SPELLINGS = {"grayscale": "greyscale"}


class TransformSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One entry of `video_transform`.

    Only the keys of its type have an effect, e.g. `crop_x` for a crop.
    """

    type: str
    """crop, scale, rotate, mirror, greyscale, falsecolor or histnorm. The class names of Syntalos
    ("CropTransform") are accepted too."""
    crop_x: int = 0
    """Left edge of a crop, in pixels."""
    crop_y: int = 0
    """Upper edge of a crop, in pixels."""
    crop_width: int = 0
    """In pixels; 0 extends to the right edge."""
    crop_height: int = 0
    """In pixels; 0 extends to the lower edge."""
    scale_factor: float = 1.0
    """Factor of width and height, above 0."""
    rotation_degrees: float = 90.0
    """Clockwise. The result is enlarged so that it contains all corners."""
    mirror_axis: Literal["x", "y"] = "x"
    """"x": upside down; "y": left and right exchanged."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"type '{self.type}' is not one of {', '.join(KINDS)}")
        if min(self.crop_x, self.crop_y, self.crop_width, self.crop_height) < 0:
            raise ValueError("crop_x, crop_y, crop_width and crop_height cannot be negative")
        if not (math.isfinite(self.scale_factor) and self.scale_factor > 0):
            raise ValueError(f"scale_factor must be more than 0, not {self.scale_factor}")
        if not math.isfinite(self.rotation_degrees):
            raise ValueError("rotation_degrees must be a number")

    @property
    def kind(self) -> str:
        """The type in lower case, without namespace and "Transform"."""
        name = re.split(r"::|\.", self.type)[-1].removesuffix("Transform").lower()
        return _SPELLINGS.get(name, name)


class VideoTransformSettings(ModuleSettings):
    """Settings of a `videotransform` module."""

    video_transform: list[TransformSettings] = []
    """Transforms, applied in this order; without any, frames pass unchanged."""


class CanvasSettings(ModuleSettings):
    """Settings of a `canvas` module."""

    max_framerate: float = 30.0
    """Largest number of drawings per second."""
    title: str = ""
    """Title of the window; "" uses the name of the module."""
    highlight_saturation: bool = False
    """Paint saturated pixels red."""
    histogram_visible: bool = False
    """For compatibility with benches of Syntalos; has no effect."""

    def __post_init__(self) -> None:
        if not 0 < self.max_framerate <= 1000:
            raise ValueError(f"max_framerate must be within 0 and 1000, not {self.max_framerate}")


SPLIT, COMBINE, GREY = 0, 1, 2


class PrismSettings(ModuleSettings):
    """Settings of a `prism` module."""

    mode: Literal[0, 1, 2] = 0
    """0: split frames into channels, 1: combine channels, 2: make frames grey."""
    ch_r: bool = True
    """Red: one of the channels to split into, or to combine."""
    ch_g: bool = True
    """Green."""
    ch_b: bool = True
    """Blue."""
    ch_a: bool = False
    """Alpha."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Refuse a prism without channels.

        Returns:
            Each problem as "key: what".
        """
        if self.mode == GREY or self.ch_r or self.ch_g or self.ch_b or self.ch_a:
            return []
        return ["ch_r: choose at least one channel"]


def _prism_ports(settings: PrismSettings) -> Ports:
    whole, grey = PortSpec("frames-in", DataType.Frame, "Frames"), DataType.Frame
    channels = tuple(
        PortSpec(f"frames-{name}", grey, title)
        for name, title in (("r", "Red"), ("g", "Green"), ("b", "Blue"), ("a", "Alpha"))
        if getattr(settings, f"ch_{name}")
    )
    result = (PortSpec("frames-out", DataType.Frame, "Frames"),)
    if settings.mode == SPLIT:
        return (whole,), channels
    return (channels if settings.mode == COMBINE else (whole,)), result


prism = ModuleType(
    id="prism",
    title="Prism",
    summary="Splits frames into channels, combines channels, or makes frames grey.",
    category=Category.PROCESSING,
    settings=PrismSettings,
    implementation="mlink.modules.image.prism:PrismModule",
    ports=_prism_ports,
    virtual_time=True,
)

videotransform = ModuleType(
    id="videotransform",
    title="Video Transformer",
    summary="Crops, scales, rotates, mirrors or recolours frames; their times do not change.",
    category=Category.PROCESSING,
    settings=VideoTransformSettings,
    implementation="mlink.modules.image.videotransform:VideoTransformModule",
    inputs=(PortSpec("frames-in", DataType.Frame, "Frames"),),
    outputs=(PortSpec("frames-out", DataType.Frame, "Transformed"),),
    virtual_time=True,
)

triled_tracker = ModuleType(
    id="triled-tracker",
    title="TriLED Tracker",
    summary="Follows a subject that wears a red, a green and a blue light.",
    category=Category.PROCESSING,
    settings=ModuleSettings,
    implementation="mlink.modules.image.triled:TriLedModule",
    inputs=(PortSpec("frames-in", DataType.Frame, "Frames"),),
    outputs=(
        PortSpec("track-video", DataType.Frame, "Tracking Visualisation"),
        PortSpec("animal-video", DataType.Frame, "Subject Visualisation"),
        PortSpec("track-data", DataType.TableRow, "Tracking Data"),
    ),
    virtual_time=True,
)

canvas = ModuleType(
    id="canvas",
    title="Canvas",
    summary="Shows the newest frame in a window, without slowing the stream.",
    category=Category.DISPLAY,
    settings=CanvasSettings,
    implementation="mlink.modules.image.canvas:CanvasModule",
    inputs=(
        PortSpec("frames-in", DataType.Frame, "Frames"),
        PortSpec("control", DataType.ControlCommand, "Control"),
    ),
    virtual_time=True,
)
