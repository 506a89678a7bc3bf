"""What the reports show of a test: events, measurements, pictures, a VCD file.

Plain values only: pytest-xdist sends them to another process.
"""

from __future__ import annotations

import base64
import contextlib
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlink.errors import MlinkError
from mlink.opencv import cv2
from mlink_hil.testing.bench import TestBench
from mlink_hil.testing.observed.events import FAULTS, Event
from mlink_hil.testing.report.vcd import write_vcd

_MAX_EVENTS = 2000
_MAX_PICTURES = 4
_JPEG_OPTIONS = (cv2.IMWRITE_JPEG_QUALITY, 80)
_MAX_NAME = 120
_BY_ID = ("/dev/serial/by-id", "/dev/v4l/by-id")
"""Links whose names have maker, model and serial number."""


def gather(
    bench: TestBench, nodeid: str, directory: Path | None, *, failed: bool
) -> dict[str, Any]:
    """Return a test's evidence, and write its VCD file.

    Args:
        bench: The test's fixture.
        nodeid: Its name, for the file's.
        directory: Folder of the report; None without one: then only measurements and the kind of
            time are returned.
        failed: Whether to include pictures.

    Raises:
        OSError: The VCD file cannot be written.
    """
    found: dict[str, Any] = {
        "measurements": [each.as_plain() for each in bench.measurements],
        "bench": bench.run.bench.name,
        "time": bench.run.kind_of_time,
    }
    if directory is None:
        return found
    end_usec = bench.run.now_usec()
    channels = {
        channel: bench.run.history.of(channel, bench.began_usec, end_usec)
        for channel in bench.run.history.channels()
    }
    found["began_usec"], found["end_usec"] = bench.began_usec, end_usec
    found["channels"] = {
        channel: [
            [event.time_usec, event.value, event.early_usec, event.late_usec, event.after_loss]
            for event in events[:_MAX_EVENTS]
        ]
        for channel, events in channels.items()
        if events and channel != FAULTS
    }
    found["cut"] = {
        channel: events[_MAX_EVENTS].time_usec
        for channel, events in channels.items()
        if len(events) > _MAX_EVENTS
    }
    found["faults"] = fault_spans(
        bench.run.history.of(FAULTS, None, end_usec), bench.began_usec, end_usec
    )
    found["frames"] = bench.run.names.frame_streams()
    found["rows"] = [
        channel for channel, events in channels.items() if any(event.cells for event in events)
    ]
    found["watched"] = [*bench.watched]
    found["before"] = {
        channel: value
        for channel, events in channels.items()
        if (value := _before(events, bench.run.history.last(channel, bench.began_usec))) is not None
    }
    found["about"] = about(bench)
    found["stimuli"] = [[event.time_usec, str(event)] for event in bench.stimuli]
    found["deadlines"] = [[time_usec, text] for time_usec, text in bench.deadlines]
    found["recording"] = str(bench.run.tap.recording_dir or "")
    found["pictures"] = _pictures(bench) if failed else []
    name = re.sub(r"[^\w.-]+", "_", nodeid)[-_MAX_NAME:] + ".vcd"
    folder = directory / "vcd"
    folder.mkdir(parents=True, exist_ok=True)
    write_vcd(folder / name, channels, began_usec=bench.began_usec, end_usec=end_usec)
    found["vcd"] = f"vcd/{name}"
    return found


def about(bench: TestBench) -> dict[str, Any]:
    """Return with what a test ran: for the head of the report."""
    devices = bench.run.bench.devices
    return {
        "path": str(bench.run.bench.path),
        "devices": {name: _identified(spec) for name, spec in devices.items()},
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "versions": {
            "mlink": version("mlink-hil"),
            "Python": platform.python_version(),
            "pytest": version("pytest"),
        },
    }


def _identified(spec: str) -> str:
    """Return a device as the bench names it; one by a path with its maker, model and serial."""
    for folder in _BY_ID if spec.startswith("/") else ():
        with contextlib.suppress(OSError):
            for link in sorted(Path(folder).iterdir()):
                if link.resolve() == Path(spec).resolve() and str(link) != spec:
                    return f"{spec} ({link.name})"
    return spec


def _before(events: list[Event], last: Event | None) -> float | None:
    """Return the value of a channel at a test's start; None where it is not known."""
    if last is not None:
        return None if last.cells else last.value
    first = events[0] if events else None
    return None if first is None or first.after_loss else first.previous


def fault_spans(events: list[Event], began_usec: int, end_usec: int) -> list[list[Any]]:
    """Return the faults during a test.

    Args:
        events: Events of the run's channel "fault".
        began_usec: Master time of the test's start.
        end_usec: Master time of its end.

    Returns:
        [begin, end, description] for each; both times are the same for a fault of a moment.
    """
    spans: list[list[Any]] = []
    for event in events:
        what = event.cells[0]
        begun = next((s for s in spans if f"end of {s[2]}" == what and s[1] == end_usec), None)
        if begun is not None:
            begun[1] = event.time_usec
        else:
            spans.append([event.time_usec, end_usec if event.value else event.time_usec, what])
    return [span for span in spans if span[1] >= began_usec]


def _pictures(bench: TestBench) -> list[dict[str, Any]]:
    """Return the frames around the last deadline, and the newest, of each camera."""
    found: list[dict[str, Any]] = []
    for stream in bench.run.names.frame_streams():
        frames = bench.run.history.of(stream)
        wanted = {int(frames[-1].value)} if frames else set()
        if bench.deadlines:
            after = [f for f in frames if f.time_usec >= bench.deadlines[-1][0]]
            before = [f for f in frames if f.time_usec < bench.deadlines[-1][0]]
            wanted.update(int(f.value) for f in (*before[-1:], *after[:1]))
        for index in sorted(wanted)[:_MAX_PICTURES]:
            with contextlib.suppress(MlinkError):  # the run has ended: no frames are kept
                frame = bench.run.tap.fetch(stream, index)
                if frame is None:
                    continue
                ok, data = cv2.imencode(".jpg", frame.view, _JPEG_OPTIONS)
                if ok:
                    text = base64.b64encode(data.tobytes()).decode()
                    label = f"{stream}: frame {frame.index} at {frame.time_usec / 1000:.3f} ms"
                    found.append({"label": label, "jpeg": text})
    return found
