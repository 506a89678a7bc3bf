"""tsync files: written, read back, damaged, and cut off by a crash."""

import os
import struct
import uuid
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import StorageError
from mlink.storage.tsync import reader as tsync_reader
from mlink.storage.tsync import writer as tsync_writer
from mlink.storage.tsync.layout import (
    Generation,
    TimeColumn,
    TimeType,
    TimeUnit,
    TsyncMode,
)
from mlink.storage.tsync.reader import read_times, read_tsync, scan_tsync
from mlink.storage.tsync.repair import cut_tsync, times_from
from mlink.storage.tsync.writer import TsyncWriter

RUN = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def columns(first=TimeType.UINT32, second=TimeType.UINT64):
    return (
        TimeColumn("frame-no", TimeUnit.INDEX, first),
        TimeColumn("master-time", TimeUnit.MICROSECONDS, second),
    )


def write(path, pairs, **options):
    path.unlink(missing_ok=True)
    with TsyncWriter(path, collection_id=RUN.bytes, **options) as writer:
        for pair in pairs:
            writer.append(*pair)
    return path


def test_every_byte_of_a_small_file(tmp_path):
    path = write(tmp_path / "a.tsync", [(0, 1000), (1, 2000), (2, 3000)],
                 generator="cam", block_size=2, time_created=1_700_000_000,
                 custom={"tolerance_us": 5})  # fmt: skip

    def text(value):
        data = value.encode()
        return struct.pack("<I", len(data)) + data

    def end(content):
        return struct.pack("<QQ", 0x00000000009198E2, xxhash.xxh3_64_intdigest(content))

    body = struct.pack("<HHq", 1, 2, 1_700_000_000)
    body += text("cam") + text(str(RUN)) + text('{"tolerance_us": 5}')
    body += struct.pack("<Hi", 0, 2)
    body += text("frame-no") + struct.pack("<HH", 0, 7)
    body += text("master-time") + struct.pack("<HH", 2, 8)
    body += bytes(-(8 + len(body)) % 8)
    block_1 = struct.pack("<IQIQ", 0, 1000, 1, 2000)
    block_2 = struct.pack("<IQ", 2, 3000)
    magic = struct.pack("<Q", 0xB28FE2434E53548A)
    whole = magic + body + end(body) + block_1 + end(block_1) + block_2 + end(block_2)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("generation", Generation)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 100])
def test_counts_around_the_block_size_read_back(tmp_path, count, generation):
    pairs = [(i, i * 16_667) for i in range(count)]
    read = read_tsync(write(tmp_path / "a.tsync", pairs, block_size=8, generation=generation))
    assert read.times.dtype == np.int64
    assert read.times.shape == (count, 2)
    assert read.times.tolist() == [list(pair) for pair in pairs]
    assert read.header.generation is generation
    assert read.problem == ""


@given(data=st.data(), types=st.tuples(*[st.sampled_from(TimeType)] * 2),
       generation=st.sampled_from(Generation), flushes=st.sets(st.integers(0, 20)))  # fmt: skip
def test_any_pairs_of_any_types_read_back(tmp_path_factory, data, types, generation, flushes):
    pairs = data.draw(st.lists(st.tuples(*(st.integers(*t.bounds) for t in types)), max_size=20))
    path = tmp_path_factory.mktemp("t") / "a.tsync"
    with TsyncWriter(path, collection_id=RUN.bytes, columns=columns(*types), block_size=4,
                     generator="µ", custom={"ä": 1}, mode=TsyncMode.SYNCPOINTS,
                     generation=generation, flush_interval_s=1e9) as writer:  # fmt: skip
        for i, pair in enumerate(pairs):
            writer.append(*pair)
            if i in flushes:
                writer.flush()
                assert read_tsync(path).times.tolist() == [list(p) for p in pairs[: i + 1]]
    read = read_tsync(path)
    assert [tuple(pair) for pair in read.times.tolist()] == pairs
    assert read.header == writer.header


