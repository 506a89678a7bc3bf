"""How recordings grow: size, time and memory to show, verify and repair, by their length.

Each kind of dataset is written by its recorder's own writer, as fast as it takes: a video of tiny
pictures at 60 Hz, a table of 100 rows and JSON of 10 rows a second, signals of four channels at
1 kHz. Then `mlink info`, `verify`, and after a cut like a kill's `repair`, run in processes of
their own. Seconds are of processor time. Each row's cost for an hour of recording is compared with
that of the row before: a ratio above 1 would be growth faster than the work.
Run: python -m tests.benchmarks.bench_lengths --hours 24
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.zarr_store import ZarrStore
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.storage.dataset import Dataset
from mlink.storage.edl import create_collection
from tests.benchmarks.table import Table, arguments, growth, publish

MINUTE = 60
FRAMES_HZ, ROWS_HZ, JSON_HZ, SAMPLES_HZ = 60, 100, 10, 1000
_BASE = {"info": 2.0, "verify": 2.0, "repair": 2.0}
"""Processor seconds below which a cost is that of starting Python."""
_TORN_BYTES = 7
_ID = bytes(range(16))


def write_video(dataset: Dataset, seconds: int) -> Path:
    """Write tiny pictures, and their times; a file that is full goes on in another."""
    pictures = np.random.default_rng(0).integers(0, 255, (8, 16, 16), np.uint8)
    number, part = 0, 0
    while number < seconds * FRAMES_HZ:
        part += 1
        add = dataset.add_data_part if part > 1 else dataset.set_data_file
        tsync = dataset.path_for_basename(f"video-{part}.tsync")
        with VideoWriter(
            add(f"video-{part}.mkv"), tsync, pictures[0], VideoOptions(threads=1),
            framerate=FRAMES_HZ, collection_id=_ID, generator="bench",
        ) as writer:  # fmt: skip
            while number < seconds * FRAMES_HZ and not writer.is_full:
                writer.write(pictures[number % 8], number * 1_000_000 // FRAMES_HZ)
                number += 1
        dataset.add_aux_file(tsync.name, key="tsync")
    dataset.set_attribute("frame_count", number)
    return tsync


def write_table(dataset: Dataset, seconds: int) -> Path:
    """Write rows of a time and two values."""
    path = dataset.set_data_file("rows.csv")
    step = 1_000_000 // ROWS_HZ
    with path.open("w") as file:
        file.write("time_usec;value;text\n")
        for second in range(seconds):
            first = second * 1_000_000
            file.writelines(f"{first + n * step};{n * 0.25};left\n" for n in range(ROWS_HZ))
    dataset.set_attribute("row_count", seconds * ROWS_HZ)
    return path


def write_json(dataset: Dataset, seconds: int) -> Path:
    """Write rows of a time and a value."""
    path = dataset.set_data_file("rows.json.zst")
    file = JsonFile(path, {}, ["timestamp", "value"])
    for second in range(seconds):
        times = range(second * 1_000_000, (second + 1) * 1_000_000, 1_000_000 // JSON_HZ)
        file.write_rows([[time, time * 1e-6] for time in times])
    file.close()
    dataset.set_attribute("row_count", seconds * JSON_HZ)
    return path


def write_signals(dataset: Dataset, seconds: int) -> Path:
    """Write four channels, a minute at a time."""
    path = dataset.set_data_file("signals.zarr")
    store = ZarrStore(
        path, dtype="float32", columns=4, chunk_rows=SAMPLES_HZ, dimension="time",
        time_attributes={}, data_attributes={},
    )  # fmt: skip
    for start in range(0, seconds, MINUTE):
        numbers = np.arange(start * SAMPLES_HZ, min(start + MINUTE, seconds) * SAMPLES_HZ)
        store.append(numbers * 1000, np.sin(numbers[:, None] / [10, 30, 100, 300]))
        store.flush()
    store.close()
    dataset.set_attribute("sample_count", seconds * SAMPLES_HZ)
    return path / "zarr.json"


KINDS: dict[str, Callable[[Dataset, int], Path]] = {
    "video, 60 Hz": write_video,
    "table, 100 rows/s": write_table,
    "JSON, 10 rows/s": write_json,
    "signals, 4 × 1 kHz": write_signals,
}


def measured(*arguments: str) -> tuple[float, float]:
    """Run `mlink`; return its processor seconds and its largest memory in MB."""
    code = (
        "import resource, subprocess, sys; "
        "done = subprocess.run([sys.executable, '-m', 'mlink', *sys.argv[1:]], "
        "stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    code_text, seconds, kilobytes = done.stdout.split()
    if int(code_text) > 1:
        raise RuntimeError(f"mlink {' '.join(arguments)}: {done.stderr}")
    return float(seconds), int(kilobytes) / 1e3


def folder_mb(folder: Path) -> float:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(kind: str, seconds: int, folder: Path) -> dict[str, float]:
    """Write a recording of one dataset; return its figures."""
    path = folder / "recording"
    collection = create_collection(path, collection_id=_ID, generator="bench")
    dataset = collection.create_dataset("data")
    before = resource.getrusage(resource.RUSAGE_SELF)
    cut = KINDS[kind](dataset, seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    dataset.save()
    collection.save(True)
    found = {
        "write s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "MB": folder_mb(path),
    }
    for command in ("info", "verify", "repair"):
        if command == "repair":
            dataset.set_attribute("frame_count", 0)
            _tear(path, cut)
        found[f"{command} s"], found[f"{command} MB"] = measured(command, str(path))
    shutil.rmtree(path)
    return found


def _tear(path: Path, cut: Path) -> None:
    """Leave the dataset as a kill does: without its count, and with a torn end where it has one."""
    attributes = path / "data" / "attributes.toml"
    kept = [line for line in attributes.read_text().splitlines() if "_count" not in line]
    attributes.write_text("\n".join(kept) + "\n")
    if cut.name != "zarr.json":
        os.truncate(cut, cut.stat().st_size - _TORN_BYTES)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", seconds=0, rounds=1)
    parser.add_argument("--hours", type=float, default=1.0, help="the longest (%(default)g)")
    parser.add_argument("only", nargs="*", help="words in the names of kinds to measure")
    options = parser.parse_args()
    lengths = [MINUTE, 10 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE]
    lengths = [length for length in lengths if length <= options.hours * 3600]
    tables = []
    with tempfile.TemporaryDirectory(prefix="mlbench") as name:
        kinds = [kind for kind in KINDS if any(word in kind for word in options.only or [""])]
        for kind in kinds:
            columns = ["write s", "MB", "info s", "info MB", "verify s", "verify MB",
                       "repair s", "repair MB"]  # fmt: skip
            table = Table(f"(l) {kind}: processor seconds and memory by length", columns)
            last: float | None = None
            for length in lengths:
                found = measure(kind, length, Path(name))
                cost = sum(max(_BASE[key], found[f"{key} s"]) for key in _BASE) / length
                table.add(
                    f"{length // 60} min",
                    *(f"{found[column]:.1f}" for column in columns),
                    **growth(cost, last, "per hour"),
                    **found,
                )
                last = cost
            tables.append(table)
    publish(tables, options.json)


if __name__ == "__main__":
    main()
