"""Bytes from a board that change on the line: no wrong level stays, no wrong time is unbounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink_hil.sim.fetch_firmware import is_cached
from tests.benchmarks.bench_noise import FIRMWARES, measure

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]


@pytest.mark.parametrize("rate", [1e-3, 1e-2])
@pytest.mark.parametrize("name", FIRMWARES)
def test_no_wrong_level_stays(tmp_path: Path, name: str, rate: float) -> None:
    if FIRMWARES[name] == "standard" and not is_cached():
        pytest.skip("StandardFirmata is not installed (mlink_hil.sim.fetch_firmware)")
    found = measure(tmp_path, FIRMWARES[name], rate, edges=200)
    assert found.returncode == 0, found.output
    # Without check values a changed time or line that can be is taken, and then corrected.
    assert found.wrong + found.late <= (found.corrected if "version 2" in name else 4)
    assert found.unstated == 0
    if "version 2" in name:
        assert found.in_doubt == 0
    elif found.refused or found.dropped_bytes or found.corrected:
        assert found.in_doubt > 0
    # Texts and answers have none in any version; noise makes some.
    in_doubt = found.in_doubt + found.rows_in_doubt
    assert ("have no check value" in found.output) is (in_doubt > 0)
    assert found.is_right_at_end
    assert found.longest_wrong_sec < 1.6
    assert found.edges > 180
    assert found.right > 0.8 * found.edges
    if "version 2" in name:  # each message that was changed is refused, each edge in it is lost
        assert found.wrong == 0
        assert found.right + found.late >= found.edges - 3 * (found.lost + found.corrected)
    if "mlink" in name and rate == 1e-2:
        assert found.refused > 0
        assert found.lost > 0  # reports of StandardFirmata have no numbers
    assert ("a message of the board is not used" in found.output) is (found.refused > 0)
    if found.dropped_bytes:
        assert "belong to no message" in found.output


def test_nothing_is_corrected_or_refused_on_a_line_without_noise(tmp_path: Path) -> None:
    found = measure(tmp_path, "standard" if is_cached() else "mlink", 1e-9, edges=200)
    assert found.returncode == 0, found.output
    assert found.right == found.edges
    counts = (found.lost, found.refused, found.dropped_bytes, found.corrected, found.wrong)
    assert (*counts, found.in_doubt) == (0, 0, 0, 0, 0, 0)
    assert "WARNING" not in found.output
