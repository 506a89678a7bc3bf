"""Waits until the effects of a test are over, so that the next test does not see them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from mlink_hil.control.watcher import BoardLink
from mlink_hil.testing.host.starvation import Snapshot
from mlink_hil.testing.names import Names
from mlink_hil.testing.observed.history import History

_QUIET_SEC = 0.03
"""Lines are at rest when they had no traffic for so long."""
_QUIET_STARVED_USEC = 3000
"""When the loop waited longer than this for a processor meanwhile, it may only have been slow."""
_VIRTUAL_SEC, _REAL_SEC = 5.0, 0.3
"""Longest wait for virtual and for real boards; real ones may report without end."""
_FRAMES = 2
"""The exposure of the first frame after the rest may have begun before it."""
_FRAMES_SEC = 1.0


class SettlingRun(Protocol):
    """What settling needs of a run; `BenchRun` has it."""

    slow: float
    boards: dict[str, BoardLink]
    names: Names
    history: History

    @property
    def alive(self) -> bool:
        """Whether the run still lasts."""

    def now_usec(self) -> int:
        """Return the master time."""

    def sleep(self, sec: float) -> None:
        """Let time pass."""

    def processor_times(self) -> Snapshot:
        """Return a moment to count `starved_usec` from."""

    def starved_usec(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long each process of the loop waited for a processor, in µs."""

    def let_run(self) -> None:
        """Wait until no process of the loop waits for a processor."""


def settle(run: SettlingRun, watched: Iterable[str] = ()) -> None:
    """Wait until lines are at rest, and until cameras have shown that.

    Gives up after 5 s for virtual boards, 0.3 s for real ones and 1 s for cameras; the latter two
    are longer on a slow host.

    Args:
        run: The run.
        watched: Streams of the cameras that tests look at.
    """
    rest_usec = _until_quiet(run)
    for stream in watched:
        seen = partial(_has_shown, run, stream, rest_usec)
        run.history.wait(seen, _FRAMES_SEC * run.slow)


def _until_quiet(run: SettlingRun) -> int:
    """Wait until there is no traffic to and from boards; return the master time since which."""
    quiet_sec, limit_sec = (_QUIET_SEC, _VIRTUAL_SEC)
    if not run.boards:
        quiet_sec, limit_sec = _QUIET_SEC * run.slow, _REAL_SEC * run.slow
    rest_usec = run.now_usec()
    deadline_usec = rest_usec + limit_sec * 1e6
    traffic = _traffic(run)
    while traffic and run.alive and run.now_usec() < deadline_usec:
        waits = run.processor_times()
        run.sleep(quiet_sec)
        run.let_run()  # a process that waits for a processor may be about to send
        now_usec, now = run.now_usec(), _traffic(run)
        # silence proves nothing where the host did not let the loop run
        if now == traffic and sum(run.starved_usec(waits).values()) < _QUIET_STARVED_USEC:
            break
        rest_usec, traffic = now_usec, now
    return rest_usec


def _traffic(run: SettlingRun) -> list[int]:
    """Return numbers that change with the traffic of boards; empty where there are none.

    For virtual boards these are the counts of bytes; for real ones with testers, the times of each
    line's last report.
    """
    if run.boards:
        stats = [link.stats() for link in run.boards.values()]
        return [count for each in stats for count in (each.uart_bytes_in, each.uart_bytes_out)]
    if not run.names.testers():
        return []
    streams = run.names.line_streams()
    last = [
        run.history.last(channel)
        for channel in run.history.channels()
        if channel.rpartition(".")[0] in streams
    ]
    return [len(last), *(event.noted_ns for event in last if event is not None)]


def _has_shown(run: SettlingRun, stream: str, rest_usec: int) -> bool:
    frames = run.history.of(stream, rest_usec)
    return sum(frame.earliest_usec >= rest_usec for frame in frames) >= _FRAMES
