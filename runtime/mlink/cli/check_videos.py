"""Part of `mlink check`: whether this machine can encode the videos of a bench in time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mlink.errors import MlinkError
from mlink.module import Category

if TYPE_CHECKING:
    from mlink.bench import Bench, ModuleConfig

_USABLE = 0.6
"""Part of all processors that encoders may take; cameras, scripts and the system need the rest."""
_ONE_THREAD = frozenset({"mjpeg", "raw"})
_ONE_USABLE = 0.9
_NOMINAL_RATE = 30.0


def video_lines(bench: Bench) -> list[tuple[str, bool]]:
    """Return a line for each video recorder whose source states its size, and whether it warns."""
    lines: list[tuple[str, bool]] = []
    if bench.time == "virtual":  # it waits for its encoders
        return lines
    processors = len(os.sched_getaffinity(0))
    total = 0.0
    for recorder in bench.modules.values():
        if recorder.type.id != "videorecorder":
            continue
        for connection in recorder.connections:
            source = bench.modules[connection.source_module]
            size = getattr(source.settings, "size", None)
            if source.type.category is not Category.DEVICE or size is None:
                continue
            text, need = _line(recorder, source, size, processors)
            total += max(0.0, need)
            lines.append((text, need < 0))
    if total > _USABLE * processors:
        lines.append(
            (
                f"the videos take {total:.1f} of {processors} processors: frames will be lost. "
                'Set video_codec = "ffvhuff" or "mjpeg", a smaller size or framerate, or '
                "deferred_encode_enabled = true",
                True,
            )
        )
    return lines


def _line(
    recorder: ModuleConfig, source: ModuleConfig, size: tuple[int, int], processors: int
) -> tuple[str, float]:
    """Return a line about one recorder, and the processors that it takes; −1 for an error."""
    from mlink.modules.video.recorder import video_options
    from mlink.modules.video.speed import seconds_per_frame

    settings: Any = recorder.settings
    options = video_options(settings)
    roi = getattr(source.settings, "roi", None)
    width, height = roi[2:] if roi else size
    rate = getattr(source.settings, "framerate", None) or _NOMINAL_RATE
    try:
        cost = seconds_per_frame(
            options, (width, height), grey=bool(getattr(source.settings, "greyscale", False))
        )
    except MlinkError as error:
        return f"{recorder.name}: {error.message}", -1.0
    highest = (1.0 if options.codec in _ONE_THREAD else processors) / cost
    text = (
        f"{recorder.name}: {options.codec}, {width}×{height} at {rate:g} Hz as "
        f"'{source.name}' asks for takes {rate * cost:.2f} of {processors} processors "
        f"(at most {highest:.0f} Hz here)"
    )
    if options.codec in _ONE_THREAD and rate * cost > _ONE_USABLE:
        return f"{text}: its encoder has one thread, so frames will be lost", -1.0
    return text, rate * cost
