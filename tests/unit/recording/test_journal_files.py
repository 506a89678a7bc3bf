"""Journals as files: cut at any byte, damaged, made to harm; `verify` and `repair` know them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlink.clock import ManualClock
from mlink.errors import StorageError
from mlink.module import PortSpec
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.recording.journal import file as journal_file
from mlink.recording.journal.file import MAX_FRAME_BYTES, whole_frames
from mlink.recording.journal.reading import (
    GROUP,
    Header,
    Item,
    Kind,
    Port,
    Sent,
    Stop,
    Wait,
    read_journal,
    record_batches,
)
from mlink.storage.edl import create_collection, create_dataset
from mlink.storage.inspect import inspect_recording
from mlink.storage.manifest import read_toml
from mlink.types import DataType, LineReading
from mlink.worker.input_port import WorkerInput
from mlink.worker.journal_writer import JournalWriter
from mlink.worker.module_journal import ModuleJournal
from mlink.worker.output_port import WorkerOutput

ROW = b"\x92\xa1a\xa1b"  # msgpack of ["a", "b"]
READING = b"\x93\x07\x01\xcd\x03\xe8"  # msgpack of LineReading(7, 1, 1000)
HEADER = Header("loop", (Port("in", "LineReading", "board.fmdata"),), (Port("out", "TableRow"),))
RUN_ID = bytes(range(16))
STEP_USEC = 1_000


def packed(*records: object) -> bytes:
    """One frame of a journal's file."""
    content = msgspec.msgpack.encode(list(records))
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def frames(count: int = 6) -> list[bytes]:
    """A small journal of whole frames: its header, items, rows that were sent, its stop."""
    found = [packed(HEADER, [Kind.START, 0])]
    for number in range(count - 2):
        at = number * 3 * STEP_USEC
        found.append(
            packed(
                [Kind.ITEM, at, 0, number, READING],
                [Kind.SENT, at + STEP_USEC, 0, ROW],
                [Kind.WAIT, at + 2 * STEP_USEC, 50_000],
            )
        )
    return [*found, packed([Kind.STOP, count * 3 * STEP_USEC])]


