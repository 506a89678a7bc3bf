"""Module type of the video recorder, and its settings; nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.modules.video.choices import (
    VideoCodec,
    VideoContainer,
    VideoTimestamps,
    video_problems,
)
from mlink.types import DataType


class VideoRecorderSettings(ModuleSettings):
    """Settings of a `videorecorder` module."""

    video_name_from_source: bool = True
    """Name the dataset as the stream proposes, or after its source; if false, use `video_name`."""
    video_name: str = ""
    """Name of the dataset, without `video_name_from_source`."""
    video_codec: VideoCodec = "ffvhuff"
    """Codec; FFVHuff loses nothing and is fast."""
    video_container: VideoContainer = "matroska"
    """Kind of the file: .mkv, .mp4 or .avi."""
    timestamps: VideoTimestamps = "constant"
    """"constant": frame N of a file is at N over the rate, so that every program finds it by its
    number; the tsync file has the true times. "true": master times, for players."""
    lossless: bool = False
    """For codecs with a lossless mode; FFVHuff, FFV1 and raw are always lossless."""
    mode: Literal["constant-quality", "constant-bitrate"] = "constant-quality"
    """Whether `quality` or `bitrate_kbps` rules, for codecs that lose."""
    quality: int | None = None
    """Quantiser for constant quality (smaller is better); None is the default of the codec."""
    bitrate_kbps: int | None = None
    """Target for constant bitrate; None is the default of the codec."""
    threads: int = 0
    """Threads of the encoder; 0 uses one per processor that the module may use."""
    slices_enabled: bool = False
    """Start a new file every `slices_interval`."""
    slices_interval: float = 5.0
    """Length of a slice in minutes, from the first frame of a section."""
    deferred_encode_enabled: bool = False
    """Record raw pictures, and encode them after the run (`mlink encode`)."""
    deferred_encode_instant_start: bool = True
    """Encode right after the run, in `mlink run`."""
    deferred_encode_parallel_count: int = 4
    """Number of files encoded at the same time."""
    start_stopped: bool = False
    """Wait for a START command on `control-in` before recording."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Return the settings that codec or container do not support.

        Returns:
            Each problem as "key: what"; empty when there is none.
        """
        problems = video_problems(
            self.video_codec,
            self.video_container,
            lossless=self.lossless,
            bitrate=self.mode == "constant-bitrate",
            quality=self.quality,
        )
        if self.timestamps == "true" and self.video_container == "avi":
            problems.append("timestamps: avi stores no times; matroska and mp4 do")
        if self.slices_interval <= 0:
            problems.append("slices_interval: must be more than 0 minutes")
        if self.bitrate_kbps is not None and self.bitrate_kbps <= 0:
            problems.append("bitrate_kbps: must be more than 0")
        if self.deferred_encode_enabled and self.video_codec == "raw":
            problems.append("deferred_encode_enabled: the codec raw has nothing to encode later")
        if self.deferred_encode_parallel_count < 1:
            problems.append("deferred_encode_parallel_count: must be at least 1")
        return problems


videorecorder = ModuleType(
    id="videorecorder",
    title="Video Recorder",
    summary="Writes frames to a video file, with the time of each frame in a tsync file.",
    category=Category.WRITER,
    settings=VideoRecorderSettings,
    implementation="mlink.modules.video.recorder:VideoRecorderModule",
    inputs=(
        PortSpec("frames-in", DataType.Frame, "Frames"),
        PortSpec("control-in", DataType.ControlCommand, "Control"),
    ),
    virtual_time=True,
)
