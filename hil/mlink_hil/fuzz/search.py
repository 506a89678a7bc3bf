"""The search: many seeds; each that fails is tried again, with fewer and fewer kinds."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from mlink.cli.terminal.output import counted
from mlink.storage.failures import storage_errors
from mlink.storage.naming import numbered
from mlink_hil.fuzz.draw import Draw
from mlink_hil.fuzz.pool import Pool, Trial

MINIMISED = 3
"""Failing seeds for which the smallest set of kinds is sought: each takes some ten trials."""
KEPT = 10
"""Failing seeds whose recordings are kept."""


class FailingSeed(msgspec.Struct, kw_only=True):
    """A seed that fails."""

    seed: int
    reasons: list[str]
    kinds: list[str]
    """The smallest set of kinds with which it fails; all that are on where it was not sought."""
    minimal: bool = False
    """Whether that set is the smallest: without any one of them the seed passes."""
    command: str = ""
    """Shows it again."""
    recording: str = ""
    """Folder of its recordings; "" if none was kept."""


class Account(msgspec.Struct, kw_only=True):
    """What a search has found so far."""

    bench: str
    seeds: int
    """How many were asked for."""
    first_seed: int
    kinds: list[str]
    """Kinds that disturb this bench."""
    passed: int = 0
    inconclusive: int = 0
    unsteady: list[int] = []
    """Seeds that failed once and passed when they were tried again: not by their disturbances."""
    failed: list[FailingSeed] = []
    seconds: float = 0.0
    stopped: str = ""
    """Why it ended before its last seed; "" when it did not."""

    @property
    def tried(self) -> int:
        """How many seeds were tried to the end."""
        return self.passed + self.inconclusive + len(self.unsteady) + len(self.failed)

    @property
    def rate(self) -> float:
        """Seeds per second."""
        return self.tried / self.seconds if self.seconds else 0.0


_Steps = Generator[list[Draw], list[Trial], None]
"""Yields trials to make, and receives them when all of them have ended."""


class _Together:
    """Trials that one step needs; the step goes on when all have ended."""

    def __init__(self, steps: _Steps, draws: list[Draw]) -> None:
        self.steps = steps
        self.draws = draws
        self.trials: dict[Draw, Trial] = {}

    def add(self, trial: Trial) -> bool:
        """Add a trial that has ended; return whether it was the last one."""
        self.trials[trial.draw] = trial
        return len(self.trials) == len(self.draws)


class Search:
    """Tries seeds and keeps the account.

    Args:
        account: What to try; receives what is found.
        pool: Makes the trials.
        kept: Folder for the recordings of failing seeds.
        command: Returns the command that shows a draw again.
        observe: Called after each seed: with the seed if it fails, else with None.
    """

    def __init__(
        self,
        account: Account,
        pool: Pool,
        kept: Path,
        command: Callable[[Draw], str],
        observe: Callable[[FailingSeed | None], object],
    ) -> None:
        self._account = account
        self._pool = pool
        self._kept = kept
        self._command = command
        self._observe = observe
        self._waiting: deque[tuple[Draw, _Together]] = deque()
        """Trials of seeds that have begun; they come before further seeds."""
        self._running: dict[int, _Together] = {}
        self._minimised = 0

    def run(self, stop_reason: Callable[[], str], *, most_failures: int | None = None) -> None:
        """Try all seeds.

        Args:
            stop_reason: Returns why the search has to end now; "" when it does not.
            most_failures: The search ends when so many seeds have failed; None is no limit.
        """
        account, pool, began = self._account, self._pool, time.monotonic()
        kinds = frozenset(account.kinds)
        seeds = deque(range(account.first_seed, account.first_seed + account.seeds))
        while seeds or self._waiting or self._running:
            reason = stop_reason()
            if not reason and most_failures is not None and len(account.failed) >= most_failures:
                reason = f"{counted(most_failures, 'seed')} failed"
            if reason:
                account.stopped = reason
                break
            while pool.has_room and (seeds or self._waiting):
                if not self._waiting:
                    self._go_on(self._try(Draw(seeds.popleft(), kinds)), None)
                draw, together = self._waiting.popleft()
                self._running[pool.begin(draw)] = together
            for trial in pool.ended():
                together = self._running.pop(trial.number)
                if together.add(trial):
                    ended = [together.trials[draw] for draw in together.draws]
                    self._go_on(together.steps, ended)
            account.seconds = time.monotonic() - began
        account.failed.sort(key=lambda each: each.seed)

    def _go_on(self, steps: _Steps, ended: list[Trial] | None) -> None:
        try:
            draws = next(steps) if ended is None else steps.send(ended)
        except StopIteration:
            return
        together = _Together(steps, draws)
        self._waiting.extend((draw, together) for draw in draws)

    def _try(self, draw: Draw) -> _Steps:
        """Try a seed; if it fails, again, and then with fewer kinds."""
        account = self._account
        (first,) = yield [draw]
        first.forget()
        if first.verdict.outcome == "passed":
            account.passed += 1
        elif first.verdict.outcome == "inconclusive":
            account.inconclusive += 1
        else:
            (again,) = yield [draw]
            if not again.failed:
                again.forget()
                account.unsteady.append(draw.seed)
            else:
                yield from self._report(again)
                return
        self._observe(None)

    def _report(self, trial: Trial) -> _Steps:
        """Report a failing seed, with its smallest set of kinds if that is still sought."""
        account, minimal = self._account, self._minimised < MINIMISED
        if minimal:
            self._minimised += 1
            trial = yield from self._smallest(trial)
        found = FailingSeed(
            seed=trial.draw.seed,
            reasons=trial.verdict.reasons,
            kinds=trial.draw.names,
            minimal=minimal,
            command=self._command(trial.draw),
            recording=keep(trial, self._kept) if len(account.failed) < KEPT else "",
        )
        trial.forget()
        account.failed.append(found)
        self._observe(found)

    def _smallest(self, trial: Trial) -> Generator[list[Draw], list[Trial], Trial]:
        """Return a failing trial with so few kinds that it passes without any one of them."""
        seed, names = trial.draw.seed, trial.draw.names
        if len(names) == 1:
            return trial
        alone = yield [Draw(seed, frozenset([kind])) for kind in names]
        failing = [each for each in alone if each.failed]
        for each in alone:
            if each not in failing[:1]:
                each.forget()
        if failing:
            trial.forget()
            return failing[0]
        for kind in names:
            (fewer,) = yield [Draw(seed, trial.draw.kinds - {kind})]
            dropped = trial if fewer.failed else fewer
            dropped.forget()
            if fewer.failed:
                trial = fewer
        return trial


def keep(trial: Trial, folder: Path) -> str:
    """Move a trial's recordings into a folder; return where they are, or "" if it has none.

    Raises:
        StorageError: They cannot be moved there.
    """
    if not any(trial.folder.iterdir()):
        return ""
    with storage_errors(folder):
        target = free_folder(folder, trial.draw)
        shutil.move(trial.folder, target)
    return str(target)


def free_folder(folder: Path, draw: Draw) -> Path:
    """Return a path in a folder, which is made, for the recordings of a seed."""
    with storage_errors(folder, "create"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / name for name in numbered(f"seed-{draw.seed}"))
    return next(path for path in paths if not path.exists())
