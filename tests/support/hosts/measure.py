"""Measures how well a host follows the controller's clock, over a real network stack.

Run as root: python -m tests.support.hosts.measure [CHECKS]. It prints the table of docs/hosts.md.
"""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import nullcontext
from typing import Any

from mlink.hosts.clocks.server import ClockServer
from tests.support.hosts.room import room, why_there_is_none
from tests.support.hosts.udp_proxy import UdpProxy, Ways

LINKS = {
    "veth alone": None,
    "0.2 ms": Ways(0.0001, 0.0001),
    "0.2 ms, 30 % unequal": Ways(0.00013, 0.00007),
    "20 ms": Ways(0.01, 0.01, jitter_s=0.0005),
    "20 ms, 30 % unequal": Ways(0.013, 0.007, jitter_s=0.0005),
    "20 ms, 30 % unequal, 10 % lost, overtaking": Ways(0.013, 0.007, jitter_s=0.002, loss=0.1),
}
"""Round trips that the proxy adds."""


def follow(ways: Ways | None, ppm: float, checks: int) -> dict[str, Any]:
    """Let a host in a room follow us; return what it has found."""
    key = secrets.token_bytes(32)
    with room() as there, ClockServer() as server:
        host = there.start(
            "tests.support.hosts.clock_host", key.hex(), there.there, str(ppm), str(checks)
        )
        with host:
            assert host.stdout is not None
            try:
                port = int(host.stdout.readline())
                to = (there.there, port)
                with nullcontext() if ways is None else UdpProxy(there.here, to, ways) as proxy:
                    if proxy is not None:
                        to = (there.here, proxy.port)
                    server.add("room", *to, key)
                    found: dict[str, Any] = json.loads(host.stdout.readline())
                    return found
            finally:
                host.terminate()


def main() -> None:
    """Measure all links at three rates."""
    if why := why_there_is_none():
        sys.exit(why)
    checks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print("| link | ppm | outside | median error | largest | stated | rate found |")
    print("|---|---|---|---|---|---|---|")
    for name, ways in LINKS.items():
        for ppm in (0.0, 100.0, -100.0):
            found = follow(ways, ppm, checks)
            print(
                f"| {name} | {ppm:+.0f} | {found['outside']} of {found['checks']:,} "
                f"| {found['median_usec']:,.0f} µs | {found['largest_usec']:,.0f} µs "
                f"| ± {found['stated_usec']:,.0f} µs | {-found['clock_rate_ppm']:+.2f} ppm |",
                flush=True,
            )


if __name__ == "__main__":
    main()
