"""A recording with every kind of data, and what commands do with a recording of a stranger."""

from __future__ import annotations

import uuid
from pathlib import Path

from typer.testing import CliRunner

from mlink.cli import app
from mlink.clock import ManualClock
from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.zarr_store import ZarrStore
from mlink.recording.journal.reading import GROUP, Header, Port
from mlink.storage.edl import create_dataset
from mlink.storage.tsync.writer import TsyncWriter
from mlink.worker.journal_writer import JournalWriter
from tests.support.recorded.recordings import RUN_ID, LiveRecording

READING = ("verify --decode", "info", "export --to csv", "encode")
"""Commands that change nothing outside of a recording, and its files least of all."""


def every_kind(folder: Path, frames: int = 20) -> Path:
    """Make a closed recording with a video, a table, JSON, Zarr, a journal and sync points."""
    live = LiveRecording(folder, video_codec="ffv1").feed(frames)
    path = live.path
    rows = create_dataset(path, "readings", collection_id=RUN_ID)
    json = JsonFile(rows.set_data_file("data.json.zst"), {}, ["timestamp", "a", "b"])
    json.write_rows([[at * 1000, at, at / 2] for at in range(50)])
    json.close()
    rows.set_attribute("row_count", 50)
    rows.set_attribute("time_unit", "microseconds")
    rows.save()
    signals = create_dataset(path, "signals", collection_id=RUN_ID)
    store = ZarrStore(
        signals.set_data_file("data.zarr"), dtype="float32", columns=2, chunk_rows=10,
        dimension="time", time_attributes={}, data_attributes={"signal_names": ["a", "b"]},
    )  # fmt: skip
    store.append(range(0, 40_000, 1000), [[at, -at] for at in range(40)])
    store.close()
    signals.set_attribute("sample_count", 40)
    signals.save()
    journal = create_dataset(path, "loop", group=GROUP, collection_id=RUN_ID)
    header = Header("loop", (Port("rows", "TableRow", "x.rows"),))
    clock = ManualClock()
    file = journal.set_data_file("loop.journal.msgpack.zst")
    writer = JournalWriter(file, header, clock, fail=_fail, in_thread=False)
    for _ in range(30):
        writer.wait(10, 0)
    writer.close()
    journal.set_attribute("record_count", writer.count)
    journal.save()
    sync = create_dataset(path, "clock", collection_id=RUN_ID)
    with TsyncWriter(sync.set_data_file("pairs.tsync"), collection_id=RUN_ID) as pairs:
        for at in range(20):
            pairs.append(at, at * 1000)
    sync.save()
    return live.close()


def run(command: str, recording: Path, out: Path) -> tuple[int, str]:
    """Run a command of `mlink` on a recording in this process; return exit code and output."""
    words = command.split()
    more = ["--out", str(out / uuid.uuid4().hex)] if words[0] == "export" else []
    result = CliRunner().invoke(app, [words[0], str(recording), *words[1:], *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{command}: {result.exception!r}") from result.exception
    text = result.output
    assert "internal error" not in text, f"{command}: {text}"
    assert "Traceback" not in text, f"{command}: {text}"
    return result.exit_code, text


def _fail(error: BaseException) -> None:
    raise error
