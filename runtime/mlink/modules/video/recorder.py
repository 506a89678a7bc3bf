"""The `videorecorder` module: writes frames to a video file, and their times to a tsync file.

The encoder runs in the process of the module, while frames wait in the queue of the subscription.
`control-in` accepts START, PAUSE and STOP. After PAUSE or STOP frames are skipped until START.
After PAUSE the same file continues, with a gap in its times; after STOP a new section starts in a
new file.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec.structs
from numpy.typing import NDArray

import mlink
from mlink.errors import ModuleError
from mlink.metadata import MetaSize
from mlink.module import Module
from mlink.modules.data.dataset_name import dataset_name, file_stem
from mlink.modules.data.losses import Losses
from mlink.modules.data.stream_metadata import keep_stream_metadata
from mlink.modules.video.catalog import VideoRecorderSettings
from mlink.modules.video.codecs import codec_for, frame_kind, pixel_plan
from mlink.modules.video.deferred import ATTRIBUTE, DeferredEncoding, interim_options
from mlink.modules.video.encoder_attributes import encoder_attributes, stored_pixels
from mlink.modules.video.sections import UsedBits, VideoSections
from mlink.modules.video.writer import NOMINAL_FRAMERATE, VideoOptions, VideoWriter
from mlink.storage.account import note_subscription
from mlink.storage.edl import Dataset
from mlink.storage.naming import VIDEOS
from mlink.storage.runs import Runs
from mlink.types import ControlCommand, ControlCommandKind, Frame

_TAG_DIGITS, _NAME_LENGTH = 6, 22
"""Digits of the collection's id, and letters of the dataset's name, in the name of a file."""
_RATE_TOLERANCE = 0.05
"""Relative deviation of the measured rate from the announced one that causes a warning."""
_SAVE_INTERVAL_USEC = 10_000_000
"""Shortest time between two writes of the losses. A write waits for the disk, and a recorder that
already loses frames has no time for many of them."""

_MAX_GIVEN_TIMES = 1000
"""Largest number of impossible times kept one by one; all are counted."""
_VIRTUAL_THREADS = 2
"""Default in virtual time: how pictures are cut into slices follows from the number of threads, and
the files must be the same on a machine with more processors."""


class VideoRecorderModule(Module[VideoRecorderSettings]):
    """Writes each frame when it arrives.

    The file is opened at the first frame, whose size and kind all other frames must have.
    """

    _dataset: Dataset | None = None
    _writer: VideoWriter | None = None
    _state = "recording"
    """"recording", "paused" or "stopped"."""
    _in_closed_files = 0
    """Frames in the files before the current one."""
    _to_encode = 0
    """Number of files to encode after the run."""
    _skipped = 0
    _first_usec = 0
    _last_usec = -1
    _disordered = 0
    """Frames whose time was not later than that of the frame before."""
    _first_index = 0
    _last_index = 0
    _written = 0
    _saved_usec = -_SAVE_INTERVAL_USEC

    def prepare(self) -> None:
        """Check the name of the dataset before the run."""
        self._port = self.context.inputs["frames-in"]
        self._control = self.context.inputs["control-in"]
        self._losses = Losses()
        self._indices = Runs()
        self._commands: list[dict[str, Any]] = []
        self._given_times: list[dict[str, int]] = []
        self._dataset_name()

    def start(self) -> None:
        """Create the dataset, since the metadata of the source is complete now."""
        self._port.on_item = self._on_frame
        self._port.on_gap = self._on_gap
        self._control.on_item = self._on_control
        if self.settings.start_stopped and self._control.connected:
            self._state = "stopped"
            self.context.set_status("waiting for START")
        if self._port.connected:
            self._dataset = self.context.create_dataset(self._dataset_name(), group=VIDEOS)
        self._bits = UsedBits(self._port.metadata)
        if self._dataset is not None:
            tag = self._dataset.collection_id.hex()[-_TAG_DIGITS:]
            self._sections = VideoSections(
                file_stem(
                    self._port.metadata,
                    f"{tag}-{self._dataset.name[:_NAME_LENGTH]}",
                    from_source=self.settings.video_name_from_source,
                ),
                start_stopped=self._state == "stopped",
                slice_usec=round(self.settings.slices_interval * 60e6)
                if self.settings.slices_enabled
                else None,
            )
            self._dataset.set_attribute("source_module", self._source)
            note_subscription(
                self._dataset, self.context.name, self._port.id, self._port.data_type.name
            )
            keep_stream_metadata(self._dataset, self._port.metadata)
            self._dataset.save()

    def stop(self) -> None:
        """Close the file; all frames that were sent have been written."""
        self._finish()
        self.context.report("frames_written", self._written)
        self.context.report("frames_lost", self._losses.lost)
        if self._skipped:
            self.context.report("frames_skipped", self._skipped)
        if self._disordered:
            self.context.report("frames_disordered", self._disordered)
        if self._to_encode:
            self.context.report("files_to_encode", self._to_encode)

    def close(self) -> None:
        """Close the file if `stop` was not called or failed."""
        self._finish()

    def _on_frame(self, frame: Frame) -> None:
        if self._state != "recording":
            self._skipped += 1
            return
        if self._dataset is None:
            return
        time_usec = frame.time_usec
        if time_usec <= self._last_usec:
            time_usec = self._last_usec + 1
            self._note_disordered(frame, time_usec)
        is_continued = self._uses_more_bits(frame)
        if self._sections.is_over(time_usec):
            self._close_file()
        elif self._writer is not None and (self._writer.is_full or is_continued):
            self._close_file()
            self._writer = self._open(self._dataset, frame, self._sections.continued_stem())
        if self._writer is None:
            self._writer = self._open(self._dataset, frame, self._sections.next_stem(time_usec))
        if self._written == 0:
            self._first_usec, self._first_index = time_usec, frame.index
        self._writer.write(frame.view, time_usec)
        self._written = self._in_closed_files + self._writer.frames
        self._indices.add(frame.index)
        self._last_usec, self._last_index = time_usec, frame.index
        if self._losses.unsaved and time_usec - self._saved_usec > _SAVE_INTERVAL_USEC:
            self._save_losses(self._dataset, time_usec)

    def _uses_more_bits(self, frame: Frame) -> bool:
        """Return whether a frame needs a new file, since that of those before has too few bits."""
        if not (words := self._bits.exceeded_by(frame.view)):
            return False
        narrowed = self._writer is not None and self._writer.is_narrowed
        what = "such values become white" if narrowed else "16 bits are recorded from here on"
        self.log.warning("frame %d has %s: %s", frame.index, words, what)
        self.context.report("bits_exceeded", f"frame {frame.index}")
        return not narrowed

    def _note_disordered(self, frame: Frame, time_usec: int) -> None:
        """Count a frame with a time that a camera cannot give, and keep that time.

        The picture is recorded, 1 µs after the one before, since all readers search in the times.
        """
        if not self._disordered:
            self.log.warning(
                "frame %d has the time %d µs, which is %s: such frames are recorded 1 µs after the "
                "one before (logged once; the dataset has their number and the times given)",
                frame.index, frame.time_usec,
                "negative" if frame.time_usec < 0 else "not later than that of the frame before",
            )  # fmt: skip
        self._disordered += 1
        if len(self._given_times) < _MAX_GIVEN_TIMES:
            self._given_times.append(
                {"frame": self._written, "given_usec": frame.time_usec, "time_usec": time_usec}
            )
        if self._dataset is not None and self._disordered == 1:
            self._save_disordered(self._dataset)

    def _save_disordered(self, dataset: Dataset) -> None:
        if self._disordered:
            dataset.set_attribute("frames_disordered", self._disordered)
            dataset.set_attribute("disordered", self._given_times)
            dataset.save()

    def _on_gap(self, lost: int) -> None:
        self._losses.add(lost, after=self._written, time_usec=self.context.clock.now_usec())

    def _on_control(self, command: ControlCommand) -> None:
        before = self._state
        if command.kind == ControlCommandKind.START:
            self._state = "recording"
        elif command.kind == ControlCommandKind.PAUSE and before == "recording":
            self._state = "paused"
        elif command.kind == ControlCommandKind.STOP and before != "stopped":
            self._state = "stopped"
            self._close_file()
            if self._dataset is not None:
                self._sections.end_section()
        if self._state == before:
            return
        self.context.set_status(
            self._state if self._state == "recording" else f"{self._state}: frames are skipped"
        )
        self._commands.append(
            {
                "command": command.kind.name,
                "time_usec": self.context.clock.now_usec(),
                "after_frame": self._written,
            }
        )

    def _close_file(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            finally:
                self._in_closed_files += writer.frames

    def _open(self, dataset: Dataset, first: Frame, stem: str) -> VideoWriter:
        self._check_size(first.view)
        wanted = self._wanted
        options = wanted
        kind, bits = frame_kind(first.view), self._bits.of(first.view)
        if self.settings.deferred_encode_enabled:
            options = interim_options(wanted, kind, first.view.shape, bits)
        codec = codec_for(wanted.codec, kind)
        plan = pixel_plan(codec, kind, lossless=wanted.lossless, bits=bits)
        if plan.dropped and not self._in_closed_files:
            self.log.warning("%s cannot keep the %s of the frames (ffvhuff and ffv1 "
                             "keep all)", wanted.codec, plan.dropped)  # fmt: skip
            self.context.report("dropped", plan.dropped)
        video_name, tsync_name = f"{stem}.{options.extension}", f"{stem}_timestamps.tsync"
        created = self.context.run_info.time_created
        writer = VideoWriter(
            dataset.path_for_basename(video_name),
            dataset.path_for_basename(tsync_name),
            first.view,
            options,
            framerate=self._framerate or NOMINAL_FRAMERATE,
            bits=bits,
            collection_id=dataset.collection_id,
            generator=f"mlink {mlink.__version__} {self.context.name}",
            tags={"title": f"{dataset.name} via {self._source}",
                  "collection_id": dataset.collection_id.hex()},
            time_created=int(created.timestamp()) if created else None,
        )  # fmt: skip
        if self._in_closed_files:
            dataset.add_data_part(video_name)
        else:
            dataset.set_data_file(video_name, summary=f"Video recording from {self._source}")
        dataset.add_aux_file(tsync_name, key="tsync", summary="Video timestamps")
        self._describe(dataset, writer, options)
        if options.codec != wanted.codec:
            dataset.set_attribute(ATTRIBUTE, msgspec.to_builtins(self._deferred(wanted, writer)))
            self._to_encode += 1
        dataset.save()
        return writer

    @property
    def _wanted(self) -> VideoOptions:
        threads = _VIRTUAL_THREADS if self.context.waiting.is_virtual else 0
        return _options(self.settings, self.settings.threads or threads)

    def _deferred(self, wanted: VideoOptions, writer: VideoWriter) -> DeferredEncoding:
        return DeferredEncoding(
            **msgspec.structs.asdict(wanted),
            instant_start=self.settings.deferred_encode_instant_start,
            parallel_count=self.settings.deferred_encode_parallel_count,
            pixels=writer.kind,
            bits=writer.bits,
        )

    def _describe(self, dataset: Dataset, writer: VideoWriter, options: VideoOptions) -> None:
        height, width = writer.shape[:2]
        video = {
            "frame_width": width,
            "frame_height": height,
            "framerate": self._framerate,
            "colored": not writer.kind.startswith("gray"),
            **stored_pixels(writer),
            "timestamps": options.timestamps,
            "file_rate": float(writer.rate),
        }
        dataset.set_attribute("video", video)
        dataset.set_attribute("encoder", encoder_attributes(writer, options))

    def _check_size(self, pixels: NDArray[Any]) -> None:
        frame_kind(pixels)  # raises for arrays that are not pictures
        announced = self._port.metadata.get("size")
        height, width = pixels.shape[:2]
        if isinstance(announced, MetaSize) and tuple(announced) != (width, height):
            raise ModuleError(
                f"the first frame is {width}×{height}, but its source announced "
                f"{announced.width}×{announced.height}",
                remedy="Set the stream's `size` to what is sent, or send frames of that size.",
            )

    def _finish(self) -> None:
        dataset, self._dataset = self._dataset, None
        if dataset is None:
            return
        try:
            self._close_file()
        finally:
            self._written = self._in_closed_files
            self._save_counts(dataset)

    def _save_losses(self, dataset: Dataset, time_usec: int) -> None:
        # Written during the run, so that the dataset of a killed recorder has its losses.
        self._losses.write_to(dataset)
        dataset.save()
        self._saved_usec = time_usec

    def _save_counts(self, dataset: Dataset) -> None:
        dataset.set_attribute("frame_count", self._written)
        if self._skipped:
            dataset.set_attribute("frames_skipped", self._skipped)
        if self._commands:
            dataset.set_attribute("control_commands", self._commands)
        self._losses.write_to(dataset)
        self._save_disordered(dataset)
        if self._written:
            dataset.set_attribute("source_index_first", self._first_index)
            dataset.set_attribute("source_index_last", self._last_index)
            dataset.set_attribute("source_index_runs", self._indices.attribute())
        span_s = (self._last_usec - self._first_usec) / 1e6
        if self._written > 1 and span_s > 0:
            measured = (self._written - 1) / span_s
            dataset.set_attribute("framerate_measured", round(measured, 4))
            self._check_rate(measured)
        dataset.save()

    def _check_rate(self, measured: float) -> None:
        announced = self._framerate
        undisturbed = not (self._skipped or self._losses.lost or self._disordered)
        if announced and undisturbed and abs(measured / announced - 1) > _RATE_TOLERANCE:
            self.log.warning(
                "frames arrived at %.2f Hz, not at the announced %.2f Hz; real times are recorded",
                measured, announced,
            )  # fmt: skip

    @property
    def _framerate(self) -> float | None:
        rate = self._port.metadata.get("framerate")
        if isinstance(rate, int | float) and 0 < rate < 1e6:
            return float(Fraction(rate).limit_denominator(100_000))
        return None

    @property
    def _source(self) -> str:
        return str(self._port.metadata.get("src_mod_name") or "frames-in")

    def _dataset_name(self) -> str:
        return dataset_name(
            self._port.metadata,
            from_source=self.settings.video_name_from_source,
            own_name=self.settings.video_name,
            module_name=self.context.name,
            setting="video_name",
        )


def video_options(settings: VideoRecorderSettings) -> VideoOptions:
    """Return how a recorder with these settings encodes during the run."""
    wanted = _options(settings, settings.threads)
    if not settings.deferred_encode_enabled:
        return wanted
    return interim_options(wanted, "bgr8", (2, 2, 3))


def _options(settings: VideoRecorderSettings, threads: int) -> VideoOptions:
    return VideoOptions(
        codec=settings.video_codec,
        container=settings.video_container,
        timestamps=settings.timestamps,
        lossless=settings.lossless,
        constant_bitrate=settings.mode == "constant-bitrate",
        quality=settings.quality,
        bitrate_kbps=settings.bitrate_kbps,
        threads=threads,
    )
