"""Encoding and writing to disk, beside the ffmpeg program, OpenCV's VideoWriter and csv.writer.

All three encoders get the same 640×480 colour frames (a moving scene with a sensor's noise) from
the same file of raw pixels, which is in memory. The ffmpeg program gets the options that our codec
table holds; its libraries are Debian's, ours are those inside PyAV. Ours writes the time of each
frame besides. CPU is that of all threads; beside other programs only its ratio says something.
Rounds are interleaved. As root, SVT-AV1 gives its threads real-time priority: ours takes it away,
so the ffmpeg program runs without the right to it. PSNR is that of every tenth picture.
Run: python -m tests.benchmarks.bench_recording
"""

from __future__ import annotations

import csv
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mlink.modules.data.csv_file import CsvFile
from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.zarr_store import ZarrStore
from mlink.modules.video.codecs import CODECS
from mlink.modules.video.writer import VideoOptions, VideoWriter
from tests.benchmarks.table import Table, arguments, median, publish

SHAPE = (480, 640, 3)
FRAMES = 150
RATE = 60
TARGET = 0.95
"""Of the ffmpeg program's frames per second."""
FOURCC = {"ffv1": "FFV1", "mjpeg": "MJPG", "vp9": "VP90"}
"""Codecs that OpenCV's own build has, too (no H.264, HEVC, AV1); its options cannot be set."""
ROWS = 200_000

Result = tuple[float, float]
"""(items per second, CPU ms per item)"""


def make_frames(path: Path) -> None:
    """Write the raw frames."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    scene = np.stack([(x // 3) % 256, (y // 2) % 256, ((x + y) // 5) % 256], axis=2)
    with path.open("wb") as file:
        for i in range(FRAMES):
            frame = np.roll(scene, 2 * i, axis=1) + rng.normal(0, 2.5, SHAPE)
            cv2.circle(frame, (100 + 2 * i, 240), 40, (250, 250, 250), -1)
            file.write(np.clip(frame, 0, 255).astype(np.uint8).tobytes())


def measured(items: int, work: Callable[[], object]) -> Result:
    """Time some work of this process and its children."""
    before, began = cpu_s(), time.perf_counter()
    work()
    taken = time.perf_counter() - began
    return items / taken, (cpu_s() - before) / items * 1e3


def cpu_s() -> float:
    """Return the CPU time of this process and of its ended children."""
    found = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        found += usage.ru_utime + usage.ru_stime
    return found


def ours(raw: Path, folder: Path, options: VideoOptions) -> None:
    """Encode with our recorder's writer."""
    frames = np.memmap(raw, np.uint8, "r").reshape(-1, *SHAPE)
    with VideoWriter(folder / f"ours.{options.extension}", folder / "ours.tsync", frames[0],
                     options, framerate=RATE, collection_id=bytes(16), generator="bench",
                     ) as writer:  # fmt: skip
        for i, pixels in enumerate(frames):
            writer.write(pixels, i * 1_000_000 // RATE)


def ffmpeg(raw: Path, folder: Path, options: VideoOptions, pixel_format: str) -> None:
    """Encode with the ffmpeg program and the same options."""
    codec = CODECS[options.codec]
    threads = len(os.sched_getaffinity(0))
    lossless = options.lossless and not codec.always_lossless
    settings = codec.options(threads)
    if lossless:
        settings |= codec.lossless_options
    elif codec.quality is not None:
        settings |= codec.quality_options(codec.quality)
        settings |= {"b:v": "0"}
    encoder = codec.lossless_encoder if lossless and codec.lossless_encoder else codec.encoder
    command = [
        "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24",
        "-s", f"{SHAPE[1]}x{SHAPE[0]}", "-r", str(RATE), "-i", str(raw),
        "-c:v", encoder, "-pix_fmt", pixel_format, "-threads", str(threads),
        "-g", str(codec.gop_size), "-bf", "0",
    ]  # fmt: skip
    if codec.slice_threads_only:
        command += ["-thread_type", "slice"]
    for key, value in settings.items():
        command += [f"-{key}", value]
    command += ["-allow_raw_vfw", "1"]
    if os.geteuid() == 0 and shutil.which("setpriv"):
        command = ["setpriv", "--bounding-set", "-sys_nice", *command]
    subprocess.run([*command, "-f", "matroska", str(folder / "ffmpeg.mkv")], check=True)


def psnr(video: Path, raw: Path) -> float:
    """Return the PSNR of a video in dB."""
    frames = np.memmap(raw, np.uint8, "r").reshape(-1, *SHAPE)
    errors = []
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 10 == 0:
                decoded = frame.to_ndarray(format="bgr24").astype(np.float64)
                errors.append(np.mean((decoded - frames[number]) ** 2))
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(255**2 / np.mean(errors)))


def opencv(raw: Path, folder: Path, fourcc: str) -> None:
    """Encode with OpenCV's VideoWriter."""
    frames = np.memmap(raw, np.uint8, "r").reshape(-1, *SHAPE)
    code = cv2.VideoWriter.fourcc(*fourcc)
    writer = cv2.VideoWriter(str(folder / "opencv.mkv"), code, RATE, (SHAPE[1], SHAPE[0]))
    if not writer.isOpened():
        raise RuntimeError(f"OpenCV has no {fourcc}")
    for pixels in frames:
        writer.write(pixels)
    writer.release()


