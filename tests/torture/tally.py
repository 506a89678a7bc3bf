"""Does injections, several at a time, and counts what was survived."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.torture.checks import Verdict, judge
from tests.torture.disturb import MISSED, Outcome, disturbed
from tests.torture.injections import Injection
from tests.torture.known import cause_of


class Tally:
    """Counts what was survived, by kind and target.

    Args:
        jobs: Runs at a time: each mostly waits.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self.counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        """(kind, target) → runs, survived, failed by a known fault."""
        self.lost_sec: dict[str, list[float]] = defaultdict(list)
        """Dataset → what each kill of its recorder cost."""
        self.unexplained: list[str] = []
        """One text per run with an unknown problem: how to repeat it, and what is wrong."""
        self._lock = threading.Lock()

    def run(self, injections: Iterable[Injection], within_sec: float = math.inf) -> None:
        """Do injections; begin none any more when the time is over.

        Mounting a disk needs root: without it those injections are left out.
        """
        possible = (each for each in injections if os.geteuid() == 0 or not each.needs_root)
        deadline = time.monotonic() + within_sec
        with ThreadPoolExecutor(self._jobs) as pool:
            for job in [pool.submit(self._work, possible, deadline) for _ in range(self._jobs)]:
                job.result()

    def _work(self, injections: Iterator[Injection], deadline: float) -> None:
        while time.monotonic() < deadline:
            with self._lock:
                injection = next(injections, None)
            if injection is None:
                return
            with disturbed(injection) as outcome:
                verdict = judge(outcome)
            with self._lock:
                self._count(outcome, verdict)

    def _count(self, outcome: Outcome, verdict: Verdict) -> None:
        injection, cause = outcome.injection, cause_of(outcome, verdict)
        missed = outcome.phase == MISSED
        if not missed:
            count = self.counts[injection.kind, injection.target]
            count[0] += 1
            count[1] += verdict.survived
            count[2] += bool(cause)
        for name, seconds in verdict.lost_sec.items():
            self.lost_sec[name].append(seconds)
        word = "missed" if missed else "ok"
        word = word if verdict.survived else f"known ({cause})" if cause else "FAILED"
        head = f"{injection.number:4} {injection} [{outcome.phase}] exit {outcome.code}: {word}"
        text = "\n".join([head, *(f"     {check}: {what}" for check, what in verdict.problems)])
        print(text, flush=True)
        if not verdict.survived and not cause:
            self.unexplained.append(f"{injection.repeat}\n{text}")

    def table(self) -> str:
        """Return the tables for docs/reliability.md."""
        lines = ["| what | to | runs | survived | known fault |", "|---|---|---|---|---|"]
        for (kind, target), (runs, survived, known) in sorted(self.counts.items()):
            lines.append(f"| {kind} | {target} | {runs} | {survived} | {known} |")
        sums = [sum(column) for column in zip(*self.counts.values(), strict=True)]
        lines += [f"| all | | {' | '.join(map(str, sums))} |", ""]
        if self.lost_sec:
            lines += [
                "| recorder killed | kills | lost, median | lost, most |",
                "|---|---|---|---|",
            ]
        for name, values in sorted(self.lost_sec.items()):
            median = sorted(values)[len(values) // 2]
            lines.append(f"| {name} | {len(values)} | {median:.2f} s | {max(values):.2f} s |")
        return "\n".join(lines)