@pytest.mark.parametrize("pair", [(-1, 0), (2**32, 0), (0, -1), (0, 2**63), (0.5, 0)])
def test_a_time_that_does_not_fit_is_refused_and_the_file_stays_whole(tmp_path, pair):
    path = tmp_path / "a.tsync"
    with TsyncWriter(path, collection_id=RUN.bytes) as writer:
        writer.append(0, 1)
        with pytest.raises(StorageError, match="does not fit"):
            writer.append(*pair)
        writer.append(1, 2)
    assert read_tsync(path).times.tolist() == [[0, 1], [1, 2]]


def test_the_file_is_whole_after_each_flush(tmp_path):
    path = tmp_path / "a.tsync"
    with TsyncWriter(path, collection_id=RUN.bytes, block_size=4) as writer:
        for i in range(30):
            writer.append(i, i)
            writer.flush()
            assert len(read_tsync(path).times) == i + 1
            writer.flush()  # nothing new: nothing changes
            assert len(read_tsync(path).times) == i + 1


def test_pairs_reach_the_disk_within_a_second_without_a_flush(tmp_path, monkeypatch):
    path = tmp_path / "a.tsync"
    now = 100.0
    monkeypatch.setattr(tsync_writer.time, "monotonic", lambda: now)
    with TsyncWriter(path, collection_id=RUN.bytes) as writer:
        for i in range(50):
            writer.append(i, i)
            now += 0.1
            assert len(read_tsync(path).times) >= i - 10


def test_a_file_killed_between_any_two_writes_opens(tmp_path, monkeypatch):
    """After each write to the disk, the file as it lies there is whole."""
    path, seen = tmp_path / "a.tsync", []
    pwrite = os.pwrite

    def watched(fd, data, position):
        written = pwrite(fd, data, position)
        seen.append(len(read_tsync(path).times))
        return written

    monkeypatch.setattr(os, "pwrite", watched)
    with TsyncWriter(path, collection_id=RUN.bytes, block_size=4, flush_interval_s=0) as writer:
        for i in range(20):
            writer.append(i, i)
    assert seen == list(range(21))


def test_a_file_cut_at_any_byte_gives_its_whole_blocks(tmp_path):
    path = write(tmp_path / "a.tsync", [(i, i * 10) for i in range(11)], block_size=4)
    data = path.read_bytes()
    header = len(write(tmp_path / "empty.tsync", [], block_size=4).read_bytes())
    block = 4 * 12 + 16
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size < header:
            with pytest.raises(StorageError, match="cannot be read as a tsync file"):
                read_tsync(path, salvage=True)
            continue
        whole = (size - header) // block
        read = read_tsync(path, salvage=True)
        assert read.times[:, 0].tolist() == list(range(4 * whole))
        assert read.whole_size == header + whole * block
        assert bool(read.problem) == (size != read.whole_size)


def test_a_changed_byte_is_found_wherever_it_is(tmp_path):
    path = write(tmp_path / "a.tsync", [(i, i * 10) for i in range(6)], block_size=4)
    data = path.read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(StorageError):
            read_tsync(path)


def test_a_file_is_the_same_in_whatever_parts_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tsync", [(i, i * 10) for i in range(30)], block_size=4)
    data = path.read_bytes()
    for position in (None, len(data) - 1, len(data) - 200):
        changed = bytearray(data)
        if position is not None:
            changed[position] ^= 0x40
        path.write_bytes(changed)
        seen = set()
        for part in (1, 64, 128, 1 << 20):
            monkeypatch.setattr(tsync_reader, "_PART_BYTES", part)
            parts = []
            found = scan_tsync(path, lambda _, each, parts=parts: parts.append(each), salvage=True)
            read = read_tsync(path, salvage=True)
            assert np.concatenate(parts).tolist() == read.times.tolist()
            assert read_times(path).tolist() == read.times[:, 1].tolist()
            assert found.last == tuple(read.times[-1])
            seen.add((found.pairs, found.problem, found.whole_size, found.pairs_behind))
        assert len(seen) == 1
        assert bool(seen.pop()[1]) is (position is not None)


def test_a_part_of_a_file_needs_no_memory_for_the_rest(tmp_path):
    path = write(tmp_path / "a.tsync", [(i, i) for i in range(600_000)])
    most = max(len(part) for part in parts_of(path))
    assert most <= tsync_reader._PART_BYTES / 12 < 600_000


def parts_of(path):
    parts = []
    scan_tsync(path, lambda _header, pairs: parts.append(pairs))
    return parts


