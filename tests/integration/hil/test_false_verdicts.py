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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.what)
def test_no_verdict_is_false(tmp_path: Path, example: Example) -> None:
    for each in ("played", "real", "virtual"):
        (tmp_path / each).mkdir()
    # played: on the messages of one undisturbed session, without waiting
    assert play(example, ",".join(KINDS), "some", 30, tmp_path / "played").false == []
    for kind in ("real", "virtual"):
        folder = tmp_path / kind
        found = run_session(example, ",".join(KINDS), "1", 2, folder, kind_of_time=kind)
        assert found.false == []
        assert found.least == 2
