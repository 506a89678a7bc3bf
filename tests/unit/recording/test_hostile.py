"""A recording from a stranger: nothing outside of it is opened, and nothing it claims is believed.

Each change makes one dataset bad. Every command then goes on with the others, and ends in words.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import mlink.recording
from mlink.errors import StorageError
from mlink.recording.zarr_file import opened_store
from mlink.storage import limits
from mlink.storage.inside import RecordingFolder
from tests.support.recorded.hostile import READING, every_kind, run

SECRET = "time_usec;secret\n1;hunter2\n"
DATASETS = ("video", "events/table", "readings", "signals", "journal/loop", "clock")
Change = Callable[[Path, Path], object]
"""Makes a recording bad. Called with its folder, and a folder that belongs to somebody else."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return every_kind(tmp_path_factory.mktemp("good"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "victim.csv").write_text(SECRET)
    (folder / "torn.csv").write_text(SECRET + "torn")
    return folder


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.lstat().st_mode}".encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()


def replaced(name: str, old: str, new: str) -> Change:
    def change(recording: Path, outside: Path) -> None:
        text = (recording / name).read_text()
        assert old in text
        (recording / name).write_text(text.replace(old, new.replace("OUTSIDE", str(outside))))

    return change


def linked(name: str, target: str) -> Change:
    def change(recording: Path, outside: Path) -> None:
        path = recording / name
        if path.is_dir():
            shutil.move(path, outside / path.name)
            path.symlink_to(outside / path.name)
            return
        path.unlink(missing_ok=True)
        path.symlink_to(outside / target)

    return change


def piped(name: str) -> Change:
    def change(recording: Path, outside: Path) -> None:
        (recording / name).unlink(missing_ok=True)
        os.mkfifo(recording / name)

    return change


def written(name: str, content: bytes | str) -> Change:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda recording, _outside: (recording / name).write_bytes(data)


def other_folder(recording: Path, outside: Path) -> None:
    """A dataset whose folder is a link to one of another recording."""
    shutil.copytree(recording / "events" / "table", outside / "table")
    with (outside / "table" / "table.csv").open("a") as file:
        file.write("torn")
    (recording / "mine").symlink_to(outside / "table")


def draft_link(recording: Path, outside: Path) -> None:
    """What looks like a half-written manifest, and is a link."""
    (recording / "video" / ".manifest.toml.1-0.tmp").symlink_to(outside / "victim.csv")


TABLE = "events/table/manifest.toml"
VIDEO = "video/video.mkv"
JOURNAL = "journal/loop/loop.journal.msgpack.zst"
ARRAY = "signals/data.zarr/data/zarr.json"
OUTSIDE: dict[str, Change] = {
    "a name above the folder": replaced(TABLE, '"table.csv"', '"../../../outside/torn.csv"'),
    "an absolute name": replaced(TABLE, '"table.csv"', '"OUTSIDE/torn.csv"'),
    "a name with a zero": replaced(TABLE, '"table.csv"', '"a\\u0000b"'),
    "a name of 5,000 characters": replaced(TABLE, '"table.csv"', f'"{"x" * 5000}"'),
    "no name": replaced(TABLE, '"table.csv"', '""'),
    "a folder's name": replaced(TABLE, '"table.csv"', '".."'),
    "a table that is a link": linked("events/table/table.csv", "torn.csv"),
    "a video that is a link": linked("video/video.mkv", "victim.csv"),
    "times that are a link": linked("video/video_timestamps.tsync", "victim.csv"),
    "JSON that is a link": linked("readings/data.json.zst", "victim.csv"),
    "a journal that is a link": linked("journal/loop/loop.journal.msgpack.zst", "victim.csv"),
    "a manifest that is a link": linked("video/manifest.toml", "victim.csv"),
    "attributes that are a link": linked("video/attributes.toml", "victim.csv"),
    "a dataset that is a link": linked("video", ""),
    "a group that is a link": linked("events", ""),
    "a store that is a link": linked("signals/data.zarr", ""),
    "a part of a store that is a link": linked("signals/data.zarr/data/zarr.json", "victim.csv"),
    "a part of a store that is a folder's link": linked("signals/data.zarr/data/c", ""),
    "a link to a dataset": other_folder,
    "a draft that is a link": draft_link,
    "a log that is a link": linked("repair.log", "victim.csv"),
    "attributes of the recording that are a link": linked("attributes.toml", "victim.csv"),
}
PIPES = [
    "video/video.mkv", "video/video_timestamps.tsync", "events/table/table.csv",
    "readings/data.json.zst", "signals/data.zarr/data/zarr.json", "video/manifest.toml",
    "video/attributes.toml", "attributes.toml", "clock/pairs.tsync",
    "journal/loop/loop.journal.msgpack.zst", "repair.log",
]  # fmt: skip


