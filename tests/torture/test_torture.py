"""Runs that are disturbed at random moments end as they should, and their account is true.

A failure names the seed, and the command that repeats it. MLINK_TORTURE_SEED sets the seed.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest

from tests.torture.checks import judge
from tests.torture.disturb import disturbed
from tests.torture.injections import Injection, allowed, draw
from tests.torture.known import KNOWN, Known
from tests.torture.tally import Tally

SHORT, WITHIN_SEC, SHORT_PAUSE_SEC = 20, 75.0, 2.0
LONG, LONG_PAUSE_SEC = 1_000, 10.0
JOBS = 4
TRIES = 5
"""Of the example of a known fault: its moment may be missed."""


def torture(count: int, longest_pause_sec: float, within_sec: float = float("inf")) -> None:
    seed = int(os.environ.get("MLINK_TORTURE_SEED") or random.randrange(10**6))
    tally = Tally(JOBS)
    injections = draw(seed, longest_pause_sec=longest_pause_sec)
    tally.run(itertools.islice(injections, count), within_sec)
    print(tally.table())
    if tally.unexplained:
        pytest.fail("\n".join(tally.unexplained), pytrace=False)


@pytest.mark.real_time
@pytest.mark.edlio
@pytest.mark.timeout(600)
def test_some_disturbed_runs_keep_their_account() -> None:
    torture(SHORT, SHORT_PAUSE_SEC, WITHIN_SEC)


@pytest.mark.long
@pytest.mark.real_time
@pytest.mark.edlio
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_disturbed_runs_keep_their_account() -> None:
    torture(LONG, LONG_PAUSE_SEC)


ONCE_FATAL = [
    Injection(0, 0, "terminate", "worker", "video", "prepare", 0.05, 0.1),
    Injection(0, 0, "terminate", "worker", "json", "prepare", 0.05, 0.1),
    Injection(0, 0, "terminate", "worker", "cam", "spawn", 0.0, 0.1),
    Injection(0, 0, "interrupt", "engine", "", "import", 0.12, 0.1),
    Injection(0, 0, "interrupt", "fork server", "", "spawn", 0.05, 0.1),
    Injection(0, 0, "kill", "fork server", "", "spawn", 0.05, 0.1),
    Injection(0, 0, "kill", "engine", "", "spawn", 0.3, 0.1),
]


@pytest.mark.real_time
@pytest.mark.edlio
@pytest.mark.parametrize("injection", ONCE_FATAL, ids=str)
def test_what_once_printed_a_traceback_or_no_remedy(injection: Injection) -> None:
    with disturbed(injection) as outcome:
        assert judge(outcome).problems == []


@pytest.mark.long
@pytest.mark.real_time
@pytest.mark.edlio
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "fault", [fault for fault in KNOWN if fault.example], ids=lambda fault: fault.cause
)
def test_a_known_fault_is_still_there(fault: Known) -> None:
    assert fault.example is not None
    for _ in range(TRIES):
        with disturbed(fault.example) as outcome:
            found = {check for check, _ in judge(outcome).problems}
            if fault.hits(outcome) and found & set(fault.checks):
                return
    pytest.fail("it is fixed: remove it from tests/torture/known.py", pytrace=False)


def test_a_seed_gives_the_same_injections_and_leaves_no_pair_out() -> None:
    first, again = (list(itertools.islice(draw(7, longest_pause_sec=10.0), 200)) for _ in range(2))
    assert first == again
    assert [each.number for each in first] == list(range(200))
    assert first != list(itertools.islice(draw(8, longest_pause_sec=10.0), 200))
    assert all(0.01 <= each.length_sec <= 10.0 for each in first)


def test_a_killed_recorder_fails_the_run_and_a_killed_engine_has_the_code_of_its_signal() -> None:
    def injected(kind: str, target: str, module: str = "", length: float = 0.1) -> Injection:
        return Injection(1, 1, kind, target, module, "run", 0.0, length)

    assert allowed(injected("kill", "worker", "video"), "run").codes == {1}
    assert allowed(injected("kill", "worker", "video"), "run").names == ("video",)
    assert allowed(injected("kill", "engine"), "run").codes == {-9}
    assert allowed(injected("terminate", "engine"), "run").codes == {0}
    assert 0 not in allowed(injected("terminate", "engine"), "prepare").codes
    assert allowed(injected("pause", "worker", "video", 0.5), "run").codes == {0}
    assert allowed(injected("pause", "worker", "video", 9.0), "run").codes == {0, 1}
