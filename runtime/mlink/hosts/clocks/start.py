"""The start of a run on all hosts at one master time: the controller's reading `origin_ns`."""

from __future__ import annotations

import time
from typing import Final

from mlink.engine.remote import StartAt, Wait
from mlink.errors import HostError
from mlink.hosts.clocks.host_clock import HostClock

LEAST_MARGIN_S: Final = 0.1
_STEP_S: Final = 0.05
_MOST_AHEAD_S: Final = 60.0
_KNOWN_S: Final = 20.0


def choose_origin(slowest_call_s: float, *, now_ns: int | None = None) -> int:
    """Return the controller's reading at which the run starts, in ns; it is in the future.

    Args:
        slowest_call_s: How long the slowest host took to answer; the start is three times as far
            away, and at least 0.1 s.
        now_ns: The controller's reading now; None takes CLOCK_MONOTONIC.
    """
    now_ns = time.monotonic_ns() if now_ns is None else now_ns
    return now_ns + round(1e9 * max(LEAST_MARGIN_S, 3 * slowest_call_s))


def await_known(clock: HostClock, wait: Wait) -> bool:
    """Wait until a host knows the controller's clock, while its modules prepare.

    Args:
        clock: The host's clock, which was started.
        wait: Lets the engine go on; returns False when the run ends.

    Returns:
        False when the run ends.

    Raises:
        HostError: It is not known within 20 s.
    """
    end_s = time.monotonic() + _KNOWN_S
    while not clock.is_known:
        if time.monotonic() > end_s:
            raise HostError(
                f"the controller's clock is not known here after {_KNOWN_S:g} s: no exchange of "
                "clocks has succeeded",
                remedy=f"Let UDP packets of the controller reach port {clock.port} of this host.",
            )
        if not wait(_STEP_S):
            return False
    return True


def await_origin(clock: HostClock | None, origin_ns: int, wait: Wait) -> StartAt | None:
    """Wait for the start that the controller has chosen.

    Args:
        clock: The host's clock; None on the controller itself.
        origin_ns: The controller's CLOCK_MONOTONIC reading at master time 0, in ns.
        wait: Lets the engine go on; returns False when the run ends.

    Returns:
        The start, and its figures: `start_late_usec` is how much later than chosen this host was
        ready; its master time has the same zero all the same. None when the run ends.

    Raises:
        HostError: The clock is not known, or the start is more than a minute away.
    """
    local_ns = origin_ns
    if clock is not None:
        clock.begin(origin_ns)
        local_ns = clock.to_local_ns(0)
    left_s = (local_ns - time.monotonic_ns()) / 1e9
    if abs(left_s) > _MOST_AHEAD_S:
        raise HostError(
            f"the start of the run is {left_s:+.0f} s away from now",
            remedy="A clock has jumped, or this host was suspended meanwhile: start the run again.",
        )
    late_usec = max(0, round(-left_s * 1e6))
    while (left_s := (local_ns - time.monotonic_ns()) / 1e9) > 0:
        if left_s > 0.001:
            if not wait(min(_STEP_S, left_s - 0.001)):
                return None
        else:
            time.sleep(left_s)
    figures = {"start_late_usec": late_usec, **({} if clock is None else clock.figures())}
    return StartAt(min(local_ns, time.monotonic_ns()), figures)