@pytest.mark.parametrize("kept", [0, 1, 4, 7, 8, 10, 11])
def test_a_file_that_is_cut_is_that_of_fewer_pairs(tmp_path, kept):
    pairs = [(i, i * 10) for i in range(11)]
    path = write(tmp_path / "a.tsync", pairs, block_size=4, time_created=1)
    shorter = write(tmp_path / "b.tsync", pairs[:kept], block_size=4, time_created=1)
    times = [time for _, time in pairs[kept:]]
    assert cut_tsync(path, kept, most=11, kept_as="old") == (11 - kept, times)
    assert path.read_bytes() == shorter.read_bytes()
    assert not (tmp_path / "old").exists()


def test_more_times_than_wanted_are_kept_as_the_file_that_has_them(tmp_path):
    path = write(tmp_path / "a.tsync", [(i, i * 10) for i in range(11)], block_size=4)
    before = path.read_bytes()
    assert times_from(path, 5, 6) == (6, [50, 60, 70, 80, 90, 100])
    assert cut_tsync(path, 5, most=5, kept_as="old") == (6, [])
    assert (tmp_path / "old").read_bytes() == before
    assert len(read_tsync(path).times) == 5
    with pytest.raises(StorageError, match="File exists"):
        cut_tsync(path, 1, most=1, kept_as="old")
    assert len(read_tsync(path).times) == 5


def test_a_disk_that_fills_up_leaves_the_last_flush_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.tsync"
    pwrite = os.pwrite
    with TsyncWriter(path, collection_id=RUN.bytes, block_size=4, flush_interval_s=1e9) as writer:
        for i in range(6):
            writer.append(i, i)
        writer.flush()

        def full(fd, data, position):
            monkeypatch.setattr(os, "pwrite", full_now)
            return pwrite(fd, data[:5], position)

        def full_now(fd, data, position):
            monkeypatch.setattr(os, "pwrite", pwrite)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        writer.append(6, 6)
        with pytest.raises(StorageError, match=r"a\.tsync: No space left") as caught:
            writer.flush()
        assert "disk is full" in caught.value.remedy
        with pytest.raises(StorageError, match="no more times are accepted"):
            writer.append(7, 7)
    assert read_tsync(path).times[:, 0].tolist() == list(range(6))


def test_an_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "a.tsync"
    path.write_text("dear data")
    with pytest.raises(StorageError, match="File exists"):
        TsyncWriter(path, collection_id=RUN.bytes)
    assert path.read_text() == "dear data"


def test_other_files_are_refused_with_their_name(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3" * 10)
    with pytest.raises(StorageError, match=r"a\.mkv.*does not begin"):
        read_tsync(path)
    with pytest.raises(StorageError, match="No such file"):
        read_tsync(Path(tmp_path / "absent.tsync"))


def test_the_writer_counts_its_pairs(tmp_path):
    path = tmp_path / "a.tsync"
    with TsyncWriter(path, collection_id=RUN.bytes) as writer:
        for pair in range(10):
            writer.append(2 * pair, 2 * pair + 1)
        assert writer.count == 10
    assert read_tsync(path).times.tolist() == np.arange(20).reshape(10, 2).tolist()


def test_the_numbers_of_the_format_are_those_of_its_description():
    """docs/tsync-format.md: other programs read these numbers."""
    assert {unit.name: unit.value for unit in TimeUnit} == {
        "INDEX": 0, "NANOSECONDS": 1, "MICROSECONDS": 2, "MILLISECONDS": 3, "SECONDS": 4,
    }  # fmt: skip
    assert {kind.name: kind.value for kind in TimeType} == {
        "INT16": 2, "INT32": 3, "INT64": 4, "UINT16": 6, "UINT32": 7, "UINT64": 8,
    }  # fmt: skip
    assert {mode.name: mode.value for mode in TsyncMode} == {"CONTINUOUS": 0, "SYNCPOINTS": 1}


def test_closing_twice_leaves_other_files_alone(tmp_path, monkeypatch):
    writer = TsyncWriter(tmp_path / "a.tsync", collection_id=RUN.bytes)
    writer.close()
    closed = []
    monkeypatch.setattr(os, "close", closed.append)
    writer.close()
    assert closed == []