def video_table(rounds: int, names: list[str]) -> Table:
    """Measure every codec."""
    table = Table(
        f"(e) encoding {FRAMES} frames of 640×480×3 to a file, {len(os.sched_getaffinity(0))} "
        f"processors, median of {rounds}",
        ["frames/s", "CPU ms/frame", "× ffmpeg's", "kB", "PSNR dB"],
    )
    with tempfile.TemporaryDirectory() as name:
        folder, raw = Path(name), Path(name) / "raw"
        make_frames(raw)
        for codec in names:
            options = VideoOptions(codec=codec)
            _compare(table, rounds, codec, options, raw, folder)
    return table


def _compare(
    table: Table, rounds: int, codec: str, options: VideoOptions, raw: Path, folder: Path
) -> None:
    pixels = {"ffv1": "bgr0", "raw": "bgr24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    runs: dict[str, Callable[[Path], None]] = {"mlink": lambda f: ours(raw, f, options)}
    if shutil.which("ffmpeg"):
        runs["ffmpeg"] = lambda f: ffmpeg(raw, f, options, pixels)
    if codec in FOURCC:
        runs["opencv"] = lambda f: opencv(raw, f, FOURCC[codec])
    found: dict[str, list[Result]] = {who: [] for who in runs}
    sizes: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for who, run in runs.items():
            with tempfile.TemporaryDirectory(dir=folder) as target:
                try:
                    found[who].append(measured(FRAMES, lambda run=run, t=target: run(Path(t))))  # type: ignore[misc]
                except (subprocess.CalledProcessError, RuntimeError) as error:
                    table.notes.append(f"{codec}: {who} cannot: {error}")
                    continue
                (video,) = [p for p in Path(target).iterdir() if p.suffix != ".tsync"]
                if who not in sizes:
                    sizes[who] = video.stat().st_size / 1e3, psnr(video, raw)
    rates = {who: median([rate for rate, _ in rows]) for who, rows in found.items() if rows}
    cpus = {who: median([cpu for _, cpu in rows]) for who, rows in found.items() if rows}
    for who, rate in rates.items():
        size, quality = sizes[who]
        is_judged = who == "mlink" and "ffmpeg" in rates
        ratio = rate / rates["ffmpeg"] if "ffmpeg" in rates else None
        table.add(
            f"{codec} {who}",
            f"{rate:.0f}",
            f"{cpus[who]:.2f}",
            f"{cpus[who] / cpus['ffmpeg']:.2f}" if "ffmpeg" in cpus else "",
            f"{size:.0f}",
            f"{quality:.2f}" if np.isfinite(quality) else "exact",
            ratio=ratio,
            target=f"≥ {TARGET} × ffmpeg" if is_judged else "",
            ok=ratio >= TARGET if is_judged and ratio is not None else None,
            frames_per_s=rate,
        )


def rows_table(rounds: int) -> Table:
    """Measure rows and readings to disk."""
    rows = [[str(i), str(i * 16_667), "press", f"{i / 7:.6f}"] for i in range(ROWS)]
    blocks = [
        (
            np.arange(at, at + 1000, dtype=np.uint64),
            np.random.default_rng(at).normal(size=(1000, 4)),
        )
        for at in range(0, ROWS, 1000)
    ]

    def plain(folder: Path) -> None:
        with (folder / "a").open("w", newline="") as file:
            writer = csv.writer(file, delimiter=";")
            for row in rows:
                writer.writerow(row)

    def table_file(folder: Path) -> None:
        with CsvFile(folder / "a") as file:
            for row in rows:
                file.write_row(row)
                file.flush_if_due()

    def json_file(folder: Path) -> None:
        file = JsonFile(folder / "a", {}, ["t", "a", "b", "c", "d"])
        for times, data in blocks:
            data32 = data.astype(np.float32)
            file.write_rows([[t, *v] for t, v in zip(times.tolist(), data32.tolist(), strict=True)])
            file.flush_if_due()
        file.close()

    def zarr_store(folder: Path) -> None:
        store = ZarrStore(folder / "a", dtype="float32", columns=4, chunk_rows=10_000,
                          dimension="time", time_attributes={}, data_attributes={})  # fmt: skip
        for times, data in blocks:
            store.append(times, data)
            store.flush_if_due()
        store.close()

    runs: dict[str, Callable[[Path], None]] = {
        "table (CSV, on disk within 1 s)": table_file,
        "csv.writer, no flush": plain,
        "jsonwriter, samples of 4 channels": json_file,
        "zarrwriter, samples of 4 channels": zarr_store,
    }
    found: dict[str, list[Result]] = {who: [] for who in runs}
    for _ in range(rounds):
        for who, run in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                found[who].append(measured(ROWS, lambda run=run, f=folder: run(Path(f))))  # type: ignore[misc]
    table = Table(f"(f) {ROWS} rows to disk, median of {rounds}", ["rows/s", "CPU µs/row"])
    peer = median([rate for rate, _ in found["csv.writer, no flush"]])
    for who, results in found.items():
        rate = median([rate for rate, _ in results])
        table.add(
            who,
            f"{rate:.0f}",
            f"{median([cpu for _, cpu in results]) * 1e3:.2f}",
            ratio=rate / peer,
            rows_per_s=rate,
        )
    return table


def main() -> None:
    """Measure and print."""
    parser: Any = arguments(__doc__ or "", seconds=0.0, rounds=3)
    parser.add_argument("--codecs", default=",".join(CODECS), help="which codecs (%(default)s)")
    options = parser.parse_args()
    tables = [video_table(options.rounds, options.codecs.split(",")), rows_table(options.rounds)]
    publish(tables, options.json)


if __name__ == "__main__":
    main()
