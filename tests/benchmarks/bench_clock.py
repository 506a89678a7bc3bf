"""What reading a clock costs that another machine leads, beside this machine's own master timer.

Run: python -m tests.benchmarks.bench_clock
"""

from __future__ import annotations

import time
import timeit

from mlink.clock import Clock, MasterClock
from mlink.hosts.clocks.estimate import ClockEstimate
from mlink.hosts.clocks.page import ClockPage
from mlink.steered_clock import SteeredClock
from tests.benchmarks.table import Table, arguments, publish

CALL_NS = 100
"""About what a call takes; gives the number of calls in a measurement."""
MOST = 1.3


def steered() -> tuple[ClockPage, Clock]:
    """Return a page whose one piece holds for long, and its reader."""
    estimate = ClockEstimate()
    for _ in range(20):
        now_ns = time.monotonic_ns()
        estimate.exchange(now_ns, now_ns + 5000, now_ns + 6000, now_ns + 11_000)
        time.sleep(0.001)
    page = ClockPage(estimate)
    page.begin(time.monotonic_ns() - 3600 * 10**9, time.monotonic_ns())
    return page, SteeredClock(page.fd)


def main() -> None:
    """Compare both in turns, so that a busy machine disturbs both alike."""
    assert __doc__ is not None
    options = arguments(__doc__, seconds=0.02, rounds=60).parse_args()
    page, led = steered()
    clocks: dict[str, Clock] = {"master": MasterClock(time.monotonic_ns() - 10**9), "led": led}
    count = round(options.seconds * 1e9 / CALL_NS)
    calls = {"now_usec()": "clock.now_usec()", "from_monotonic_ns()": "clock.from_monotonic_ns(s)"}
    table = Table("Reading master time", ["master timer", "led by another machine"])
    for name, call in calls.items():
        best = dict.fromkeys(clocks, 1e9)
        for _ in range(options.rounds):
            for which, clock in clocks.items():
                page.steer(time.monotonic_ns())
                clock.now_usec()
                names = {"clock": clock, "s": time.monotonic_ns()}
                taken = timeit.timeit(call, globals=names, number=count)
                best[which] = min(best[which], taken / count * 1e9)
        ratio = best["led"] / best["master"]
        tight = name == "now_usec()"
        table.add(
            name, *(f"{each:.0f} ns" for each in best.values()), ratio=ratio,
            target=f"≤ {MOST:g} ×" if tight else "", ok=ratio <= MOST if tight else None,
        )  # fmt: skip
    page.close()
    publish([table], options.json)


if __name__ == "__main__":
    main()
