"""Values that a script offers: what may be offered, and what a person may set them to."""

from __future__ import annotations

import pytest

from mlink.errors import ModuleError, ScriptError
from mlink.testing import ScriptRunner

SCRIPT = """
import mlink.script as ms
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
seen = []
def changed(value):
    seen.append((value, threshold.value))
threshold = ms.offer("threshold", 512, minimum=0, maximum=1023, unit="counts", on_change=changed)
gain = ms.offer("gain", 1.5, minimum=0.5, maximum=10)
lamp = ms.offer("lamp on", False)
"""


@pytest.fixture
def run(tmp_path):
    runners = []

    def run(text=SCRIPT):
        (tmp_path / "s.py").write_text(text)
        runner = ScriptRunner(tmp_path / "s.py", outputs={"rows": "TableRow"})
        runners.append(runner)
        runner.start()
        return runner

    yield run
    for runner in runners:
        runner.close()


def values(runner):
    return [runner.globals[name].value for name in ("threshold", "gain", "lamp")]


def test_a_person_sets_values_within_their_bounds_and_types(run):
    runner = run()
    assert values(runner) == [512, 1.5, False]
    runner.set_value("threshold", 1023)
    runner.set_value("gain", 0.5)
    runner.set_value("lamp on", True)
    assert values(runner) == [1023, 0.5, True]
    assert type(runner.globals["threshold"].value) is int
    assert runner.globals["seen"] == [(1023, 1023)]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("threshold", 1024, "out of its bounds, 0 to 1023 counts: 1024"),
        ("threshold", -1, "out of its bounds"),
        ("threshold", 1.5, "whole number"),
        ("threshold", True, "whole number"),
        ("gain", float("nan"), "a number, not 'nan'"),
        ("gain", float("inf"), "a number, not 'inf'"),
        ("gain", 10.01, "out of its bounds, 0.5 to 10"),
        ("lamp on", 1, "true or false"),
        ("nothing", 1, "offers no value 'nothing', but threshold, gain, lamp on"),
    ],
)
def test_what_does_not_fit_is_refused_in_words_and_changes_nothing(run, name, value, why):
    runner = run()
    with pytest.raises(ModuleError, match=why):
        runner.set_value(name, value)
    assert values(runner) == [512, 1.5, False]
    assert runner.is_running


def test_a_script_refuses_a_value_by_a_module_error_and_ends_the_run_by_others(run):
    text = SCRIPT.replace(
        "    seen",
        "    from mlink.errors import ModuleError\n"
        "    if value == 7: raise ModuleError('seven is taken')\n"
        "    if value == 8: raise ValueError('a bug')\n    seen",
    )
    runner = run(text)
    with pytest.raises(ModuleError, match="seven is taken"):
        runner.set_value("threshold", 7)
    assert values(runner)[0] == 512
    with pytest.raises(ScriptError, match="a bug"):
        runner.set_value("threshold", 8)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ('ms.offer("threshold", 1, minimum=0, maximum=2)', "offered already"),
        ('ms.offer("x", 3, minimum=0, maximum=2)', "out of its bounds, 0 to 2: 3"),
        ('ms.offer("x", 3)', "needs a minimum and a maximum"),
        ('ms.offer("x", 3, minimum=0, maximum=2.5)', "whole numbers"),
        ('ms.offer("x", 3.0, minimum=0, maximum=float("inf"))', "needs a minimum"),
        ('ms.offer("x", True, minimum=0)', "has no bounds"),
        ('ms.offer("x", "text", minimum=0, maximum=1)', "no number"),
        ('ms.offer("a=b", 1, minimum=0, maximum=2)', "no name"),
        ('ms.offer("x" * 41, 1, minimum=0, maximum=2)', "no name"),
        ('ms.offer("x", 1, minimum=0, maximum=2, unit="x" * 17)', "longer than 16"),
        ('[ms.offer(f"x{n}", 1, minimum=0, maximum=2) for n in range(62)]', "more than 64"),
        ('def run(): ms.offer("late", True)', "before start"),
    ],
)
def test_what_cannot_be_offered_says_why(run, call, why):
    with pytest.raises((ModuleError, ScriptError), match=why):
        run(f"{SCRIPT}\n{call}\n")
