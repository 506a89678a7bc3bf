"""Symbols of a firmware, by names in its ELF file; a file that does not fit is refused in words."""

from __future__ import annotations

import pytest

from mlink.errors import DeviceError
from mlink_hil.control.symbols import read_elf
from tests.support.boards.elf_files import elf_with_symbols

IMAGE = bytes(range(64)) * 2
SYMBOLS = {
    "count": (0x800100, 2),
    "main": (0x20, 16),
    "same": (0x800110, 1),
    "same@2": (0x800111, 1),
    "label": (0x30, 0),
    "kept": (0x810000, 4),
}


@pytest.fixture
def elf(tmp_path):
    path = tmp_path / "lamp.elf"
    path.write_bytes(elf_with_symbols(IMAGE, SYMBOLS))
    return path


def test_variables_and_functions_have_their_places(elf):
    found = read_elf(elf)
    assert found.find("count") == (0x800100, 2)
    assert not found.find("count").in_flash
    assert found.find("main").in_flash
    assert found.flash == [(0, IMAGE)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cuont", "no symbol 'cuont'"),
        ("same", "stands for several places in .*: 0x800110, 0x800111"),
        ("label", "cannot be read: it has no size"),
        ("kept", "cannot be read: it is outside of flash and RAM"),
    ],
)
def test_what_cannot_be_read_is_refused(elf, name, words):
    with pytest.raises(DeviceError, match=words) as caught:
        read_elf(elf).find(name)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b":100000000C94", "is not an ELF file"),
        (b"", "is not an ELF file"),
        (elf_with_symbols(IMAGE, SYMBOLS)[:200], "is not an ELF file"),
        (elf_with_symbols(IMAGE, SYMBOLS, machine=40), "for another processor"),
        (elf_with_symbols(IMAGE, {}), "has no symbols"),
        (elf_with_symbols(b"", SYMBOLS), "has no code"),
        (elf_with_symbols(bytes(33_000), SYMBOLS), "does not fit into 32768 bytes"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, data, words):
    path = tmp_path / "wrong.elf"
    path.write_bytes(data)
    with pytest.raises(DeviceError, match=words):
        read_elf(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DeviceError, match=r"absent.elf cannot be read: No such file"):
        read_elf(tmp_path / "absent.elf")
