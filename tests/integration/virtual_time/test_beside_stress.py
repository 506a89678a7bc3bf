"""The example benches in virtual time beside eight busy processes: each run gives the same bytes.

pytest -m long tests/integration/virtual_time/test_beside_stress.py
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.virtual_time.test_simulated_benches import files_of, run
from tests.support.hil_examples import BENCHES

RUNS = 20
AT_ONCE = 4
"""Runs beside each other, so that they disturb each other as well."""

pytestmark = [
    pytest.mark.sim,
    pytest.mark.long,
    pytest.mark.any_pace,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="needs stress-ng"),
]


@pytest.fixture(autouse=True)
def stress() -> Iterator[None]:
    with subprocess.Popen(["stress-ng", "--cpu", "8", "--quiet"]) as busy:
        try:
            yield
            assert busy.poll() is None, "nothing disturbed the runs"
        finally:
            busy.terminate()


@pytest.mark.parametrize("bench", sorted(each.name for each in BENCHES.iterdir()))
def test_each_run_gives_the_same_bytes(tmp_path: Path, bench: str) -> None:
    def recorded(number: int) -> dict[str, str]:
        folder = tmp_path / f"{number}"
        shutil.copytree(BENCHES / bench, folder)
        done = run(folder, "--for", "2", "--seed", "7", "--replayable")
        assert done.returncode == 0, done.stdout + done.stderr
        found = {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files_of(folder / "out" / "recording").items()
        }
        shutil.rmtree(folder)
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        first, *others = pool.map(recorded, range(RUNS))
    assert any(name.endswith("attributes.toml") for name in first)
    differing = {
        name for other in others for name in {*first, *other} if first.get(name) != other.get(name)
    }
    assert sorted(differing) == []
