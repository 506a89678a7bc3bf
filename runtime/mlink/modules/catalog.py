"""The module types that come with the runtime, and their settings; nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.modules.script.program_settings import ProgramSettings, program_command, program_ports
from mlink.modules.script.settings import ScriptSettings, script_ports
from mlink.modules.video.choices import VideoCodec, VideoContainer, video_problems
from mlink.types import DataType


class TableSettings(ModuleSettings):
    """Settings of a `table` module."""

    use_name_from_source: bool = True
    """Name the dataset as the stream proposes; else `data_name`."""
    data_name: str = ""
    save_data: bool = True
    display_data: bool = True
    """Kept for benches made for Syntalos; nothing is displayed here."""


class VideoRecorderSettings(ModuleSettings):
    """Settings of a `videorecorder` module."""

    video_name_from_source: bool = True
    """Name the dataset as the stream proposes; else `video_name`."""
    video_name: str = ""
    video_codec: VideoCodec = "ffv1"
    video_container: VideoContainer = "matroska"
    lossless: bool = False
    """For codecs that can do either; FFV1 and raw always are."""
    mode: Literal["constant-quality", "constant-bitrate"] = "constant-quality"
    quality: int | None = None
    """Quantiser of constant quality, smaller is better; None is the codec's default."""
    bitrate_kbps: int | None = None
    """Target of constant bitrate; None is the codec's default."""
    threads: int = 0
    """Threads of the encoder; 0 takes as many as the module may use processors."""
    slices_enabled: bool = False
    """Begin a new file each `slices_interval`."""
    slices_interval: float = 5.0
    """Length of a slice in minutes, counted from a section's first frame."""
    deferred_encode_enabled: bool = False
    """Record raw pictures, and encode them when the run is over (`mlink encode`)."""
    deferred_encode_instant_start: bool = True
    """Have `mlink run` encode at once after the run."""
    deferred_encode_parallel_count: int = 4
    """Files that are encoded at the same time."""
    start_stopped: bool = False
    """Wait for a START command on `control-in` before recording."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Refuse what the codec or the container cannot do."""
        problems = video_problems(
            self.video_codec,
            self.video_container,
            lossless=self.lossless,
            bitrate=self.mode == "constant-bitrate",
            quality=self.quality,
        )
        if self.slices_interval <= 0:
            problems.append("slices_interval: must be more than 0 minutes")
        if self.bitrate_kbps is not None and self.bitrate_kbps <= 0:
            problems.append("bitrate_kbps: must be more than 0")
        if self.deferred_encode_enabled and self.video_codec == "raw":
            problems.append("deferred_encode_enabled: raw pictures are not encoded, also not later")
        if self.deferred_encode_parallel_count < 1:
            problems.append("deferred_encode_parallel_count: must be at least 1")
        return problems


table = ModuleType(
    id="table",
    title="Table",
    summary="Writes table rows to a CSV file.",
    category=Category.WRITER,
    settings=TableSettings,
    implementation="mlink.modules.data.table:TableModule",
    inputs=(PortSpec("rows", DataType.TableRow, "Rows"),),
)

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
)

pyscript = ModuleType(
    id="pyscript",
    title="Python Script",
    summary="Runs a user's script that does `import syntalos_mlink`.",
    category=Category.SCRIPT,
    settings=ScriptSettings,
    implementation="mlink.modules.script.pyscript:ScriptModule",
    ports=script_ports,
)

python = ModuleType(
    id="python",
    title="Python Program",
    summary="Runs a program that calls `init_link()` as a module, in the Python that you name.",
    category=Category.SCRIPT,
    settings=ProgramSettings,
    implementation="mlink.worker.standalone:StandaloneModule",
    ports=program_ports,
    program=program_command,
)
