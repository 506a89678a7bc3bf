"""A pytest plugin whose runs have a tap that drops, delays, duplicates and reorders items.

Load it with `-p tests.support.disturbed_tap`; the options below choose what is done, and how often
each test is repeated. A disturbance is between a stream and the tap: the item's number is known.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mlink.module import InputPort, ModuleContext
from mlink.tap.catalog import TapSettings, tap_type
from mlink.tap.module import TapModule
from mlink.types import Frame

KINDS = ("drop", "delay", "duplicate", "reorder")
SHARE = 0.03
"""Share of the items that are disturbed."""
LONGEST_DELAY_S = 0.2
MOST_OVERTAKEN = 4
_SETTINGS = "MLINK_TEST_DISTURB"
"""Kinds and seed, in the environment: the tap is in a process of its own."""


class Disturbance:
    """Passes items on, or does what its kinds name.

    Args:
        kinds: Some of `KINDS`; none leaves all items as they are.
        generator: Chooses.
        share: Share of the items that are disturbed.
        sleep: Delays an item and all that follow it, by so many seconds.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        generator: random.Random,
        share: float,
        sleep: Callable[[float], object],
    ) -> None:
        self._kinds = kinds
        self._random = generator
        self._share = share
        self._sleep = sleep
        self._held: list[tuple[int, Callable[[], object]]] = []
        """Items to be overtaken: after so many others they are passed on."""

    def take(self, pass_on: Callable[[], object], hold: Callable[[], object] = bool) -> None:
        """Take the next item.

        Args:
            pass_on: Passes it on.
            hold: Called first if it is to be passed on after others.
        """
        kind = ""
        if self._kinds and self._random.random() < self._share:
            kind = self._random.choice(self._kinds)
        if kind == "reorder":
            hold()
            self._held.append((self._random.randint(1, MOST_OVERTAKEN), pass_on))
            return
        if kind == "delay":
            self._sleep(self._random.uniform(0, LONGEST_DELAY_S))
        if kind != "drop":
            pass_on()
        if kind == "duplicate":
            pass_on()
        held, self._held = self._held, []
        for left, call in held:
            if left > 1:
                self._held.append((left - 1, call))
            else:
                call()


class DisturbedTap(TapModule):
    """A tap that disturbs items before it looks at them."""

    def __init__(self, context: ModuleContext[TapSettings]) -> None:
        super().__init__(context)
        kinds, _, seed = os.environ[_SETTINGS].partition(":")
        generator = random.Random(f"{seed}:{context.run_info.run_uuid.hex()}")
        self._disturbance = Disturbance(kinds_of(kinds), generator, SHARE, time.sleep)

    def _on_item(
        self,
        handler: Callable[[str, int, Any, int], None],
        port: InputPort,
        stream: str,
        item: Any,
    ) -> None:
        self._items += 1
        pass_on = partial(handler, stream, port.taken - 1, item, self._time_usec(port, item))
        self._disturbance.take(pass_on, item.detach if isinstance(item, Frame) else bool)


def kinds_of(text: str) -> list[str]:
    """Return the kinds in a text, separated by commas; "" has none."""
    return [kind for kind in text.split(",") if kind]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--disturb", default=",".join(KINDS), help="kinds, separated by commas")
    parser.addoption("--disturb-seed", default="0", help="any text")
    parser.addoption("--disturb-repeat", type=int, default=1, help="how often each test runs")


def pytest_configure(config: pytest.Config) -> None:
    """Put the disturbed tap in the place of the tap."""
    import mlink.tap.attach

    os.environ[_SETTINGS] = f"{config.getoption('--disturb')}:{config.getoption('--disturb-seed')}"
    disturbed = replace(tap_type, implementation=f"{__name__}:{DisturbedTap.__name__}")
    mlink.tap.attach.tap_type = disturbed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test."""
    times = metafunc.config.getoption("--disturb-repeat")
    metafunc.fixturenames.append("disturbed_round")
    metafunc.parametrize("disturbed_round", range(times))
