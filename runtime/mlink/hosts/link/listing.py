"""Who is there, for a list: each host as it says it is, and how its clock differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from mlink.errors import HostError
from mlink.hosts.link.about import About, AskAbout, ClockReading, ReadClock
from mlink.hosts.link.calls import Calls
from mlink.hosts.link.controller import Controller

_ASK_S: Final = 15.0
_CLOCK_S: Final = 2.0
_LOOKS: Final = 8
_AT_ONCE: Final = 16


class ListedHost(msgspec.Struct, frozen=True):
    """One host of a list.

    Attributes:
        host: Its name.
        address: Where it is reached; "" if it was found, or is behind another.
        problem: Why it cannot be used; "" when it can.
        remedy: What to do about that.
        about: What it says of itself; None if it says nothing.
        clock_offset_usec: Its system clock less ours, in µs; None if it was not asked.
        clock_error_usec: Half of the quickest round trip in µs, which bounds the error of that.
    """

    host: str
    address: str = ""
    problem: str = ""
    remedy: str = ""
    about: About | None = None
    clock_offset_usec: float | None = None
    clock_error_usec: float | None = None


def list_hosts(
    controller: Controller, *, timeout_s: float, others: int = 0, devices: bool = True
) -> list[ListedHost]:
    """Return the hosts that are there, and those that should be, by name.

    Args:
        controller: An open session.
        timeout_s: How long to wait for hosts to be there, in seconds.
        others: How many more hosts than those with known names to wait for.
        devices: Whether to ask for their devices.
    """
    end_s = time.monotonic() + timeout_s
    presence, names = controller.presence, set(controller.addresses)
    while (left_s := end_s - time.monotonic()) > 0:
        there = {each.host for each in presence.hosts()}
        if names <= there and len(there - names) >= others:
            break
        presence.wait_for_change(min(left_s, 0.2))
    wanted = sorted(names | {each.host for each in presence.hosts()})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda name: _listed(controller, name, devices), wanted))


def _listed(controller: Controller, host: str, devices: bool) -> ListedHost:
    address = controller.addresses.get(host, "")
    try:
        if not controller.presence.named(host):
            raise controller.why_absent(host)
        calls = Calls(controller)
        about = calls.ask(host, AskAbout(devices), About, _ASK_S)
        offset_usec, error_usec = read_offset(calls, host)
    except HostError as error:
        return ListedHost(host, address, error.message, error.remedy)
    return ListedHost(
        host, address, about=about, clock_offset_usec=offset_usec, clock_error_usec=error_usec
    )


def read_offset(calls: Calls, host: str) -> tuple[float, float]:
    """Return a host's system clock less ours, and the bound of the error, both in µs.

    The quickest of eight exchanges counts. Its reading was taken between our two: so the offset to
    their middle is wrong by half of the round trip at most.
    """
    looks: list[tuple[float, float]] = []
    for _ in range(_LOOKS):
        sent_ns = time.monotonic_ns()
        theirs = calls.ask(host, ReadClock(), ClockReading, _CLOCK_S)
        trip_ns = time.monotonic_ns() - sent_ns
        middle_ns = time.time_ns() - trip_ns / 2
        looks.append((trip_ns / 2000, (theirs.system_ns - middle_ns) / 1000))
    error_usec, offset_usec = min(looks)
    return round(offset_usec, 1), round(error_usec, 1)


def release_host(calls: Calls, names: Sequence[str], by: str) -> dict[str, str]:
    """End the lease on hosts, whoever has it; return who had it, by host ("" for nobody).

    Raises:
        HostError: One is not there, or refuses.
    """
    from mlink.hosts.link.lease import Lease, ReleaseHost

    request = ReleaseHost(by=by[:200])
    return {name: calls.ask(name, request, Lease, _ASK_S).owner for name in names}
