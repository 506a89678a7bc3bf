"""Names that stay in their folder and overwrite nothing; identifiers that sort by time."""

import itertools
import uuid
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import StorageError
from mlink.storage.naming import (
    check_file_name,
    folder_part,
    numbered,
    slug,
    split_proposal,
)
from mlink.storage.uuid7 import uuid7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Video", "video"),
        ("Top Camera #2", "top-camera-2"),
        ("loop.table-out", "loop-table-out"),
        ("a\\b:c", "a-b-c"),
        ("Größe_1", "größe_1"),
        ("..", "data"),
        ("", "data"),
        ("manifest.toml", "manifest-toml"),
        ("AUX", "aux_"),
        ("x" * 300, "x" * 80),
    ],
)
def test_slug(name, expected):
    assert slug(name) == expected


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        ("table", ("", "table")),
        ("events/table", ("events", "table")),
        ("a/b/c", ("a/b", "c")),
        ("/events//Table/", ("events", "table")),
        ("../../etc/passwd", ("etc", "passwd")),
        ("", ("", "")),
        ("//", ("", "")),
    ],
)
def test_split_proposal(proposal, expected):
    assert split_proposal(proposal) == expected


@given(st.text())
def test_no_name_leaves_its_folder(text):
    for name in (slug(text), folder_part(text), *split_proposal(text)[1:]):
        assert not set(name) & set("/\\\0\n")
        assert name not in {".", ".."}
        assert len(name.encode()) <= 130
        assert not name.startswith(".")


def test_numbered():
    assert list(itertools.islice(numbered("cam"), 3)) == ["cam", "cam-2", "cam-3"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0", "manifest.toml",
                                  "attributes.toml", "..\\x", "x" * 256])  # fmt: skip
def test_file_names_are_plain_names(name):
    with pytest.raises(StorageError):
        check_file_name(name)


@given(st.integers(0, 2**48 - 1))
def test_uuid7_holds_the_time_and_the_version(ms):
    value = uuid7(ms)
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == ms


def test_uuid7_sorts_by_time_and_is_random():
    assert uuid7(1).bytes < uuid7(2).bytes
    assert len({uuid7(5) for _ in range(1000)}) == 1000
    assert abs((uuid7().int >> 80) / 1000 - datetime.now().timestamp()) < 5
