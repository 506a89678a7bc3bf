"""What encoding costs on this machine: measured once for each codec and size, then remembered."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
from numpy.typing import NDArray

from mlink.errors import MlinkError
from mlink.modules.video.writer import NOMINAL_FRAMERATE, VideoOptions, VideoWriter
from mlink.storage.inside import as_file

_CACHE_BYTES = 1 << 20
_LONGEST_SEC = 1.0
_SHORTEST_FRAMES = 4
_PICTURES = 3
_NOISE = 4
"""Peak of the noise of a sensor, in levels of 8 bits."""


def seconds_per_frame(options: VideoOptions, size: tuple[int, int], *, grey: bool) -> float:
    """Return the processor time that one frame takes, in s of one processor.

    It is measured in about a second; the result is kept below $XDG_CACHE_HOME.

    Args:
        options: How to encode.
        size: Width and height in px.
        grey: Whether the frames are grey.

    Raises:
        ModuleError: The codec cannot store such frames.
        StorageError: There is no room for temporary files.
    """
    key = json.dumps([_processor(), av.__version__, *msgspec.structs.astuple(options), *size, grey])
    path = _cache()
    known = _read(path)
    if key not in known:
        known[key] = _measure(options, size, grey=grey)
        # A machine without a writable home measures again.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            with draft.open("x") as file:  # never through a link
                file.write(json.dumps(known))
            draft.replace(path)
    return known[key]


def _measure(options: VideoOptions, size: tuple[int, int], *, grey: bool) -> float:
    pictures = _pictures(size, grey=grey)
    with tempfile.TemporaryDirectory(prefix="mlink-speed-") as folder:
        path = Path(folder) / f"speed.{options.extension}"
        with VideoWriter(
            path,
            path.with_suffix(".tsync"),
            pictures[0],
            options,
            framerate=NOMINAL_FRAMERATE,
            collection_id=bytes(16),
            generator="mlink check",
        ) as writer:
            writer.write(pictures[0], 0)
            used, began = time.process_time(), time.monotonic()
            frames = 0
            while frames < _SHORTEST_FRAMES or time.monotonic() - began < _LONGEST_SEC / 2:
                frames += 1
                writer.write(pictures[frames % _PICTURES], frames)
        return (time.process_time() - used) / frames


def _pictures(size: tuple[int, int], *, grey: bool) -> list[NDArray[Any]]:
    """Return moving shapes with the noise of a sensor, which lossless codecs have to keep."""
    width, height = size
    shape = (height, width) if grey else (height, width, 3)
    random = np.random.default_rng(0)
    ramp = 120 + 100 * np.sin(np.arange(width) / 37) * np.cos(np.arange(height) / 29)[:, None]
    plain = ramp if grey else ramp[..., None]
    return [
        (np.roll(plain, 5 * n, axis=1) + random.integers(-_NOISE, _NOISE + 1, shape)).astype(
            np.uint8
        )
        for n in range(_PICTURES)
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line for line in lines if line.startswith(("model name", "CPU part"))), "")
    return f"{platform.machine()} {model} {len(os.sched_getaffinity(0))}"


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(root) if Path(root).is_absolute() else Path("~/.cache").expanduser()
    return folder / "mlink" / "encoders.json"


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(as_file(path).read(_CACHE_BYTES))
    except (MlinkError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: cost for key, cost in found.items() if isinstance(cost, float) and cost > 0}
