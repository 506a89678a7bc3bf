"""Stream metadata that scripts set: which values, until when, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import syntalos_mlink as syl
from mlink.testing import ScriptRunner
from tests.support.scripts import MakeRunner, out


class TestMetadata:
    @pytest.mark.parametrize(
        "value", [5, -1, 2.5, "text", syl.MetaSize(4, 3), [1, 2], ["a", "b"], ["a", 1]]
    )
    def test_values_that_can_be_set(self, make: MakeRunner, value: Any) -> None:
        runner = make("")
        runner.prepare()
        out("rows").set_metadata_value("key", value)
        assert runner.metadata("rows-out")["key"] == value

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (True, "bool"),
            (None, "NoneType"),
            ({"a": 1}, "dict"),
            ((1, 2), "tuple"),
            ([1.5], "float"),
            ([True], "bool"),
            ([[1]], "list"),
            (np.int64(5), "int64"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (1 << 63, "64 bits"),
        ],
    )
    def test_values_that_cannot_be_set_are_named(
        self, make: MakeRunner, value: Any, words: str
    ) -> None:
        runner = make("")
        runner.prepare()
        with pytest.raises(syl.SyntalosPyError, match=words):
            out("rows").set_metadata_value("key", value)
        assert "key" not in runner.metadata("rows-out")

    def test_empty_list_is_ignored(self, make: MakeRunner) -> None:
        runner = make("")
        runner.prepare()
        out("rows").set_metadata_value("key", [1])
        out("rows").set_metadata_value("key", [])
        assert runner.metadata("rows-out")["key"] == [1]

    @pytest.mark.parametrize(
        "value", [syl.MetaSize(640, 480), [640, 480], (640, 480), np.array([640, 480])]
    )
    def test_size(self, make: MakeRunner, value: Any) -> None:
        runner = make("")
        runner.prepare()
        out("frames").set_metadata_value_size("size", value)
        assert runner.metadata("frames-out")["size"] == syl.MetaSize(640, 480)

    @pytest.mark.parametrize(
        "value",
        [[640], [1, 2, 3], "64", 5, None, [1.0, 2.0], {1: 2, 3: 4}, [1 << 40, 1], np.int32(3)],
    )
    def test_what_is_no_size_is_refused(self, make: MakeRunner, value: Any) -> None:
        make("").prepare()
        with pytest.raises(syl.SyntalosPyError, match="metadata 'size'"):
            out("frames").set_metadata_value_size("size", value)

    def test_set_metadata_replaces_everything_but_the_runtimes_own(self, make: MakeRunner) -> None:
        runner = make("", name="mine")
        runner.prepare()
        out("rows").set_metadata_value("old", 1)
        out("rows").set_metadata({"a": None, "b": {"c": [True, syl.MetaSize(1, 2)]}})
        found = runner.metadata("rows-out")
        assert "old" not in found
        assert found["b"] == {"c": [True, syl.MetaSize(1, 2)]}
        assert found["src_mod_name"] == "mine"

    @pytest.mark.parametrize("wrong", [{"a": object()}, {"a": float("nan")}, {1: 2}, [1], None])
    def test_set_metadata_that_is_refused_changes_nothing(
        self, make: MakeRunner, wrong: Any
    ) -> None:
        runner = make("")
        runner.prepare()
        out("rows").set_metadata_value("old", 1)
        with pytest.raises(syl.SyntalosPyError):
            out("rows").set_metadata(wrong)
        assert runner.metadata("rows-out")["old"] == 1

    def test_metadata_may_be_set_until_start_returns(self, make: MakeRunner) -> None:
        runner = make(
            """
            port = syl.get_output_port("frames-out")
            source = syl.get_input_port("frames-in")
            def start():
                port.set_metadata_value("framerate", source.metadata["framerate"])
                port.set_metadata_value_size("size", source.metadata["size"])
            """,
            metadata={"frames-in": {"framerate": 30.0, "size": syl.MetaSize(4, 3)}},
        )
        runner.start()
        found = runner.metadata("frames-out")
        assert (found["framerate"], found["size"]) == (30.0, syl.MetaSize(4, 3))

    @pytest.mark.parametrize(
        "call",
        [
            lambda port: port.set_metadata_value("a", 1),
            lambda port: port.set_metadata_value_size("a", [1, 2]),
            lambda port: port.set_metadata({}),
        ],
    )
    def test_after_that_it_is_frozen(self, runner: ScriptRunner, call: Any) -> None:
        with pytest.raises(syl.SyntalosPyError, match=r"start\(\) has returned"):
            call(out("rows"))

    def test_an_inputs_metadata_cannot_be_changed(self, make: MakeRunner) -> None:
        make("", metadata={"rows-in": {"table_header": ["a"]}}).prepare()
        port = syl.get_input_port("rows-in")
        assert port is not None
        port.metadata["table_header"].append("b")
        port.metadata["more"] = 1
        assert port.metadata == {"table_header": ["a"]}
