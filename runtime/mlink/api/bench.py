"""Loading and checking benches from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import mlink.bench
from mlink.bench import Bench, Time
from mlink.errors import BenchError, Problem


def load_bench(
    path: str | os.PathLike[str],
    *,
    devices: str | os.PathLike[str] | None = None,
    set: Mapping[str, object] | None = None,
    time: Time | None = None,
    record_all: bool = False,
) -> Bench:
    """Load and check a bench.

    Args:
        path: The bench file, or a folder that holds a `bench.toml`.
        devices: A file whose `[devices]` replaces the bench's, as `mlink run --devices` takes it.
        set: Settings that replace those of the files, as "module.key": value, for example
            {"cam.framerate": 60, "cam.size": [320, 240]}. Paths in it are relative to the bench.
        time: Kind of time that replaces `[bench] time`: "virtual" refuses what needs real time.
        record_all: Add a recorder for each stream without one, as `[bench] record = "all"` does.

    Returns:
        The checked bench, which may be run any number of times.

    Raises:
        BenchError: Something is wrong; its `problems` list all of it.
    """
    return mlink.bench.load_bench(
        Path(path),
        devices=None if devices is None else Path(devices),
        overrides=set or {},
        time=time,
        record_all=record_all,
    )


def check_bench(
    path: str | os.PathLike[str],
    *,
    devices: str | os.PathLike[str] | None = None,
    set: Mapping[str, object] | None = None,
    time: Time | None = None,
) -> list[Problem]:
    """Return everything that is wrong with a bench; an empty list when it can be run.

    Args:
        path: As for `load_bench`, like all arguments. A file that cannot be read is a problem too.
        devices: A devices file.
        set: Settings that replace those of the files.
        time: Kind of time that replaces the bench's.
    """
    try:
        load_bench(path, devices=devices, set=set, time=time)
    except BenchError as error:
        return list(error.problems) or [Problem("", error.message, error.remedy)]
    return []
