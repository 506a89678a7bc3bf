"""States how much time the simulation of a bench's boards has skipped, in a run in real time.

A simulation that is more than 20 ms behind skips the rest. For the boards' clocks that time has not
passed, so what they and their host state about times is wrong meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlink.bench.companions import RunView
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import StatsReply

log = logging.getLogger("mlink.devices")

_LEAST_USEC = 1000
"""What a board skips less than this is below what such times can be trusted to anyway."""
_LOOK_SEC = 0.2
_JOIN_SEC = 15.0
_BUSY_HZ = 20_000
"""Edges per second from which on a line is named as what costs the time."""


@contextmanager
def watch_pace(endpoints: Mapping[str, DeviceEndpoint], run: RunView) -> Iterator[None]:
    """Compare the boards' counters at the start of master time with those at the end of the block.

    Args:
        endpoints: The simulated devices of the run; only boards have a control socket.
        run: The run, which receives a figure and a hint for each board that has skipped time.
    """
    controls = {name: each.control for name, each in endpoints.items() if each.control}
    before: dict[str, StatsReply] = {}
    began_s = 0.0
    ending = threading.Event()

    def take_start() -> None:
        nonlocal began_s
        while not run.wait_running(_LOOK_SEC):
            if ending.is_set():
                return
        before.update(_ask(controls))
        began_s = time.monotonic()

    start = threading.Thread(target=take_start, name="pace", daemon=True)
    start.start()
    try:
        yield
    finally:
        ending.set()
        start.join(_JOIN_SEC)
    took_s = time.monotonic() - began_s
    for name, after in _ask({name: controls[name] for name in before}).items():
        text = lapse(before[name], after, took_s)
        if text:
            run.report(name, "simulation_skipped_ms", skipped_usec(before[name], after) / 1000)
            run.hint(name, text)
            log.warning("%s: %s", name, text)


def skipped_usec(before: StatsReply, after: StatsReply) -> float:
    """Return the time that a simulation has skipped between two replies, in µs."""
    return after.slip_usec - before.slip_usec


def lapse(before: StatsReply, after: StatsReply, took_s: float) -> str:
    """Describe how far a board was from real time, and what to do; "" where it kept it.

    Args:
        before: Its counters at the start.
        after: Those at the end.
        took_s: Real time between them, s.
    """
    skipped = skipped_usec(before, after)
    if skipped < _LEAST_USEC:
        return ""
    share = min(100.0, skipped / 10_000 / took_s) if took_s > 0 else 100.0
    text = (
        f"this machine was too slow to simulate it in real time: {skipped / 1000:.0f} ms of"
        f" {took_s:.1f} s ({share:.{0 if share >= 1 else 2}f} %) were skipped. For the board they"
        " have not passed: times of its edges, pulses and answers can be wrong by that, and delays"
        " through it are longer."
    )
    rates = [
        (count - first) / took_s if took_s > 0 else 0.0
        for first, count in zip(before.edges, after.edges, strict=False)
    ]
    busiest = max(range(len(rates)), key=rates.__getitem__, default=0)
    if rates and rates[busiest] >= _BUSY_HZ:
        text += f" Line {busiest} had {rates[busiest]:,.0f} edges/s, each of which costs time."
    return text + " Run with --time virtual, with slower signals, or on a less busy machine."


def _ask(controls: Mapping[str, str]) -> dict[str, StatsReply]:
    found = {}
    for name, control in controls.items():
        try:
            with VirtualBoard.connect(control) as board:
                found[name] = board.stats()
        except DeviceError:
            continue  # its program has ended, which its users report
    return found