class Recorded:
    """A recording that holds nothing but a journal, closed or as a kill leaves it."""

    def __init__(self, folder: Path, *, closed: bool) -> None:
        self.path = folder / "recording"
        self.collection = create_collection(self.path, collection_id=RUN_ID, generator="mlink test")
        self.dataset = create_dataset(self.path, "loop", group=GROUP, collection_id=RUN_ID)
        self.clock = ManualClock()
        self.input = WorkerInput(PortSpec("in", DataType.LineReading))
        self.output = WorkerOutput(PortSpec("out", DataType.TableRow))
        self.journal = ModuleJournal()
        self.journal.open(
            self.dataset,
            "loop",
            {"in": self.input},
            {"out": self.output},
            {"in": "board.fmdata"},
            self.clock,
            fail=pytest.fail,
            in_thread=False,
        )
        self.write()
        self.journal.close()
        if closed:
            self.dataset.save()
            self.collection.save(True, recording_length_msec=10, attributes={"streams": []})

    def write(self) -> None:
        assert self.input.note is not None
        assert self.output.note is not None
        self.journal.note_start({"in": self.input})
        for number in range(3):
            self.clock.time_usec += STEP_USEC
            self.input.note(number, READING, LineReading(7, 1, 1000))
            self.output.note(ROW)
        self.journal.note_stop()

    @property
    def file(self) -> Path:
        return self.path / "journal" / "loop" / "loop.journal.msgpack.zst"

    def found(self, level: str) -> str:
        return "\n".join(
            f"{finding.dataset}: {finding.text}"
            for finding in verify_recording(self.path).findings
            if finding.level == level
        )

    def digest(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@pytest.fixture
def whole(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, closed=True)


@pytest.fixture
def killed(tmp_path: Path) -> Recorded:
    recorded = Recorded(tmp_path, closed=False)
    recorded.file.write_bytes(b"".join(frames()))
    return recorded


def test_a_whole_journal_is_whole_and_counted(whole: Recorded) -> None:
    report = verify_recording(whole.path)
    assert report.ok
    assert report.findings == []
    (found,) = report.datasets
    assert (found.kind, found.items) == ("journal", 8)
    assert (found.first_usec, found.last_usec) == (0, 3 * STEP_USEC)


def test_repair_leaves_a_whole_journal_as_it_is(whole: Recorded) -> None:
    before = whole.digest()
    assert repair_recording(whole.path).done == []
    assert whole.digest() == before


def test_info_shows_a_journal_as_what_it_is(whole: Recorded) -> None:
    import mlink.recording
    from mlink.recording.times import add_times

    summary = inspect_recording(whole.path)
    with mlink.recording.open(whole.path) as opened:
        add_times(summary.datasets, opened)
    (journal,) = summary.datasets
    assert (journal.kind, journal.entries, journal.last_usec) == ("journal", 8, 3 * STEP_USEC)
    assert journal.problems == []


def test_packed_msgpack_of_somebody_else_is_no_journal(whole: Recorded) -> None:
    dataset = create_dataset(whole.path, "mine", collection_id=RUN_ID)
    dataset.set_data_file("mine.msgpack.zst").write_bytes(b"anything")
    dataset.save()
    report = verify_recording(whole.path)
    assert {found.name: found.kind for found in report.datasets}["mine"] == "other"
    assert report.ok, report.findings


def test_a_journal_that_is_cut_between_two_frames_lacks_records(whole: Recorded) -> None:
    whole.file.write_bytes(b"".join(frames()[:-1]))
    assert "13 records are there, 8 were written" in whole.found("damage")


def test_a_journal_without_its_stop_is_reported_when_its_count_is_not_known(
    whole: Recorded,
) -> None:
    (whole.file.parent / "attributes.toml").unlink()
    whole.file.write_bytes(b"".join(frames()[:-1]))
    assert "ends before the module was asked to stop" in whole.found("note")
    assert verify_recording(whole.path).ok


def cut_size(data: list[bytes], size: int) -> int:
    """Return how many bytes of whole frames a file of this size has."""
    whole = 0
    for frame in data:
        if whole + len(frame) > size:
            break
        whole += len(frame)
    return whole


def test_a_journal_cut_at_any_byte_keeps_every_whole_frame_and_no_more(killed: Recorded) -> None:
    data = frames()
    everything = b"".join(data)
    killed.file.write_bytes(everything)
    records = list(read_journal(killed.file).records())
    for size in range(len(data[0]), len(everything)):
        (killed.file.parent / "attributes.toml").unlink(missing_ok=True)  # of the repair before
        killed.file.write_bytes(everything[:size])
        kept = cut_size(data, size)
        torn = size - kept
        assert (f"incomplete record ({torn} bytes)" in killed.found("unfinished")) is (torn > 0)
        assert killed.found("damage") == ""
        report = repair_recording(killed.path)
        assert report.ok, report.failed
        assert killed.file.read_bytes() == everything[:kept]
        assert any("cut off" in text for text in report.done) is (torn > 0)
        left = list(read_journal(killed.file).records())
        assert left == records[: len(left)]
        assert report.after is not None
        assert report.after.datasets[0].items == len(left)
        assert repair_recording(killed.path).done == []


@pytest.mark.parametrize("size", [0, 3, 20])
def test_a_journal_that_was_only_begun_is_left_out(killed: Recorded, size: int) -> None:
    killed.file.write_bytes(b"".join(frames())[:size])
    assert verify_recording(killed.path).of_level("unfinished")
    assert killed.found("damage") == ""
    report = repair_recording(killed.path)
    assert report.ok, (report.failed, report.after)
    assert killed.file.stat().st_size == size
    assert "data" not in read_toml(killed.file.parent / "manifest.toml")
    assert repair_recording(killed.path).done == []


def test_a_kill_before_the_journal_was_registered_is_made_good(killed: Recorded) -> None:
    manifest = killed.file.parent / "manifest.toml"
    text = manifest.read_text()
    manifest.write_text(text[: text.index("[data]")])
    assert "is not listed in the manifest" in killed.found("unfinished")
    assert repair_recording(killed.path).ok
    assert read_toml(manifest)["data"]["parts"] == [{"fname": killed.file.name}]
    assert verify_recording(killed.path).datasets[0].kind == "journal"


def test_zeros_at_the_end_are_cut_off_as_a_power_cut_leaves_them(killed: Recorded) -> None:
    data = b"".join(frames())
    killed.file.write_bytes(data + bytes(300))
    assert "incomplete record (300 bytes)" in killed.found("unfinished")
    assert repair_recording(killed.path).ok
    assert killed.file.read_bytes() == data


@pytest.mark.parametrize("at", range(1, 5))
def test_damage_before_whole_frames_is_reported_and_never_touched(
    killed: Recorded, at: int
) -> None:
    data = frames()
    middle = bytearray(data[at])
    middle[len(middle) // 2] ^= 0xFF
    killed.file.write_bytes(b"".join([*data[:at], bytes(middle), *data[at + 1 :]]))
    before = killed.digest()
    assert "cannot be read, what follows can" in killed.found("damage")
    report = repair_recording(killed.path)
    assert any("cannot be read" in text for text in report.failed)
    assert killed.digest() == before


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_byte_that_changed_is_always_noticed(killed: Recorded, data: st.DataObject) -> None:
    good = b"".join(frames())
    bad = bytearray(good)
    at = data.draw(st.integers(0, len(good) - 1))
    bad[at] ^= data.draw(st.integers(1, 255))
    killed.file.write_bytes(bytes(bad))
    finding = killed.found("damage") or killed.found("unfinished").partition("journal/loop")[2]
    assert finding or _same_records(killed.file, good)


def _same_records(path: Path, good: bytes) -> bool:
    """Unused bits of a zstd header may change: then every record is still the same."""
    found = list(read_journal(path).records())
    path.write_bytes(good)
    return found == list(read_journal(path).records())


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (packed([99, 0]), "Invalid value 99"),
        (packed([Kind.WAIT, 0]), "at least length"),
        (packed([Kind.WAIT, 0, 1, 2, 3]), "at most length"),
        (packed([Kind.WAIT, "soon", 1]), "Expected `int`"),
        (packed([Kind.ITEM, 0, 1, 0, READING]), "unknown port"),
        (packed([Kind.ITEM, 0, -1, 0, READING]), ">= 0"),
        (packed([Kind.ITEM, 0, 0, 0, b"\xc1"]), "cannot be read"),
        (packed([Kind.ITEM, 0, 0, 0, [4, 5]]), "does not have the type of its input"),
        (packed([Kind.SENT, 0, 0, READING]), "cannot be read"),
        (packed([Kind.METADATA, 0, 0, b"\x01"]), "cannot be read"),
        (packed("text"), "cannot be read"),
        (zstandard.ZstdCompressor().compress(b"\xdd\xff\xff\xff\xff"), "truncated"),
    ],
)
def test_records_that_are_none_are_damage_and_kept(
    killed: Recorded, frame: bytes, text: str
) -> None:
    first, *others = frames()
    killed.file.write_bytes(b"".join([first, frame, *others]))
    before = killed.digest()
    assert text in killed.found("damage")
    assert repair_recording(killed.path).failed
    assert killed.digest() == before


