"""Videos of strangers: what takes FFmpeg too long to open is refused before."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from mlink.errors import StorageError
from mlink.recording.extras import check_extras
from mlink.recording.matroska import segment_end, wrong_checksum
from mlink.recording.video import _Part
from mlink.storage.inside import as_file


def element(name: str, content: bytes = b"") -> bytes:
    return bytes.fromhex(name) + b"\x01" + len(content).to_bytes(7, "big") + content


def tag(number: int) -> bytes:
    text = element("45a3", b"T%d" % number) + element("4487", b"a" * 50)
    return element("7373", element("63c0") + element("67c8", text))


def seek_to(position: int) -> bytes:
    return element("114d9b74", element("4dbb", element("53ac", position.to_bytes(8, "big"))))


HEAD = element("1a45dfa3", element("4282", b"matroska"))
INFO = element("1549a966", element("2ad7b1", (1_000_000).to_bytes(4, "big")))
PICTURES = element("1f43b675", element("e7", b"\0"))
MANY = element("1254c367", b"".join(tag(number) for number in range(400)))
LONG = element("1254c367", element("7373", element("67c8", bytes(300_000))))
FEW = element("1254c367", tag(0))
SEEK_BYTES = len(seek_to(0))


def segment(content: bytes) -> bytes:
    return element("18538067", content)


def packed(algorithm: bytes) -> bytes:
    """Return tracks whose pictures are compressed once more."""
    inner = element("5034", algorithm)
    return element("1654ae6b", element("ae", element("6d80", element("6240", inner))))


REFUSED = {
    "many tags": (HEAD + segment(INFO + MANY + PICTURES), "more parts"),
    "many elements of few tags": (HEAD + segment(INFO + FEW * 400 + PICTURES), "more parts"),
    "many empty elements": (HEAD + segment(b"\xec\x80" * 2000 + PICTURES), "more parts"),
    "long tags": (HEAD + segment(INFO + LONG + PICTURES), "256 kB of tags"),
    "chapters": (HEAD + segment(element("1043a770", bytes(300_000)) + PICTURES), "of chapters"),
    "attachments": (
        HEAD + segment(element("1941a469", bytes(17 << 20)) + PICTURES),
        "16384 kB of attachments",
    ),
    "tags behind the pictures, by a list of positions": (
        HEAD + segment(seek_to(SEEK_BYTES + len(PICTURES)) + PICTURES + MANY),
        "more parts",
    ),
    "pictures that inflate": (HEAD + segment(packed(b"") + PICTURES), "compressed once more"),
    "pictures that inflate by bzip2": (
        HEAD + segment(packed(element("4254", b"\x01")) + PICTURES),
        "compressed once more",
    ),
    "a list of positions behind the pictures": (
        HEAD
        + segment(
            seek_to(SEEK_BYTES + len(PICTURES))
            + PICTURES
            + seek_to(2 * SEEK_BYTES + len(PICTURES))
            + MANY
        ),
        "more parts",
    ),
    "tags behind bytes that are no element": (
        HEAD + segment(b"\0" * 100 + MANY + PICTURES),
        "beginning is damaged",
    ),
    "a head as long as the file": (
        element("1a45dfa3", element("ec", bytes(5000))) + segment(MANY),
        "beginning is damaged",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_with_more_than_a_recording_has_is_refused(name: str, tmp_path: Path) -> None:
    data, reason = REFUSED[name]
    (tmp_path / "video.mkv").write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        check_extras(tmp_path / "video.mkv")


def test_pictures_without_their_equal_first_bytes_are_accepted(tmp_path: Path) -> None:
    stripped = packed(element("4254", b"\x03"))
    (tmp_path / "video.mkv").write_bytes(HEAD + segment(stripped + PICTURES))
    check_extras(tmp_path / "video.mkv")


def test_an_index_that_leads_to_another_picture_is_damage_and_not_that_picture(
    tmp_path: Path,
) -> None:
    path = tmp_path / "video.mkv"
    options = {"cluster_time_limit": "200"}
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream("ffv1", 25, pix_fmt="bgr0")
        stream.width, stream.height = 64, 48
        for number in range(40):
            pixels = np.full((48, 64, 3), number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "bgr24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    cues = data.rfind(bytes.fromhex("1c53bb6b"))
    places = re.findall(rb"\xf1[\x81-\x84](..)", data[cues:], re.DOTALL)
    assert len(places) > 3
    head, index = data[:cues], data[cues:]
    for place in places[:-1]:
        index = index.replace(place, places[-1])
    path.write_bytes(head + index)
    said = ""
    for number in range(1, 40):
        part = _Part(as_file(path), "bgr8")
        try:
            picture = part.read(number)
        except StorageError as error:
            said += error.message
        else:
            assert picture[0, 0, 0] == number
        part.close()
    assert "the index of the file leads to another picture" in said


def test_lists_of_positions_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "video.mkv").write_bytes(HEAD + segment(seek_to(0) + PICTURES))
    check_extras(tmp_path / "video.mkv")


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_video_of_ffmpeg_is_accepted_also_without_its_end(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width, stream.height = 64, 48
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with path.open("rb") as file:
        assert segment_end(file) == path.stat().st_size
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    check_extras(path)
    assert not wrong_checksum(path)


def test_each_start_of_a_video_is_accepted_or_refused_in_words(tmp_path: Path) -> None:
    whole = HEAD + segment(INFO + FEW + PICTURES)
    for length in range(len(whole)):
        (tmp_path / "video.mkv").write_bytes(whole[:length])
        with suppress(ValueError):
            check_extras(tmp_path / "video.mkv")


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize(
    "place",
    [
        lambda texts: box(b"moov", box(b"udta", texts)),
        lambda texts: box(b"meta", texts),
        lambda texts: box(b"moov", box(b"trak", box(b"udta", box(b"meta", texts)))),
        lambda texts: box(b"moov", bytes((1 << 20) - 11) + box(b"udta", texts)),
    ],
    ids=["moov", "outermost", "track", "across two parts"],
)
def test_texts_of_an_mp4_have_a_bound(place: Callable[[bytes], bytes], tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(box(b"ftyp", b"isom") + box(b"mdat", b"udta" * 10) + place(bytes(1 << 20)))
    with pytest.raises(ValueError, match="1024 kB of texts"):
        check_extras(video)
    video.write_bytes(box(b"ftyp", b"isom") + place(bytes(100_000)) + box(b"mdat", bytes(2 << 20)))
    check_extras(video)


@pytest.mark.parametrize("before", [0, (1 << 20) - 30, (1 << 20) - 15])
def test_the_pictures_that_an_mp4_announces_have_a_bound(before: int, tmp_path: Path) -> None:
    def video(count: int) -> Path:
        sizes = box(b"stsz", bytes(4) + (1).to_bytes(4, "big") + count.to_bytes(4, "big"))
        path = tmp_path / "video.mp4"
        path.write_bytes(box(b"ftyp", b"isom") + box(b"moov", bytes(before) + sizes))
        return path

    check_extras(video(8_000_000))
    with pytest.raises(ValueError, match="announces more than 8,000,000 pictures"):
        check_extras(video(8_000_001))


def test_an_mp4_whose_fragments_announce_pictures_without_end_is_refused(tmp_path: Path) -> None:
    run = box(b"trun", bytes(4) + (3_000_000).to_bytes(4, "big"))
    (tmp_path / "video.mp4").write_bytes(box(b"ftyp", b"isom") + box(b"moof", run) * 3)
    with pytest.raises(ValueError, match="announces more than"):
        check_extras(tmp_path / "video.mp4")


def test_texts_of_an_avi_have_a_bound(tmp_path: Path) -> None:
    def riff(count: int) -> bytes:
        info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"ab") * count)
        movi = chunk(b"LIST", b"movi" + chunk(b"00dc", b"ab") * 3000)
        return chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"hdrl" + info) + movi)

    video = tmp_path / "video.mkv"  # the name does not matter
    video.write_bytes(riff(100))
    check_extras(video)
    video.write_bytes(riff(3000))
    with pytest.raises(ValueError, match="more than 2000 parts"):
        check_extras(video)
