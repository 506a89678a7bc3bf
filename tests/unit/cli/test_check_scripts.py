"""What `mlink check` finds in scripts without running them."""

from __future__ import annotations

import pytest

from mlink.bench import load_bench
from mlink.cli.check_scripts import script_lines
from mlink.errors import BenchError

BENCH = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
"""


@pytest.fixture
def lines_of(tmp_path):
    """Return the lines about a bench whose script is this."""

    def lines_of(text, bench=BENCH):
        (tmp_path / "loop.py").write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "bench.toml").write_text(bench)
        return script_lines(load_bench(tmp_path))

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
        ("(" * 5000, "loop.py"),
    ],
)
def test_what_is_not_python_is_an_error_with_its_place(lines_of, script, reason):
    with pytest.raises(BenchError, match=r"\[modules.loop\]") as caught:
        lines_of(script)
    assert reason in caught.value.message


def test_all_scripts_are_looked_at(lines_of, tmp_path):
    (tmp_path / "program.py").write_text("if:\n")
    bench = BENCH + '[modules.program]\ntype = "python"\nmain = "program.py"\n'
    with pytest.raises(BenchError) as caught:
        lines_of("def (", bench)
    assert [problem.where for problem in caught.value.problems] == [
        "[modules.loop]",
        "[modules.program]",
    ]