@pytest.mark.parametrize(
    "header",
    [
        {"modul": "loop"},
        ["loop"],
        {"module": "loop", "inputs": [["in", "Nonsense", ""]]},
        [Kind.START, 0],
    ],
)
def test_a_wrong_header_is_damage(killed: Recorded, header: object) -> None:
    killed.file.write_bytes(b"".join([packed(header), *frames()[1:]]))
    assert "its header cannot be read" in killed.found("damage")
    with pytest.raises(StorageError, match="its header cannot be read") as caught:
        read_journal(killed.file)
    assert "move its folder out" in caught.value.remedy


def test_times_that_go_back_are_noted(whole: Recorded) -> None:
    (whole.file.parent / "attributes.toml").unlink()
    head, *others = frames()
    earlier = packed([Kind.CLOCK, 5_000], [Kind.CLOCK, 4_980], [Kind.CLOCK, 5_001])
    whole.file.write_bytes(b"".join([head, earlier, others[-1]]))
    assert "1 records are earlier than the one before, by 20 µs at most" in whole.found("note")
    assert verify_recording(whole.path).ok


def test_what_is_no_journal_is_reported(tmp_path: Path) -> None:
    for content in (b"", b"no journal at all", b"\x28\xb5\x2f\xfd"):
        (tmp_path / "none").write_bytes(content)
        with pytest.raises(StorageError, match="is not a journal"):
            read_journal(tmp_path / "none")


def bomb(*, known_size: bool) -> bytes:
    """A few kB that would inflate to twice what is allowed."""
    size = 2 * MAX_FRAME_BYTES
    packer = zstandard.ZstdCompressor().compressobj(size if known_size else -1)
    zeros = bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(size >> 20)), packer.flush()])


@pytest.mark.parametrize("known_size", [True, False])
def test_a_frame_that_inflates_without_bound_is_refused(killed: Recorded, known_size: bool) -> None:
    killed.file.write_bytes(frames()[0] + bomb(known_size=known_size))
    before = killed.digest()
    with pytest.raises(StorageError, match="inflates to more than 128 MB"):
        list(read_journal(killed.file).records())
    assert "inflates to more than" in killed.found("damage")
    assert repair_recording(killed.path).failed
    assert killed.digest() == before


def test_a_writer_never_makes_a_frame_that_would_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    writer = JournalWriter(tmp_path / "a", HEADER, clock, fail=pytest.fail, in_thread=False)
    large = msgspec.msgpack.encode(["x" * ((1 << 20) - 20)])
    for _ in range(200):  # 200 MB in one go: the disk stood still
        writer.sent(0, large)
    writer.close()
    sizes = [len(content) for _, content in whole_frames(tmp_path / "a")]
    assert sum(sizes) > MAX_FRAME_BYTES
    assert max(sizes) < MAX_FRAME_BYTES
    assert sum(1 for _ in read_journal(tmp_path / "a").of_kind(Sent)) == writer.count == 200


def test_the_search_for_a_whole_frame_crosses_its_blocks(
    killed: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "_SEARCH_BYTES", 7)
    first, second, *_ = frames()
    for gap in range(1, 24):
        killed.file.write_bytes(first + b"\x28\xb5\x2f" + bytes(gap) + second)
        assert journal_file.frame_behind(killed.file, len(first)) == len(first) + 3 + gap
    assert journal_file.frame_behind(killed.file, len(first) + 30) is None


def test_records_come_back_as_they_were_written(killed: Recorded) -> None:
    batches = [records for _, records in record_batches(killed.file)]
    assert [len(batch) for batch in batches] == [1, 3, 3, 3, 3, 1]
    assert batches[1] == [
        Item(0, 0, 0, READING),
        Sent(STEP_USEC, 0, ROW),
        Wait(2 * STEP_USEC, 50_000),
    ]
    assert batches[-1] == [Stop(18 * STEP_USEC)]
