"""Whatever dies, and when: what was recorded up to 2 s before is there and opens.

Each test runs a whole bench in a process group of its own, kills some of it at a random moment (or
its disk), looks at what is left with other people's readers, then repairs it and looks again. The
default tier does this a few times; `pytest -m long` does it 50 times for each way to die.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bench_runner import BenchRunner
from tests.support.recorded import edlio_reader
from tests.support.recorded.bad_disks import PulledDisk, small_disk
from tests.support.recorded.survival import (
    NOISY_SOURCE,
    EdlioSummary,
    Promise,
    Victim,
    check_what_is_left,
)

edlio_summary = edlio_reader.edlio_summary
pytestmark = pytest.mark.edlio
Start = Callable[..., Victim]

VICTIMS = ["video", "rows", "engine", "everything"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Victim] = []

    def begin(codec: str, **options: object) -> Victim:
        begun.append(Victim.begin(tmp_path / f"run{len(begun)}", codec, **options))  # type: ignore[arg-type]
        return begun[-1]

    yield begin
    for victim in begun:
        victim.end()
    BenchRunner(tmp_path)  # the next run of any bench removes the folders of dead ones


def killed(victim: Victim, what: str, after_s: float, edlio_summary: EdlioSummary) -> None:
    """Kill it then, and look."""
    time.sleep(after_s)
    promise = Promise.now(victim)
    victim.kill(what)
    victim.wait_until_quiet()
    check_what_is_left(victim.recording, promise, edlio_summary)


@pytest.mark.parametrize("what", VICTIMS)
def test_a_run_that_is_killed_at_a_random_moment_is_there(
    start: Start, edlio_summary: EdlioSummary, what: str
) -> None:
    killed(start(random.choice(["ffv1", "h264"])), what, random.uniform(1.0, 3.5), edlio_summary)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("what", VICTIMS)
def test_fifty_runs_that_are_killed_at_random_moments_are_there(
    start: Start, edlio_summary: EdlioSummary, what: str
) -> None:
    for number in range(50):
        codec = ("ffv1", "h264")[number % 2]
        killed(start(codec), what, random.uniform(0.2, 4.5), edlio_summary)


def fills(victim: Victim, saved: Path, edlio_summary: EdlioSummary) -> None:
    """Let its disk fill up, and look at a copy: there is no room to repair."""
    success, failures = victim.outcome()
    assert not success
    assert "No space left" in failures
    assert "The disk is full" in failures
    shutil.copytree(victim.recording, saved)
    check_what_is_left(saved, Promise.now(victim), edlio_summary)


@pytest.mark.parametrize("codec", ["ffv1", "h264", "raw"])
def test_a_full_disk_ends_the_run_and_all_that_was_recorded_is_there(
    tmp_path: Path, start: Start, edlio_summary: EdlioSummary, codec: str
) -> None:
    with small_disk(tmp_path / "disk", 1500) as disk:
        fills(start(codec, source=NOISY_SOURCE, out_dir=disk), tmp_path / "saved", edlio_summary)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_fifty_disks_that_are_full_at_random_moments_lose_nothing(
    tmp_path: Path, start: Start, edlio_summary: EdlioSummary
) -> None:
    for number in range(50):
        codec = ("ffv1", "h264", "raw")[number % 3]
        with small_disk(tmp_path / f"disk{number}", random.randint(300, 6000)) as disk:
            victim = start(codec, source=NOISY_SOURCE, out_dir=disk)
            fills(victim, tmp_path / f"saved{number}", edlio_summary)


def pulled(
    start: Start, folder: Path, codec: str, after_s: float, edlio_summary: EdlioSummary
) -> None:
    """Pull its disk out, and look at what the disk holds."""
    disk = PulledDisk(folder)
    victim = start(codec, out_dir=disk.mounted, environment=disk.environment)
    time.sleep(after_s)
    promise = Promise.now(victim)
    disk.pull()
    success, failures = victim.outcome()
    assert not success
    assert "Input/output error" in failures
    assert "The disk reports an error" in failures
    disk.plug_in_again(saved := folder / "saved")
    check_what_is_left(
        saved / victim.recording.relative_to(disk.mounted), promise, edlio_summary, torn=True
    )


def test_a_disk_that_is_pulled_ends_the_run_and_holds_what_was_recorded(
    tmp_path: Path, start: Start, edlio_summary: EdlioSummary
) -> None:
    codec = random.choice(["ffv1", "h264"])
    pulled(start, tmp_path / "usb", codec, random.uniform(3.0, 5.0), edlio_summary)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_fifty_disks_that_are_pulled_at_random_moments_hold_what_was_recorded(
    tmp_path: Path, start: Start, edlio_summary: EdlioSummary
) -> None:
    for number in range(50):
        codec = ("ffv1", "h264")[number % 2]
        pulled(start, tmp_path / f"usb{number}", codec, random.uniform(1.0, 5.5), edlio_summary)
