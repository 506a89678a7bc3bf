"""One video file and its tsync file, which always contains as many times as frames."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mlink.closing import ClosesOnExit
from mlink.errors import ModuleError
from mlink.modules.video.codecs import (
    Codec,
    FrameKind,
    PixelPlan,
    codec_for,
    encoder_format,
    frame_kind,
    narrow_kind,
    pixel_plan,
)
from mlink.modules.video.containers import CONTAINERS
from mlink.modules.video.jpeg import JpegEncoder
from mlink.modules.video.settling import EncoderThreads
from mlink.opencv import eight_bits
from mlink.realtime import scheduling_kept
from mlink.recording.video_file import open_for_writing
from mlink.storage.failures import DISK_ERRORS, storage_error
from mlink.storage.tsync.writer import TsyncWriter

NOMINAL_FRAMERATE = 30.0
"""Hz, written into the file when the source announces no rate; the tsync file has the times."""
_HIGHEST_RATE = 240
"""Hz. SVT-AV1 and AVI refuse higher ones, and times of Matroska are whole ms."""
_LOWEST_H264 = Fraction(2)
"""Hz, of H.264 in Matroska. FFmpeg looks at the first 5 s of a file, and if these have fewer than
seven pictures of H.264, OpenCV finds other frames than those that it is asked for.
"""
_MAX_THREADS = 16
_MOST_INDEXED = 1 << 20
"""Pictures of a file whose index has each of them: FFmpeg keeps 40 bytes of memory for each entry
until the file is closed, which makes 42 MB. At 60 Hz they last for 4.9 hours.
"""
_FRAME_THREADS = 4
"""Most pictures that are encoded at the same time."""

os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 prints its settings to stderr


class VideoOptions(msgspec.Struct, frozen=True):
    """How to encode; None is the default of the codec, 0 threads one per processor."""

    codec: str = "ffvhuff"
    container: str = "matroska"
    timestamps: str = "constant"
    """"constant": frame N has the time N over the rate. "true": its master time."""
    lossless: bool = False
    constant_bitrate: bool = False
    quality: int | None = None
    bitrate_kbps: int | None = None
    threads: int = 0

    @property
    def extension(self) -> str:
        """The video file's extension, without dot."""
        return CONTAINERS[self.container].extension


