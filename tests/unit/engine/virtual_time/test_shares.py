"""Virtual time that is slow is a warning with whose turns take the time."""

from __future__ import annotations

import pytest

from mlink.engine.virtual_time.turn_limit import DEVICES, Shares


class Run:
    """A run whose turns take what a test says."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.virtual_usec = 0
        self.texts: list[str] = []
        self.shares = Shares(lambda _module, _level, text: self.texts.append(text), self.now)

    def now(self) -> float:
        return self.now_s

    def turns(self, passes_s: float, **took_s: float) -> None:
        """Give each a turn; `wait` is none, and all together let virtual time pass."""
        for name, seconds in took_s.items():
            self.shares.begin({"wait": "", "devices": DEVICES}.get(name, name))
            self.now_s += seconds
        self.shares.begin()
        self.virtual_usec += round(passes_s * 1e6)
        self.shares.judge(self.virtual_usec)


@pytest.fixture
def run() -> Run:
    return Run()


def test_the_shares_of_a_slow_run_are_logged_ever_more_seldom(run):
    for _ in range(100):
        run.turns(0.05, devices=0.9, loop=0.1)
    assert len(run.texts) == 2  # after 20 and 60 s
    assert run.texts[0].startswith("virtual time is slow: 1 s in 20 s, of which took")
    assert "the simulated devices 90%, loop 10%" in run.texts[0]
    assert "edge of a simulated line" in run.texts[0]
    assert "2 s in 40 s" in run.texts[1]


def test_a_slow_module_is_named_first(run):
    for _ in range(30):
        run.turns(0.01, devices=0.1, loop=0.9)
    assert "loop 90%, the simulated devices 10%. Its handlers" in run.texts[0]


def test_a_run_at_a_third_of_real_time_is_not_slow(run):
    for _ in range(100):
        run.turns(0.3, devices=1)
    assert run.texts == []


def test_a_run_that_slows_down_is_judged_by_what_is_new(run):
    run.turns(1000, devices=21)
    for _ in range(50):
        run.turns(0.1, devices=1)
    assert len(run.texts) == 1


def test_waits_that_a_run_is_meant_to_make_do_not_count(run):
    for _ in range(100):
        run.turns(0.9, wait=9, devices=0.1)
    assert run.texts == []
