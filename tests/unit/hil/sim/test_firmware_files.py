"""Intel hex in, ELF out, and the cache of the firmware."""

import struct
import tarfile
from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink_hil.sim import fetch_firmware
from mlink_hil.sim.boards.elf import make_elf
from mlink_hil.sim.boards.intel_hex import parse_hex, read_hex

END = ":00000001FF\n"


def record(kind: int, address: int, data: bytes) -> str:
    body = bytes([len(data), address >> 8, address & 0xFF, kind]) + data
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}\n"


def test_records_are_put_at_their_addresses_and_gaps_read_as_erased():
    text = record(0, 4, b"\x01\x02") + record(0, 0, b"\x0a") + END
    assert parse_hex(text) == b"\x0a\xff\xff\xff\x01\x02"


def test_segment_and_linear_addresses_are_followed():
    text = record(2, 0, b"\x00\x01") + record(0, 0, b"\x05") + record(4, 0, b"\x00\x00")
    assert parse_hex(text + record(0, 1, b"\x06") + END) == b"\xff\x06" + b"\xff" * 14 + b"\x05"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":0100000001FF\n" + END, "line 1: the checksum is wrong"),
        (record(0, 0, b"\x01"), "the end record is missing"),
        (record(0, 0, b"\x01\x02")[:-3] + "\n" + END, "its length byte differs"),
        (END, "it contains no data"),
        ("hello\n", "starts with a colon"),
        (":00zz\n", "hex digits"),
        (":0\n", "hex digits"),
        (":00\n", "its length byte differs"),
        (record(9, 0, b"") + END, "type 09 is unknown"),
        (record(4, 0, b"\x00") + END, "holds 2 bytes"),
        (END + record(0, 0, b"\x01"), "line 2: there is a record after the end"),
        (record(4, 0, b"\xff\xff") + record(0, 0, b"\x01") + END, "beyond"),
    ],
)
def test_a_malformed_hex_file_is_refused_with_its_line(text, message):
    with pytest.raises(DeviceError, match=message):
        parse_hex(text)


def test_a_missing_or_binary_hex_file_is_a_device_error(tmp_path):
    with pytest.raises(DeviceError, match="cannot be read"):
        read_hex(tmp_path / "none.hex")
    (tmp_path / "binary.hex").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceError, match="cannot be read"):
        read_hex(tmp_path / "binary.hex")


def test_the_elf_has_the_image_in_a_text_section_inside_a_loaded_segment():
    image = bytes(range(7))
    elf = make_elf(image)
    assert elf[:4] == b"\x7fELF"
    machine, *_ = struct.unpack_from("<H", elf, 18)
    segments_at, sections_at = struct.unpack_from("<II", elf, 28)
    kind, offset, address, _, size, *_ = struct.unpack_from("<8I", elf, segments_at)
    _, section_kind, _, section_address, at, length, *_ = struct.unpack_from(
        "<10I", elf, sections_at + 40
    )
    assert (machine, kind, address, section_kind, section_address) == (83, 1, 0, 1, 0)
    assert elf[at : at + length] == image
    assert (offset, size) == (at, length)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_without_npm_the_remedy_has_how_to_get_it(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(DeviceError, match="npm is missing") as caught:
        fetch_firmware.fetch()
    assert "apt-get install npm" in caught.value.remedy


def test_the_error_of_npm_is_in_the_message(empty_cache, monkeypatch):
    npm = empty_cache / "npm"
    npm.write_text("#!/bin/sh\necho 'ENOTFOUND registry.npmjs.org' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{empty_cache}:/usr/bin:/bin")
    with pytest.raises(DeviceError, match="ENOTFOUND"):
        fetch_firmware.fetch()


@pytest.mark.parametrize("name", ["package/other.hex", fetch_firmware._MEMBER])
def test_a_package_without_the_right_file_is_refused(empty_cache, monkeypatch, name):
    (empty_cache / "file").write_text("not the firmware")
    with tarfile.open(empty_cache / "x.tgz", "w:gz") as archive:
        archive.add(empty_cache / "file", name)
    monkeypatch.setattr(fetch_firmware, "_pack", lambda _folder: empty_cache / "x.tgz")
    with pytest.raises(DeviceError, match=r"cannot be read|SHA-256"):
        fetch_firmware.fetch()
    assert not fetch_firmware.cached_path().exists()


def test_a_cached_file_that_is_the_right_one_is_not_fetched_again(empty_cache, monkeypatch):
    data = b"firmware"
    monkeypatch.setattr(fetch_firmware, "_is_right", lambda found: found == data)
    path = fetch_firmware.cached_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    monkeypatch.setattr(fetch_firmware, "_pack", lambda _folder: pytest.fail("fetched"))
    assert fetch_firmware.fetch() == path
