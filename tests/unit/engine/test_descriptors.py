"""A run is allowed the open files that it needs, and no run begins without them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.engine.plan import order_modules
from mlink.engine.setup.descriptors import enough_descriptors
from mlink.engine.streams import Streams
from mlink.errors import MlinkError

MODULE = '[modules.m{}]\ntype = "pyscript"\nscript = "loop.py"\n'


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The limit of open files, (soft, hard), as the code under test sees and sets it."""
    values = [0, 0]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(values))
    monkeypatch.setattr(
        resource, "setrlimit", lambda _, wanted: values.__setitem__(slice(2), wanted)
    )
    return values


def allowed(folder: Path, limit: list[int], soft: int, hard: int) -> list[int]:
    """Return the limit within the block, for a bench of 50 modules."""
    (folder / "loop.py").write_text("")
    (folder / "bench.toml").write_text("".join(MODULE.format(number) for number in range(50)))
    bench = load_bench(folder)
    limit[:] = [soft, hard]
    with enough_descriptors(bench, Streams(bench, order_modules(bench))):
        return list(limit)


def test_the_soft_limit_is_raised_for_the_run(tmp_path: Path, limit: list[int]) -> None:
    soft, hard = allowed(tmp_path, limit, 100, 100_000)
    assert 150 < soft < 1000
    assert hard == 100_000
    assert limit == [100, 100_000]


@pytest.mark.parametrize("soft", [50_000, resource.RLIM_INFINITY])
def test_a_limit_that_is_high_enough_is_left(tmp_path: Path, limit: list[int], soft: int) -> None:
    assert allowed(tmp_path, limit, soft, resource.RLIM_INFINITY)[0] == soft


def test_a_hard_limit_that_is_too_low_is_named(tmp_path: Path, limit: list[int]) -> None:
    with pytest.raises(MlinkError, match="this process may have 100") as caught:
        allowed(tmp_path, limit, 100, 100)
    assert caught.value.remedy.startswith("Allow more: ulimit -n 4096")
