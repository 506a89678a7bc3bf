"""The module type `camera-generic`: its settings and ports, without importing OpenCV."""

from __future__ import annotations

import math
from typing import Literal

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType


class CameraSettings(ModuleSettings):
    """Keys of a `camera-generic` table."""

    size: tuple[int, int] = (640, 480)
    """Width and height in pixels; a file has its own."""
    framerate: float = 30.0
    """Frames per second; a file has its own."""
    pixel_format: str = ""
    """Four characters, such as "MJPG", "YUYV" or "GREY"; empty: the driver's choice."""
    strict: bool = False
    """Whether a camera that does not take a setting as asked fails the run."""
    loop: bool = False
    """Whether a file begins anew at its end."""
    paced: bool = True
    """Whether a file keeps its own pace; else it is read as fast as possible."""
    end_of_source: Literal["stop", "idle"] = "stop"
    """What the end of a file does: end the run as a success, or send nothing more."""
    camera: int | None = None
    """Syntalos' camera number: /dev/videoN, for a module without a device. Last resort."""

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"size must be two positive numbers of pixels, not {self.size}")
        if not (math.isfinite(self.framerate) and self.framerate > 0):
            raise ValueError(f"framerate must be more than 0, not {self.framerate}")
        if self.pixel_format and len(self.pixel_format) != 4:
            raise ValueError(f"pixel_format must have 4 characters, not '{self.pixel_format}'")


camera_generic = ModuleType(
    id="camera-generic",
    title="Camera",
    summary="Frames of a camera, a video file or a rendered scene, stamped when taken",
    category=Category.DEVICE,
    settings=CameraSettings,
    implementation="mlink_drivers.camera.module:CameraModule",
    outputs=(PortSpec("video", DataType.Frame, "Video"),),
    uses_device=True,
)
