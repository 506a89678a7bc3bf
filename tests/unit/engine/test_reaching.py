"""After a failure the engine asks no further module to go on."""

from __future__ import annotations

from types import SimpleNamespace

from mlink.engine.reaching import Reaching
from mlink.engine.workers import State


def test_once_the_run_has_to_end_nothing_more_is_sent():
    def send(_worker):
        raise AssertionError("a module was asked to go on after the failure")

    workers = {"gone": SimpleNamespace(name="gone", state=State.GONE, pending_acks=0)}
    fields = {
        "workers": workers,
        "outcome": SimpleNamespace(ending=True),
        "reporter": None,
        "pump": lambda _: None,
        "place": lambda _: "",
    }
    reaching = Reaching(**fields)
    reaching.in_order({"gone": set()}, send, State.PREPARED, 1.0)