def seen_of_all(recording: Path, out: Path, *, repair: bool = True) -> str:
    """Run all commands; return what they printed, with the files that they exported."""
    texts = [run(command, recording, out)[1] for command in READING]
    if repair:
        texts.append(run("repair", recording, out)[1])
    exported = [path.read_text(errors="replace") for path in out.rglob("*") if path.is_file()]
    return "\n".join(texts + exported)


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_is_read_or_written(
    good: Path, outside: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording", symlinks=True)
    OUTSIDE[name](recording, outside)
    before = digest(outside)
    seen = seen_of_all(recording, tmp_path / "out")
    assert digest(outside) == before
    assert "hunter2" not in seen
    whole = [
        each for each in DATASETS if f"\n{each}: " in f"\n{run('verify', recording, tmp_path)[1]}"
    ]
    assert len(whole) >= len(DATASETS) - 2


@pytest.mark.parametrize("name", PIPES)
def test_nothing_waits_for_a_pipe(good: Path, tmp_path: Path, name: str) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    piped(name)(recording, tmp_path)
    seen_of_all(recording, tmp_path / "out")


@pytest.mark.parametrize("name", [VIDEO, JOURNAL, "events/table/table.csv", ARRAY])
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_in_place_of_a_file_is_not_opened(
    good: Path, tmp_path: Path, name: str, kind: int
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    (recording / name).unlink()
    try:
        os.mknod(recording / name, kind | 0o666, os.makedev(1, 5))  # /dev/zero; a disk in memory
    except PermissionError:
        pytest.skip("this user may not make devices")
    seen_of_all(recording, tmp_path / "out")
    assert ", not a file" in run("verify", recording, tmp_path)[1]


def bomb(size: int, of: bytes = b"\0") -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    piece = of * ((1 << 20) // len(of))
    pieces = [packer.compress(piece) for _ in range(size // len(piece))]
    return b"".join([*pieces, packer.flush()])


ROWS = b'{"columns":["timestamp","a","b"],"data":['
MALFORMED: dict[str, Change] = {
    "data is no table": written(TABLE, 'type = "dataset"\ndata = 5\n'),
    "parts is a number": replaced(TABLE, "parts = [", "parts = 5\nother = ["),
    "an index is a text": replaced(TABLE, "fname", 'index = "x"\nfname'),
    "a name is a number": replaced(TABLE, 'fname = "table.csv"', "fname = 5"),
    "data_aux is a text": replaced("video/manifest.toml", "[[data_aux", "[[other"),
    "type is a number": replaced(TABLE, 'type = "dataset"', "type = 7"),
    "type is a collection": replaced(TABLE, 'type = "dataset"', 'type = "collection"'),
    "authors are a text": replaced("manifest.toml", "type =", 'authors = "x"\ntype ='),
    "an author is a number": replaced("manifest.toml", "type =", "authors = [5]\ntype ="),
    "no id": replaced("manifest.toml", "collection_id", "other"),
    "an id that is none": replaced("manifest.toml", 'collection_id = "', 'collection_id = "x'),
    "a date that is a text": replaced("manifest.toml", "time_created =", 'time_created = "x" #'),
    "NaN": written("events/table/attributes.toml", "uncertainty_usec = nan\ngaps = [nan]\n"),
    "infinity": written("signals/attributes.toml", "data_scale = inf\nsample_rate = -inf\n"),
    "numbers for lists": written("video/attributes.toml", "gaps = 5\nvideo = 7\nencoder = 1\n"),
    "lists for numbers": written("video/attributes.toml", "frame_count = []\nitems_lost = [1]\n"),
    "huge numbers": written("video/attributes.toml", f"x = {10**100}\n"),
    "more digits than Python reads": written("video/attributes.toml", f"x = {'9' * 5000}\n"),
    "a number of blocks": written("signals/attributes.toml", "block_count = 999999999999\n"),
    "lists of TOML in lists": written("video/attributes.toml", "x = " + "[" * 200_000),
    "a key of many parts": written("video/attributes.toml", "a" + ".a" * 200_000 + " = 1\n"),
    "a manifest in Latin-1": written(TABLE, 'type = "dataset"\nx = "é"\n'.encode("latin-1")),
    "a large manifest": written(TABLE, "# " + "x" * (9 << 20)),
    "Latin-1 in a table": written("events/table/table.csv", "a;b\né;1\n".encode("latin-1")),
    "a table of zero bytes": written("events/table/table.csv", bytes(5000)),
    "a table without lines": written("events/table/table.csv", b"x" * (17 << 20)),
    **{
        f"a cell of {size} MB": written(
            "events/table/table.csv", f"time_usec;{title}\n1;{'x' * 1_000_000 * size}\n"
        )
        for size, title in ((5, "é"), (9, "a"))
    },
    "an open quote": written("events/table/table.csv", b'a;b\n"' + b"x\n" * (1 << 16)),
    "JSON of another shape": written("readings/data.json.zst", zstandard.compress(b'{"a": 1}')),
    "JSON that is a list": written("readings/data.json.zst", zstandard.compress(b"[1, 2]")),
    "rows that are numbers": written("readings/data.json.zst", zstandard.compress(ROWS + b"1,2]}")),
    "rows of another width": written(
        "readings/data.json.zst", zstandard.compress(ROWS + b"[1],[1,2,3,4],[]]}")
    ),
    "times that are texts": written(
        "readings/data.json.zst", zstandard.compress(ROWS + b'["x",1,2],[{},1,2]]}')
    ),
    "times that are too large": written(
        "readings/data.json.zst", zstandard.compress(ROWS + b"[1e300,1,2]]}")
    ),
    "NaN in JSON": written("readings/data.json.zst", zstandard.compress(ROWS + b"[1,NaN,2]]}")),
    "lists of JSON in lists": written(
        "readings/data.json.zst", zstandard.compress(b"[" * 200_000)
    ),
    "rows in lists": written(
        "readings/data.json.zst", zstandard.compress(ROWS + b"[" * 200_000 + b"]" * 200_000 + b"]}")
    ),
    "a torn row of line feeds": written(
        "readings/data.json.zst", zstandard.compress(ROWS + b"[1,2,3],[1," + b"\n" * 1_000_000)
    ),
    "not compressed": written("readings/data.json.zst", b'{"columns":[],"data":[]}'),
    "JSON that inflates": written("readings/data.json.zst", bomb(1 << 30, b" ")),
    "rows that inflate": written("readings/data.json.zst", bomb(300 << 20, b"[[],[],[],[],[]],")),
    "a journal that inflates": written(JOURNAL, bomb(1 << 30)),
    "a journal of nothing": written(JOURNAL, b"\x28\xb5\x2f\xfd" * 9000),
    "times of another file": written("video/video_timestamps.tsync", b"\x89PNG" * 100),
    "a video that is a list of files": written(VIDEO, "ffconcat version 1.0\nfile /etc/passwd\n"),
    "a video that is a playlist": written(VIDEO, "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
    "metadata of a store": written("signals/data.zarr/data/zarr.json", "[" * 100_000),
    "a store of another codec": replaced(ARRAY, '"zstd"', '"pickle"'),
    "a store's shape": replaced(ARRAY, "40,", "4000000000000000,"),
    "a store's negative shape": replaced(ARRAY, "40,", "-40,"),
    "a store's type": replaced(ARRAY, "float32", "string"),
    "a store's count": replaced(
        "signals/data.zarr/zarr.json", '"sample_count": 40', '"sample_count": []'
    ),
    "a store of version 2": written("signals/data.zarr/.zgroup", '{"zarr_format": 2}'),
    "a store's names": replaced(ARRAY, '"signal_names"', '"other"'),
    "a store's number of pieces": lambda recording, _: stored(
        recording, [_sharded([1, 1], [_BYTES])], shape=[1 << 22, 2], chunk=[1 << 18, 2]
    ),
    "a store's chunk": lambda recording, _: stored(  # the library holds it several times
        recording, [_BYTES], shape=[10 << 20, 2], chunk=[10 << 20, 2]
    ),
    "folders in folders of a store": lambda recording, _: (
        (recording / "signals" / "data.zarr" / "/".join("d" * 20)).mkdir(parents=True)
    ),
    "a file for a store": lambda recording, _: (
        shutil.rmtree(recording / "signals" / "data.zarr"),
        (recording / "signals" / "data.zarr").write_text("x"),
    ),
    "a folder for a video": lambda recording, _: (
        (recording / "video" / "video.mkv").unlink(),
        (recording / "video" / "video.mkv").mkdir(),
    ),
    "many groups": lambda recording, _: deep(recording),
    "the account": replaced(
        "attributes.toml", "[[streams]]", "[[streams]]\nsubscriptions = 5\n[[x]]"
    ),
    "the list of datasets": replaced("attributes.toml", "success =", "datasets = 5\nsuccess ="),
    "a length": replaced("attributes.toml", "_msec = 3000", f"_msec = {2**62}"),
}  # fmt: skip


def deep(recording: Path) -> None:
    folder = recording
    for _ in range(200):
        folder = folder / "g"
        folder.mkdir()
        shutil.copy(recording / "events" / "manifest.toml", folder / "manifest.toml")


@pytest.mark.parametrize("name", MALFORMED)
def test_what_no_recorder_writes_is_damage_of_that_dataset(
    good: Path, outside: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    MALFORMED[name](recording, outside)
    seen_of_all(recording, tmp_path / "out")


def test_the_bound_is_in_the_message_and_can_be_raised(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    rows = zstandard.compress(ROWS + b"[1000,1,2],\n" * 200_000 + b"[1000,1,2]]}")
    (recording / "readings" / "data.json.zst").write_bytes(rows)
    monkeypatch.setenv("MLINK_READ_LIMIT_MB", "1")
    assert (
        "more than the 1 MB allowed (MLINK_READ_LIMIT_MB)" in run("verify", recording, tmp_path)[1]
    )
    monkeypatch.delenv("MLINK_READ_LIMIT_MB")
    assert "200001 rows are there, 50 were written" in run("verify", recording, tmp_path)[1]


@pytest.mark.parametrize("name", ["video", "clock", "events/table", "readings", "signals"])
def test_a_dataset_that_needs_more_memory_than_allowed_is_refused_with_the_bound(
    good: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(limits, "MEMORY_MB", 0)
    monkeypatch.setattr(limits, "read_limit", lambda size=0: 64 if not size else 1 << 20)
    with (
        mlink.recording.open(good) as opened,
        pytest.raises(StorageError, match=r"in memory, has more than .*MLINK_READ_LIMIT_MB"),
    ):
        list(opened[name].columns())


_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
_BLOSC = {
    "name": "blosc",
    "configuration": {
        "cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "typesize": 4, "blocksize": 0,
    },
}  # fmt: skip


def _sharded(shape: list[int], codecs: list[Any], index: list[Any] | None = None) -> dict[str, Any]:
    of = {"chunk_shape": shape, "codecs": codecs, "index_codecs": index or [_BYTES]}
    return {"name": "sharding_indexed", "configuration": of | {"index_location": "end"}}


def stored(
    recording: Path,
    codecs: list[Any],
    data: bytes = b"",
    *,
    shape: list[int] | None = None,
    chunk: list[int] | None = None,
) -> None:
    """Let an array have other codecs, another shape, and this content of its file."""
    about = json.loads((recording / ARRAY).read_text())
    about["codecs"] = codecs
    about["shape"] = shape or about["shape"]
    about["chunk_grid"]["configuration"]["chunk_shape"] = chunk or about["shape"]
    (recording / ARRAY).write_text(json.dumps(about))
    (recording / ARRAY).with_name("c").joinpath("0", "0").write_bytes(data)


_SEGMENT, _CLUSTER, _VOID = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xec\x80"
_OPEN = b"\x01" + b"\xff" * 7
"""A size that is not known: the element lasts until the next of its kind."""


def _element(kind: bytes, content: bytes) -> bytes:
    return kind + (1 << 56 | len(content)).to_bytes(8, "big") + content


def _laced(pictures: int) -> bytes:
    """Return blocks that each have 256 pictures of one byte."""
    block = _element(b"\xa3", b"\x81\0\0\x84\xff" + bytes(256))
    return _element(_CLUSTER, _element(b"\xe7", b"\0") + block * (pictures // 256))


MATROSKA: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "its own head has no end": (
        lambda start, parts: start[:4] + _OPEN + start[5:] + _SEGMENT + _OPEN + parts,
        "beginning is damaged",
    ),
    "segments without an end, one in the other": (
        lambda start, parts: start + (_SEGMENT + _OPEN) * 100_000 + parts,
        "beginning is damaged",
    ),
    "tags without an end, one in the other": (
        lambda start, parts: (
            start + _SEGMENT + _OPEN + (b"\x12\x54\xc3\x67" + _OPEN) * 9000 + parts
        ),
        "beginning is damaged",
    ),
    "nothing, a million times": (
        lambda start, parts: start + _SEGMENT + _OPEN + _VOID * 1_000_000 + parts,
        "more parts before its pictures",
    ),
    "clusters without pictures": (
        lambda start, parts: (
            start
            + _SEGMENT
            + _OPEN
            + parts[: parts.index(_CLUSTER)]
            + _element(_CLUSTER, b"") * 100_000
        ),
        "more parts than any recording",
    ),
    "pictures of one byte in blocks of 256": (
        lambda start, parts: (
            start + _element(_SEGMENT, parts[: parts.index(_CLUSTER)] + _laced(100_000))
        ),
        "pictures of less than 10 bytes",
    ),
}


@pytest.mark.parametrize("name", MATROSKA)
def test_a_video_with_parts_that_no_recorder_writes_is_refused_without_reading_them_all(
    good: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    make, problem = MATROSKA[name]
    start, _, parts = (recording / VIDEO).read_bytes().partition(_SEGMENT)
    (recording / VIDEO).write_bytes(make(start, parts[8:]))
    code, text = run("verify", recording, tmp_path)
    assert (code, problem in text) == (1, True), text
    seen_of_all(recording, tmp_path / "out")


LARGE = 256 << 20
PACKED: dict[str, tuple[list[Any], Callable[[], bytes], str]] = {
    "says so": ([_BYTES, _ZSTD], lambda: zstandard.compress(bytes(LARGE)), "inflates to"),
    "does not say so": ([_BYTES, _ZSTD], lambda: bomb(LARGE), "cannot be decompressed"),
    "of a shard": (
        [_sharded([40, 2], [_BYTES, _ZSTD])],
        lambda: (packed := bomb(LARGE)) + struct.pack("<QQ", 0, len(packed)),
        "cannot be decompressed",
    ),
    "of another library": (
        [_BYTES, _BLOSC],
        lambda: struct.pack("<4B3I", 2, 1, 1, 4, LARGE, 1 << 20, 32) + bytes(16),
        "inflates to",
    ),
    "twice": (
        [_BYTES, _ZSTD, _ZSTD], lambda: zstandard.compress(bomb(LARGE)), "codecs in an order"
    ),
    "in an index": (
        [_sharded([40, 2], [_BYTES], [_BYTES, _ZSTD])], lambda: bomb(LARGE), "the index of data"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PACKED)
def test_a_chunk_that_inflates_beyond_its_size_is_not_inflated(
    good: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    codecs, data, problem = PACKED[name]
    stored(recording, codecs, data())
    code, text = run("verify", recording, tmp_path)
    assert (code, problem in text) == (1, True), text


def test_files_of_a_store_are_not_followed_that_were_replaced_by_links_meanwhile(
    good: Path, outside: Path, tmp_path: Path
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    store = RecordingFolder(recording, "signals").file("data.zarr")
    with opened_store(store, read=True) as (_, arrays):
        linked("signals/data.zarr/data/c/0", "")(recording, outside)
        with pytest.raises(StorageError, match="0 is a link"):
            arrays["data"][:]
    (recording / "signals/data.zarr/data/c/0").unlink()
    with opened_store(store, writable=True) as (_, arrays):
        linked("signals/data.zarr/timestamps/zarr.json", "victim.csv")(recording, outside)
        with pytest.raises(StorageError, match=r"zarr.json is a link"):
            arrays["timestamps"].resize((3,))
    assert (outside / "victim.csv").read_text() == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_damage_and_a_repair_by_root_keeps_the_owner(
    good: Path, tmp_path: Path
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    table = recording / "events" / "table" / "table.csv"
    for path in (recording, *recording.rglob("*")):
        os.chown(path, 65534, 65534)
    table.write_bytes(table.read_bytes() + b"torn")
    (recording / "events" / "table" / "attributes.toml").write_text("")
    run("repair", recording, tmp_path)
    assert {path.stat().st_uid for path in recording.rglob("*")} == {65534}
    os.chown(table, 0, 0)
    assert "table.csv belongs to user 0" in run("verify", recording, tmp_path)[1]


@pytest.mark.parametrize("name", ["a dataset that is a link", "a link to a dataset"])
def test_what_cannot_be_opened_is_named_by_export(
    good: Path, outside: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording", symlinks=True)
    OUTSIDE[name](recording, outside)
    for form in ("csv", "mp4"):
        code, text = run(f"export --to {form}", recording, tmp_path / "out")
        assert code == 1
        assert "not exported: " in text
        assert "is a link" in text


CONTROLS = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\u2028"


def test_no_text_of_a_recording_reaches_the_terminal_as_a_control(
    good: Path, tmp_path: Path
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    escaped = "".join(f"\\u{ord(each):04x}" for each in CONTROLS)
    for file in ("manifest.toml", "attributes.toml", "video/attributes.toml"):
        text = (recording / file).read_text().replace("success = true", "success = false")
        text = re.sub('"(mlink test|m7|kernel)"', lambda _: f'"[/x]{escaped}"', text)
        (recording / file).write_text(f'failure_reason = "{escaped}"\n{text}')
    table = recording / "events/table/manifest.toml"
    table.write_text(table.read_text().replace('"table.csv"', f'"{escaped}.csv"'))
    (recording / "video" / f"{CONTROLS}\ncomplete and intact").write_text("x")
    shutil.copytree(recording / "readings", recording / f"x{CONTROLS}\ncomplete and intact")
    shutil.copytree(good, tmp_path / f"x{CONTROLS}\ncomplete and intact")
    seen = seen_of_all(recording, tmp_path / "out")
    seen += run("info --json", recording, tmp_path)[1] + run("list", tmp_path, tmp_path)[1]
    assert "\\x1b]0;title" in seen
    assert not {each for each in CONTROLS if not each.isprintable()} & set(seen)
    assert "\ncomplete and intact" not in seen
    assert not [path for path in (tmp_path / "out").rglob("*") if not path.name.isprintable()]


def test_a_long_cell_does_not_take_its_memory_for_each_row(good: Path, tmp_path: Path) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    rows = [f"{at};{at}\n" for at in range(50_000)]
    long = "x" * 1_000_000
    (recording / "events/table/table.csv").write_text(f"time_usec;a\n0;{long}\n{''.join(rows)}")
    with mlink.recording.open(recording) as opened:
        assert opened.table("events/table").column("a")[:2].tolist() == [long, "0"]


HOLED = [
    JOURNAL, VIDEO, "readings/data.json.zst", "events/table/table.csv", "clock/pairs.tsync",
    "video/video_timestamps.tsync", "signals/data.zarr/data/c/0/0",
]  # fmt: skip


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", HOLED)
def test_holes_of_files_are_neither_searched_nor_believed(
    good: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    with (recording / name).open("r+b") as file:
        file.truncate(1 << 40)
    assert run("verify", recording, tmp_path)[0] == 1
    (recording / name).unlink()
    with (recording / name).open("xb") as file:
        file.truncate(1 << 40)
    seen_of_all(recording, tmp_path / "out", repair=False)


def test_values_that_a_format_does_not_have_are_exported_as_texts(
    good: Path, tmp_path: Path
) -> None:
    recording = shutil.copytree(good, tmp_path / "recording")
    own = recording / "attributes.toml"
    odd = 'user_comment = "a\\u0000b"\ntime = 1979-05-27T07:32:00Z\ncollection_name = ["x"]\n'
    own.write_text(odd + re.sub("^collection_name.*$", "", own.read_text(), flags=re.MULTILINE))
    titles = b'{"columns":["timestamp","\\ud800/","b\\u0000"],"data":['
    rows = b'[1,1,"x"],[2,"\\ud800\\u0000",1.5],[3,null,[{"a":1}]],[4,99999999999999999999,true]]}'
    (recording / "readings" / "data.json.zst").write_bytes(zstandard.compress(titles + rows))
    for form in ("nwb", "mat", "parquet"):
        code, text = run(f"export --to {form}", recording, tmp_path / "out")
        assert (code, "not exported" in text) == (0, False), text
    with mlink.recording.open(recording) as opened:
        assert opened["readings"].values[:2].tolist() == [[1, "x"], ["\ud800\0", 1.5]]
        with pytest.raises(StorageError, match="no numbers"):
            repr(opened["readings"].physical)
        opened.plot()
