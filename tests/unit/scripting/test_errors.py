"""An error in a user's script: the user's file, line and source line first, and nothing of ours."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import mlink
from mlink.errors import ScriptError, StreamError
from mlink.scripting.errors import SyntalosPyError, script_error
from mlink.worker.failure import describe
from tests.support.scripts import MakeRunner

OURS = str(Path(mlink.__file__).parent)


def failure(make: MakeRunner, text: str) -> ScriptError:
    with pytest.raises(ScriptError) as caught:
        make(text).start()
    return caught.value


def test_file_line_and_source_come_first(make: MakeRunner, tmp_path: Path) -> None:
    error = failure(make, "def start():\n    value = {}\n    value['x']  # gone\n")
    first, second = error.message.split("\n")
    assert first == f"{tmp_path}/script.py:4: value['x']  # gone"
    assert second == "  KeyError: 'x' (in start)"


def test_calls_on_the_way_are_named(make: MakeRunner) -> None:
    error = failure(make, "def inner():\n    1 / 0\ndef start():\n    inner()\n")
    assert error.message.endswith("called through start:5 → inner:3")


def test_error_of_the_interface_shows_the_line_that_used_it(make: MakeRunner) -> None:
    error = failure(make, "def start():\n    syl.get_output_port('rows-out').submit(5)\n")
    assert "script.py:3: syl.get_output_port('rows-out').submit(5)" in error.message
    assert "SyntalosPyError: port 'rows-out': a table row must be a sequence" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "def start():\n    syl.get_output_port('rows-out').submit(5)\n",
        "def run():\n    syl.wait('long')\n",
        "def start():\n    import json; json.loads('{')\n",
        "def start():\n    syl.schedule_delayed_call(0, print)\n    syl.nothing()\n",
    ],
)
def test_no_frame_of_ours_or_of_python_is_shown(make: MakeRunner, text: str) -> None:
    error = failure(make, text)
    assert OURS not in str(error)
    assert "json/" not in str(error)
    assert "script.py:" in error.message


def test_debug_shows_them(make: MakeRunner) -> None:
    error = failure(make, "def start():\n    syl.get_output_port('rows-out').submit(5)\n")
    assert describe(error).detail == ""
    detail = describe(error, debug=True).detail
    assert OURS in detail
    assert "script.py" in detail


def test_syntax_error(make: MakeRunner, tmp_path: Path) -> None:
    error = failure(make, "def start(:\n    pass\n")
    assert error.message.startswith(f"{tmp_path}/script.py:2: def start(:\n  SyntaxError:")
    assert error.remedy == "Correct the script."


def test_error_in_a_module_beside_the_script(make: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def check(value):\n    raise ValueError(value)\n")
    error = failure(make, "import beside\ndef start():\n    beside.check(5)\n")
    assert error.message.startswith(f"{tmp_path}/beside.py:2: raise ValueError(value)")
    assert "start:4 → check:2" in error.message


def test_cause_and_notes_are_shown(make: MakeRunner) -> None:
    error = failure(
        make,
        """
        def start():
            try:
                {}["port"]
            except KeyError as missing:
                problem = RuntimeError("no port")
                problem.add_note("look at the rig")
                raise problem from missing
        """,
    )
    assert "RuntimeError: no port\n  look at the rig" in error.message
    assert "caused by KeyError: 'port'" in error.message


def test_endless_recursion_is_shortened(make: MakeRunner) -> None:
    error = failure(make, "def deeper(n):\n    return deeper(n + 1)\ndef start():\n    deeper(0)\n")
    assert "RecursionError" in error.message
    assert "…" in error.message
    assert len(error.message) < 1000


def test_script_that_is_no_text(make: MakeRunner, tmp_path: Path) -> None:
    runner = make("")
    (tmp_path / "script.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ScriptError, match="not UTF-8") as caught:
        runner.start()
    assert caught.value.remedy == "Save the script as UTF-8."


@pytest.mark.parametrize(
    "text",
    [
        "syl.get_input_port('row-in').on_data = print",
        "port = syl.get_output_port('row-in')\ndef start():\n    port.submit([1])\n",
    ],
)
def test_port_that_is_not_there_is_the_reason_of_what_fails_on_none(
    make: MakeRunner, text: str
) -> None:
    error = failure(make, text)
    assert "'row-in'" in error.remedy
    assert "rows-in" in error.remedy


def test_the_cause_of_the_failure_is_kept(make: MakeRunner) -> None:
    error = failure(make, "def start():\n    1 / 0\n")
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "script.py" in "".join(traceback.format_exception(error))


def test_the_remedy_of_an_error_of_ours_is_the_reports_and_stands_once() -> None:
    def submit() -> None:
        try:
            raise StreamError("an item is too large", remedy="Divide it.")
        except StreamError as error:
            raise SyntalosPyError(f"port 'rows': {error}") from error

    with pytest.raises(SyntalosPyError, match="Divide it") as caught:
        submit()
    report = script_error(caught.value, "start")
    assert report.remedy == "Divide it."
    assert "port 'rows': an item is too large (in start)" in report.message
    assert "Divide it." not in report.message