class VideoWriter(ClosesOnExit):
    """Encodes frames of one size and kind into a file, with their times in a tsync file.

    The time of a frame is on the disk before its picture, so that after a kill no picture is
    without a time.
    """

    def __init__(
        self,
        video_path: Path,
        tsync_path: Path,
        first_frame: NDArray[Any],
        options: VideoOptions,
        *,
        framerate: float,
        bits: int = 0,
        collection_id: bytes,
        generator: str,
        tags: Mapping[str, str] | None = None,
        time_created: int | None = None,
    ) -> None:
        """Create both files and open the encoder.

        Args:
            video_path: The video file.
            tsync_path: The file of the frame times.
            first_frame: A frame; its size and kind are those of the video.
            options: How to encode.
            framerate: Nominal rate in Hz, by which constant time stamps count. Above 240 Hz the
                file has a whole fraction of it (`rate`), and plays slower; below 2 Hz H.264 in
                Matroska has a multiple of it, and plays faster.
            bits: Bits of the frames' values that are used; 0: all. No frame may use more, except
                with a codec of 8 bits, where such values become 255.
            collection_id: UUID of the recording, 16 bytes, for the tsync file.
            generator: Name of the program, for the tsync file.
            tags: Metadata of the video file.
            time_created: Creation time (Unix time in s) of files that have to be identical each
                time, as those of a replay; None is the present.

        Raises:
            ModuleError: The codec cannot store these frames.
            StorageError: A file cannot be created.
        """
        self.path = video_path
        self.shape = first_frame.shape
        self.kind: FrameKind = frame_kind(first_frame)
        self.frames = 0
        """Frames written; the tsync file has as many pairs."""
        self._last_pts = -1
        self._failed = False
        self._threads: EncoderThreads | None = None
        """The encoder's, if it needs them to sleep before each picture."""
        self._reformatter = VideoReformatter()
        codec = codec_for(options.codec, self.kind)
        container = CONTAINERS[options.container]
        self.lossless = options.lossless or codec.always_lossless
        self.threads = options.threads or max(2, min(_MAX_THREADS, len(os.sched_getaffinity(0))))
        whole = 8 * first_frame.itemsize
        self._plan = pixel_plan(codec, self.kind, lossless=options.lossless, bits=bits or whole)
        self.is_narrowed = bool(self._plan.scaled_bits)
        """Whether values of 16 bits are stored in 8."""
        self.stored_kind = narrow_kind(self.kind) if self.is_narrowed else self.kind
        """Kind of the pictures in the file."""
        self.bits = 8 if self.is_narrowed else min(bits or whole, whole)
        """Bits of their values that are used."""
        self.dropped = self._plan.dropped
        """What of the frames the codec does not keep, e.g. "alpha"."""
        self._counts_frames = container.counts_frames or options.timestamps == "constant"
        self.rate = _file_rate(framerate, codec, options.container)
        """Frames per second by the file's own times."""
        self._time_base = 1 / self.rate if self._counts_frames else container.time_base
        self.codec = codec
        height, width = first_frame.shape[:2]
        self._tsync = TsyncWriter(
            tsync_path,
            collection_id=collection_id,
            generator=generator,
            time_created=time_created,
        )
        container_options = dict(container.options)
        if time_created is not None:  # so no random identifiers
            container_options["fflags"] = "+bitexact"
        try:
            self._container = open_for_writing(
                video_path, container.format, container_options, codec.encoder
            )
        except OSError as error:
            self._tsync.close()
            raise storage_error(error, video_path, "create") from error
        try:
            self._container.metadata.update(tags or {})
            self._stream = self._open_stream(options, width, height)
            self._jpeg = self._jpeg_encoder(options)
            self._picture = av.VideoFrame(width, height, self._plan.pixel_format)
            self._begin(width, height)
        except BaseException:
            self.close()
            raise

    def write(self, pixels: NDArray[Any], time_usec: int) -> None:
        """Encode one frame.

        Args:
            pixels: The frame, of the size and kind of the first one.
            time_usec: Its master time in µs.

        Raises:
            ModuleError: It has another size or kind.
            StorageError: The disk fails.
        """
        if pixels.shape != self.shape or frame_kind(pixels) != self.kind:
            raise ModuleError(
                f"a frame is {_describe(pixels)}, but the first one was "
                f"{self.shape[1]}×{self.shape[0]} {self.kind}",
                remedy="Send frames of one size and kind: scale or crop them before.",
            )
        time_usec = max(0, time_usec)
        try:
            packets = self._encode(pixels, self._next_pts(time_usec))
            self._tsync.append(self.frames, time_usec)
            self.frames += 1
            self._mux(self._container, packets)
        except OSError as error:
            self._failed = True
            raise storage_error(error, self.path) from error

    def _encode(self, pixels: NDArray[Any], pts: int) -> list[Any]:
        if self.is_narrowed:
            pixels = eight_bits(pixels, self._plan.scaled_bits)
        if self._jpeg is not None:
            duration = 1 if self._counts_frames else 0
            return self._jpeg.encode(pixels, pts, duration, self._time_base)
        picture = self._picture_of(pixels)
        picture.pts = pts
        picture.time_base = self._time_base
        if self._counts_frames:
            picture.duration = 1
        return self._packets(picture)

    def _picture_of(self, pixels: NDArray[Any]) -> av.VideoFrame:
        """Return a frame as the encoder takes it, which refers to `pixels` no more."""
        plan = self._plan
        if plan.encoder_format and plan.conversion is None and pixels.flags.c_contiguous:
            # FFmpeg converts from the array itself; while threads of the last picture work.
            array = pixels if plan.channels > 1 else pixels.reshape(self.shape[:2])
            picture = av.VideoFrame.from_numpy_buffer(array, plan.pixel_format)
        else:
            # If the encoder still refers to the last picture, this allocates a new one.
            picture = self._picture
            picture.make_writable()
            plan.copy(pixels, _plane(picture, plan, pixels.shape))
        return self._reformatter.reformat(picture, format=self._format, threads=self.threads)

    def _packets(self, picture: av.VideoFrame | None) -> list[Any]:
        if self._threads is not None:
            self._threads.settle()
        packets: list[Any] = self._stream.encode(picture)
        return packets

    def close(self) -> None:
        """Close both files; calling it again does nothing.

        An error that `write` has raised is not raised again.

        Raises:
            StorageError: The rest could not be written, for example to a full disk.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self.frames and not self._failed:
                self._mux(container, self._packets(None))
        except OSError as error:
            raise storage_error(error, self.path) from error
        finally:
            try:
                container.close()
            except OSError as error:
                if not self._failed:
                    raise storage_error(error, self.path) from error
            finally:
                self._tsync.close()
                if self._threads is not None:
                    self._threads.close()

    @property
    def is_full(self) -> bool:
        """Whether the next frame belongs in a new file, since this one's index is long enough."""
        return self.codec.gop_size == 1 and self.frames >= _MOST_INDEXED

    @property
    def encoder_name(self) -> str:
        """FFmpeg's name of the encoder, or "libjpeg-turbo"."""
        if self._jpeg is not None:
            return self._jpeg.name
        return str(self._stream.codec_context.name)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the stored pixel format."""
        if self._jpeg is not None and self.stored_kind == "gray8":
            return "gray"
        return str(self._stream.codec_context.pix_fmt)

    def _open_stream(self, options: VideoOptions, width: int, height: int) -> Any:
        codec = self.codec
        lossless = options.lossless and not codec.always_lossless
        encoder = codec.lossless_encoder if lossless and codec.lossless_encoder else codec.encoder
        stream = self._container.add_stream(encoder, rate=self.rate)
        stream.width, stream.height = width, height
        stream.time_base = self._time_base
        context = stream.codec_context
        context.time_base = self._time_base
        if codec.frame_threads:  # each holds a picture that a kill would lose
            self.threads = max(1, min(self.threads, _FRAME_THREADS, int(self.rate) // 4))
        context.thread_count = self.threads
        if codec.slice_threads_only:
            context.thread_type = "SLICE"
        self._format = encoder_format(codec, self._plan, width=width, height=height)
        stream.pix_fmt = self._format
        _tag_colours(context, self._format, full_range=self._plan.full_range)
        context.gop_size = codec.gop_size
        context.max_b_frames = 0
        encoder_options = codec.options(self.threads)
        if lossless:
            encoder_options |= codec.lossless_options
        elif options.constant_bitrate and codec.quality is not None:
            context.bit_rate = 1000 * (options.bitrate_kbps or codec.bitrate_kbps)
            encoder_options |= codec.bitrate_options(self.threads)
        elif codec.quality is not None:
            quality = codec.quality if options.quality is None else options.quality
            context.bit_rate = 0
            encoder_options |= codec.quality_options(quality)
        stream.options = encoder_options
        return stream

    def _jpeg_encoder(self, options: VideoOptions) -> JpegEncoder | None:
        if not self.codec.is_jpeg:
            return None
        self.threads = JpegEncoder.threads
        quality = self.codec.quality if options.quality is None else options.quality
        assert quality is not None
        return JpegEncoder(quality, self._stream)

    def _begin(self, width: int, height: int) -> None:
        """Open the encoder and write the header of the file."""
        # Read before: PyAV 19 ends the process where an encoder is asked that could not be opened.
        what = f"{self.encoder_name} does not accept pictures of {width}×{height}"
        pixel_format = self.pixel_format
        try:
            with scheduling_kept() as started:
                self._container.start_encoding()
        except av.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise storage_error(error, self.path) from error
            raise ModuleError(
                f"the encoder {what} {pixel_format}: {error.strerror}",
                remedy="Change the frames' size, or video_codec, quality and bitrate_kbps.",
            ) from error
        if self.codec.must_settle:
            try:
                self._threads = EncoderThreads(started)
            except OSError as error:
                raise storage_error(error, self.path, "create") from error

    def _next_pts(self, time_usec: int) -> int:
        if self._counts_frames:
            return self.frames
        # Ticks are coarse; a second frame in the same tick moves to the next one.
        ticks = round(Fraction(time_usec, 1_000_000) / self._time_base)
        self._last_pts = max(ticks, self._last_pts + 1)
        return self._last_pts

    def _mux(self, container: Any, packets: list[Any]) -> None:
        if packets:
            self._tsync.flush()
            container.mux(packets)


def _file_rate(framerate: float, codec: Codec, container: str) -> Fraction:
    rate = Fraction(framerate).limit_denominator(1_000_000)
    if codec.name == "h264" and container == "matroska" and rate < _LOWEST_H264:
        return rate * math.ceil(_LOWEST_H264 / rate)
    return rate / math.ceil(rate / _HIGHEST_RATE)


def _tag_colours(context: Any, pixel_format: str, *, full_range: bool) -> None:
    """Note in the file what FFmpeg makes of BGR: by BT.601, whatever the size of the pictures.

    Players assume BT.709 for large pictures without a note, and show other colours.
    """
    if pixel_format.startswith("yuv") or full_range:
        full_range |= pixel_format.startswith("yuvj")
        context.colorspace = Colorspace.ITU601
        context.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.IEC61966_2_1


def _plane(picture: Any, plan: PixelPlan, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the pixels of a picture as an array (H, W, channels); rows may be padded."""
    plane = picture.planes[0]
    item = np.dtype(plan.dtype).itemsize
    flat: NDArray[Any] = np.frombuffer(plane, plan.dtype)
    height, width = shape[:2]
    return as_strided(
        flat, (height, width, plan.channels), (plane.line_size, plan.channels * item, item)
    )


def _describe(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]} {frame_kind(pixels)}"
