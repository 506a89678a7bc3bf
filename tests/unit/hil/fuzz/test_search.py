"""The search itself, with trials that take no time: what it reports, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlink_hil.fuzz.draw import Draw
from mlink_hil.fuzz.pool import Pool, Trial
from mlink_hil.fuzz.search import KEPT, MINIMISED, Account, FailingSeed, Search
from mlink_hil.fuzz.trial import Verdict

KINDS = ["wires", "crystals", "phases", "order"]
PASSED = Verdict(outcome="passed")


def fails(*reasons: str) -> Verdict:
    return Verdict(outcome="failed", reasons=list(reasons) or ["wrong"])


class Found:
    """A search, its account, and the calls that it made."""

    def __init__(
        self,
        folder: Path,
        attempt: Callable[[Draw, Path], Verdict],
        *,
        seeds: int = 10,
        jobs: int = 3,
        limit_s: float = 100.0,
        stop: Callable[[Account], str] = lambda _account: "",
        most_failures: int | None = None,
    ) -> None:
        self.account = Account(bench="x", seeds=seeds, first_seed=1, kinds=KINDS)
        self.noted: list[FailingSeed | None] = []
        self.kept, self.scratch = folder / "kept", folder / "scratch"
        self.scratch.mkdir()
        with Pool(attempt, self.scratch, jobs=jobs, limit_s=limit_s) as pool:
            search = Search(self.account, pool, self.kept, str, self.noted.append)
            search.run(lambda: stop(self.account), most_failures=most_failures)
        self.failed = {each.seed: each for each in self.account.failed}
        assert list(self.scratch.iterdir()) == []


def test_all_seeds_are_tried_once_and_counted(tmp_path: Path) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        with (tmp_path / "tried").open("a") as file:
            file.write(f"{draw}\n")
        return Verdict(outcome="inconclusive") if draw.seed == 4 else PASSED

    found = Found(tmp_path, attempt)
    account = found.account
    assert (account.passed, account.inconclusive, account.tried) == (9, 1, 10)
    assert account.failed == []
    assert found.noted == [None] * 10
    tried = (tmp_path / "tried").read_text().split()
    assert sorted(tried) == sorted(f"{seed}:{','.join(KINDS)}" for seed in range(1, 11))
    assert not found.kept.exists()


@pytest.mark.parametrize(
    ("needed", "smallest"),
    [
        ([{"phases"}], ["phases"]),
        ([{"crystals", "order"}], ["crystals", "order"]),
        ([{"wires", "crystals", "phases", "order"}], KINDS),
        ([{"order"}, {"wires"}], ["wires"]),  # each of them is enough
    ],
)
def test_a_failing_seed_is_reported_with_its_smallest_set_of_kinds(
    tmp_path: Path, needed: list[set[str]], smallest: list[str]
) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        (folder / "recording").write_text(str(draw))
        if draw.seed == 5 and any(each <= draw.kinds for each in needed):
            return fails(f"with {','.join(draw.names)}")
        return PASSED

    found = Found(tmp_path, attempt)
    (failing,) = found.account.failed
    assert (failing.seed, failing.kinds, failing.minimal) == (5, smallest, True)
    draw = f"5:{','.join(smallest)}"
    assert failing.command == draw
    assert failing.reasons == [f"with {','.join(smallest)}"]
    assert failing.recording == str(found.kept / "seed-5")
    assert (found.kept / "seed-5" / "recording").read_text() == draw  # of the smallest set
    assert found.noted.count(None) == 9
    assert failing in found.noted
    assert found.account.passed == 9


def test_a_seed_that_fails_once_is_not_called_a_failing_one(tmp_path: Path) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        mark = tmp_path / f"{draw.seed}"
        if draw.seed in (3, 7) and not mark.exists():
            mark.touch()
            return fails()
        return PASSED

    account = Found(tmp_path, attempt).account
    assert sorted(account.unsteady) == [3, 7]
    assert account.failed == []
    assert (account.passed, account.tried) == (8, 10)


def test_where_many_seeds_fail_only_some_are_minimised_and_kept(tmp_path: Path) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        (folder / "recording").touch()
        return fails() if "phases" in draw.kinds else PASSED

    found = Found(tmp_path, attempt, seeds=KEPT + 3)
    assert sorted(found.failed) == list(range(1, KEPT + 4))
    assert sum(each.minimal for each in found.account.failed) == MINIMISED
    assert len(list(found.kept.iterdir())) == KEPT
    assert sum(bool(each.recording) for each in found.account.failed) == KEPT


def test_it_ends_after_so_many_failing_seeds(tmp_path: Path) -> None:
    found = Found(tmp_path, lambda *_: fails(), seeds=100, most_failures=2, jobs=1)
    assert found.account.stopped == "2 seeds failed"
    assert len(found.failed) == 2
    assert found.account.tried < 10


def test_the_account_so_far_is_there_when_it_is_ended(tmp_path: Path) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        if draw.seed > 5:
            time.sleep(300)
        return PASSED

    def stop(account: Account) -> str:
        return "interrupted by Ctrl-C" if account.passed == 5 else ""

    account = Found(tmp_path, attempt, seeds=50, stop=stop).account
    assert (account.passed, account.tried) == (5, 5)
    assert account.stopped == "interrupted by Ctrl-C"


def ended(tmp_path: Path, attempt: Callable[[Draw, Path], Verdict], limit_s: float = 100) -> Trial:
    with Pool(attempt, tmp_path, jobs=1, limit_s=limit_s) as pool:
        pool.begin(Draw(1))
        while not (trials := pool.ended()):
            pass
    return trials[0]


def test_a_trial_that_does_not_end_in_time_has_failed(tmp_path: Path) -> None:
    def attempt(draw: Draw, folder: Path) -> Verdict:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(300)
        return PASSED

    trial = ended(tmp_path, attempt, limit_s=0.5)
    assert trial.failed
    assert trial.verdict.reasons == ["it did not end within 0.5 s of real time"]


def test_a_trial_whose_process_breaks_has_failed_with_its_last_lines(tmp_path: Path) -> None:
    def raises(draw: Draw, folder: Path) -> Verdict:
        raise ValueError("broken trial")

    def dies(draw: Draw, folder: Path) -> Verdict:
        os.kill(os.getpid(), signal.SIGKILL)
        return PASSED

    broken = ended(tmp_path, raises).verdict
    assert broken.outcome == "failed"
    assert broken.reasons[0].startswith("its process ended with exit code 1")
    assert "ValueError: broken trial" in broken.reasons[0]
    (tmp_path / "other").mkdir()
    killed = ended(tmp_path / "other", dies).verdict
    assert killed.reasons == ["its process was ended by signal 9"]
