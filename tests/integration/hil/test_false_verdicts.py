"""A disturbed tap makes no verdict false; benchmarks/long/false_verdicts.py runs many more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.long.false_verdicts import BROKEN, SOUND, Example, play, run_session
from tests.support.disturbed_tap import KINDS

TAPPED = "no_row or one_reading or one_row or no_light or each_press"
EXAMPLES = [
    replace(SOUND[0], tests=TAPPED),
    *(each for each in BROKEN if each.what in ("rows twice", "what must not come comes")),
]


each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.what)


@each_example
def test_no_verdict_is_false_on_what_was_recorded(tmp_path: Path, example: Example) -> None:
    # played: on the messages of one undisturbed session, without waiting
    assert play(example, ",".join(KINDS), "some", 30, tmp_path).false == []


@pytest.mark.parametrize("kind", ["real", pytest.param("virtual", marks=pytest.mark.any_pace)])
@each_example
def test_no_verdict_is_false(tmp_path: Path, example: Example, kind: str) -> None:
    found = run_session(example, ",".join(KINDS), "1", 2, tmp_path, kind_of_time=kind)
    assert found.false == []
    assert found.least == 2
