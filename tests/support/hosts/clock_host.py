"""A host in a room: follows the controller's clock, and compares it with the truth, which it knows.

Run by `measure`: python -m tests.support.hosts.clock_host KEY ADDRESS PPM CHECKS. It prints its
port, and when all checks are made what it has found, as JSON.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time

from mlink.hosts.clocks.host_clock import HostClock
from mlink.steered_clock import SteeredClock
from tests.support.hosts.room import AHEAD_S

LIMIT_S = 60.0


def main() -> None:
    """Follow, check, and print."""
    key, address, ppm, checks = sys.argv[1:]
    began_ns = time.monotonic_ns()

    def skewed(true_ns: int) -> int:
        """The room's clock, whose quartz runs at another rate."""
        return true_ns + round((true_ns - began_ns) * float(ppm) * 1e-6)

    with HostClock(
        bytes.fromhex(key), address=address, now_ns=lambda: skewed(time.monotonic_ns())
    ) as clock:
        print(clock.port, flush=True)
        clock.start()
        assert clock.wait_known(LIMIT_S), "the controller's clock is not known"
        origin_ns = time.monotonic_ns() - AHEAD_S * 10**9  # as the controller chooses it
        clock.begin(origin_ns)
        master = SteeredClock(clock.page_fd)
        rng = random.Random(1)
        errors, outside, stated = [], 0, []
        for _ in range(int(checks)):
            time.sleep(rng.uniform(0, 0.002))
            true_ns = time.monotonic_ns()
            reading_ns = skewed(true_ns)
            truth_usec = (true_ns - AHEAD_S * 10**9 - origin_ns) / 1000
            error = abs(master.from_monotonic_ns(reading_ns) - truth_usec)
            bound = master.uncertainty_usec(reading_ns)
            errors.append(error)
            stated.append(bound)
            outside += error > bound + 1  # master time is in whole µs
        errors.sort()
        found = {
            "checks": len(errors),
            "outside": outside,
            "median_usec": round(statistics.median(errors), 1),
            "p99_usec": round(errors[len(errors) * 99 // 100], 1),
            "largest_usec": round(errors[-1], 1),
            "stated_usec": statistics.median(stated),
            **clock.figures(),
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
