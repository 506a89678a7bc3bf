"""What `mlink check` finds in scripts without running them."""

from __future__ import annotations

import pytest

from mlink.cli.check import examine

BENCH = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
"""


BOARD = """
[devices]
uno = "virtual:uno"

[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.commands" }

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "commands", data_type = "LineCommand" }]
"""
SCRIPT = "import syntalos_mlink as syl\nc = syl.get_output_port('commands')\n"


@pytest.fixture
def look(tmp_path):
    """Return what is found in a bench whose script, and whose model, is this."""

    def look(text, bench=BENCH, model=""):
        (tmp_path / "loop.py").write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "bench.toml").write_text(bench)
        (tmp_path / "model.py").write_text(model)
        return examine(tmp_path)

    return look


@pytest.fixture
def lines_of(look):
    """Return the lines about a bench whose script is this; nothing is wrong with it."""

    def lines_of(text, bench=BENCH):
        found = look(text, bench)
        assert not found.problems
        return found.lines

    return lines_of


def test_declared_ports_and_names_made_by_the_script_are_nothing_to_report(lines_of):
    script = "import syntalos_mlink as syl\nimport os\n"
    script += "a = syl.get_input_port('readings')\nb = syl.get_output_port('rows')\n"
    script += "c = syl.get_output_port(os.environ['X'])\nd = syl.get_output_port()\n"
    script += "e = other.get_output_port(3)\n"
    assert lines_of(script) == []


def test_a_port_that_the_bench_does_not_declare_is_a_warning_with_line_and_proposal(lines_of):
    script = "from syntalos_mlink import *\n\ndef f():\n    return get_input_port('reading')\n"
    ((line, warns),) = lines_of(script)
    assert warns
    assert line == (
        "loop: loop.py, line 4: the bench declares no port 'reading'. Did you mean 'readings'?"
    )


def test_an_input_is_no_output(lines_of):
    ((line, _),) = lines_of("import syntalos_mlink as syl\nsyl.get_output_port('readings')\n")
    assert "Known output ports: rows." in line


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("def (", "loop.py, line 1: invalid syntax"),
        ("x = 1\n  y = 2\n", "loop.py, line 2: unexpected indent"),
        (b"x = '\xff'\n", "loop.py"),
        (b"x = 1\0\n", "null bytes"),
        ("return 3\n", "line 1: 'return' outside function"),
        ("(" * 5000, "loop.py"),
    ],
)
def test_what_is_not_python_is_an_error_with_its_place(look, script, reason):
    (problem,) = look(script).problems
    assert problem.where == "[modules.loop]"
    assert reason in problem.what


def test_all_scripts_are_looked_at(look, tmp_path):
    (tmp_path / "program.py").write_text("if:\n")
    bench = BENCH + '[modules.program]\ntype = "python"\nmain = "program.py"\n'
    found = look("def (", bench).problems
    assert [each.where for each in found] == ["[modules.loop]", "[modules.program]"]


def test_scripts_of_a_bench_that_is_wrong_are_looked_at_too(look):
    found = look("def (", BENCH + "colour = 3\n[modules.other]\n")
    assert found.bench is None
    assert [each.where for each in found.problems] == [
        "[modules.loop] colour", "[modules.other]", "[modules.loop]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("handle", "why"),
    [
        ("syl.HwOutputLine(c, 77)", "line 77 of an Uno does not exist"),
        ("syl.HwInputLine(c, 0)", "line 0 of an Uno is its serial line"),
        ("syl.HwOutputLine(c, LED, analog=True)", "line 4 of an Uno has no PWM"),
        ("syl.HwOutputLine(syl.get_output_port('commands'), LINE)", "line 40 of an Uno"),
    ],
)
def test_a_line_that_the_simulated_board_has_not_is_a_warning(lines_of, handle, why):
    script = f"{SCRIPT}LED, LINE = 4, 40\nx = {handle}\n"
    ((line, warns),) = lines_of(script, BOARD)
    assert warns
    assert line.startswith(f"loop: loop.py, line 4: {why}")


@pytest.mark.parametrize(
    "handle",
    [
        "syl.HwOutputLine(c, 13)",
        "syl.HwOutputLine(c, 9, analog=True)",
        "syl.HwInputLine(c, 14)",
        "[syl.HwOutputLine(c, n) for n in (77, 78)]",
        "syl.HwOutputLine(other(), 77)",
    ],
)
def test_lines_that_are_right_or_not_known_are_nothing_to_report(lines_of, handle):
    assert lines_of(f"{SCRIPT}x = {handle}\n", BOARD) == []


def test_a_name_that_is_set_twice_tells_nothing(lines_of):
    assert lines_of(f"{SCRIPT}n = 77\nn = 3\nx = syl.HwOutputLine(c, n)\n", BOARD) == []


def test_a_device_that_is_not_there_is_a_warning(lines_of):
    bench = BOARD.replace("virtual:uno", "/dev/ttyACM99")
    ((line, warns),) = lines_of(SCRIPT, bench)
    assert warns
    assert line.startswith("board: there is no /dev/ttyACM99 now")


MODEL = (
    BOARD
    + """
[virtual.lamp]
type = "model"
source = "model.py:Lamp"
wires = { light = "uno.4" }
"""
)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("x = (", "cannot be imported: SyntaxError"),
        ("print('hello')\n", "has no class Lamp that is a Dut"),
        ("class Lamp(Dut):\n    pins = ('bulb',)\n", "Lamp has no pin light"),
        ("class Lamp(Dut):\n    pins = ('light')\n", "pins of Lamp is a text"),
        ("import os\nos._exit(3)\n", "its models cannot be tried; code 3"),
    ],
)
def test_a_model_that_cannot_be_made_is_a_problem(look, model, what):
    (problem,) = look(SCRIPT, MODEL, f"from mlink_hil.dut import Dut\n{model}").problems
    assert problem.where == "[virtual.lamp]"
    assert what in problem.what


def test_a_model_that_can_be_made_is_none(look):
    model = "from mlink_hil.dut import Dut\nclass Lamp(Dut):\n    pins = ('light',)\n"
    assert not look(SCRIPT, MODEL, model).problems
