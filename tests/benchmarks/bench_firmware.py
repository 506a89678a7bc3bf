"""Our firmware on the simulated chip, whose cycle counter is the truth: edges, pulses, reflexes.

`--full`: the counts of the project's promises (10,000 edges, 1,000 pulses, 10 simulated minutes of
a drifting crystal); else a tenth. Beside it, where it is in the cache, StandardFirmata on the same
chip with a host that takes no time: its inputs are stamped when the last byte of their report
has left, its pulses are two writes at the right moments, its loop answers at once. A real host adds
its own jitter to all three.

Ten simulated minutes of noise are tests: pytest -m long tests/unit/firmware/test_fuzz.py
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mlink.reflexes import Edges, ReflexAction  # noqa: E402
from mlink_drivers.firmata.chip import encode as chip_encode  # noqa: E402
from mlink_drivers.firmata.chip.clock import ChipClock  # noqa: E402
from mlink_drivers.firmata.chip.messages import (  # noqa: E402
    ClockAnswer,
    EdgeBlock,
    SafeStateTripped,
)
from mlink_drivers.firmata.wire import encode  # noqa: E402
from mlink_drivers.firmata.wire.protocol import DigitalPort  # noqa: E402
from mlink_hil.sim.fetch_firmware import cached_path, is_cached  # noqa: E402
from mlink_hil.uno import CLOCK_HZ  # noqa: E402
from tests.support.boards.firmware_chip import CYCLES_PER_TICK, CYCLES_PER_USEC, HEX, Chip  # noqa: E402

PINS = (2, 4, 7, 8, 12)


def show(what: str, figures: Iterable[float], limit: str = "") -> None:
    """Print percentiles of absolute values in µs."""
    values = sorted(abs(figure) for figure in figures)
    if not values:
        print(f"{what:<52} nothing")
        return
    parts = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    row = "  ".join(
        f"{name} {values[min(int(len(values) * part), len(values) - 1)]:9.2f}"
        for name, part in parts.items()
    )
    print(f"{what:<52} {row}  max {values[-1]:9.2f} µs  {limit}")


def make_edges(chip: Chip, count: int) -> list[tuple[int, bool, int]]:
    """Random edges, 500/s on the mean, with bursts 50 µs apart."""
    rng = random.Random(1)
    levels = dict.fromkeys(PINS, False)
    made: list[tuple[int, bool, int]] = []
    while len(made) < count:
        size = rng.choice((1, 1, 1, 20))
        chip.run_usec(rng.expovariate(500 / 1e6 / size))
        for _ in range(size):
            pin = rng.choice(PINS)
            levels[pin] = not levels[pin]
            chip.board.drive(pin, levels[pin])
            made.append((pin, levels[pin], chip.cycle))
            chip.run_usec(50)
    chip.run_usec(500_000)
    return made


def edges(count: int, baud_rate: int) -> None:
    """Edge times of our firmware."""
    chip = Chip()
    chip.calibrate()
    if baud_rate != 57_600:
        chip.ask(chip_encode.change_baud(baud_rate))
        chip.ask(chip_encode.confirm_baud())
    chip.ask(chip_encode.watch_edges(dict.fromkeys(PINS, Edges.BOTH)))
    made = make_edges(chip, count)
    reported = [
        edge
        for message in chip.messages
        if isinstance(message, EdgeBlock)
        for edge in message.edges
    ]
    ordered = [(e.pin, e.level) for e in reported] == [(pin, level) for pin, level, _ in made]
    order = "kept" if ordered else "LOST"
    state = f"{len(made)} made, {len(reported)} reported, order {order}; limit 8"
    errors = [
        (chip.cycle_of(e.ticks) - cycle) / CYCLES_PER_USEC
        for e, (_, _, cycle) in zip(reported, made, strict=False)
    ]
    show(f"edge time, {baud_rate} baud", errors, state)
    intervals = [b - a for a, b in itertools.pairwise(errors)]
    show(f"interval between edges, {baud_rate} baud", intervals, "limit 20 (p99)")


def standard_edges(count: int) -> None:
    """The same edges through StandardFirmata: what its reports show of them."""
    chip = Chip(cached_path())
    setup = b"".join(encode.pin_mode(pin, 0) for pin in PINS)
    chip.ask(setup + encode.report_digital(0, True) + encode.report_digital(1, True))
    made = make_edges(chip, count)
    waiting: dict[int, list[tuple[bool, int]]] = {pin: [] for pin in PINS}
    for pin, level, cycle in made:
        waiting[pin].append((level, cycle))
    reported, late = 0, []
    seen = dict.fromkeys(PINS, False)
    for message, arrival in zip(chip.messages, chip.arrivals, strict=True):
        if not isinstance(message, DigitalPort):
            continue
        for pin in PINS:
            level = bool(message.mask >> (pin % 8) & 1)
            if pin // 8 != message.port or level == seen[pin]:
                continue
            seen[pin] = level
            reported += 1
            before = [c for lv, c in waiting[pin] if lv == level and c <= arrival]
            if before:
                late.append((arrival - before[-1]) / CYCLES_PER_USEC)
    show(
        "  beside it: StandardFirmata's reports, 57600 baud",
        late,
        f"{len(made)} made, {reported} reported",
    )


def pulses(width_usec: int, count: int) -> None:
    """Widths on the pin."""
    chip = Chip()
    rng = random.Random(2)
    for _ in range(count):
        chip.send(chip_encode.pulse(8, width_usec * 2), run_usec=width_usec + 1500)
        chip.run_usec(rng.random() * 500)
    found = chip.take_edges(8)
    widths = [
        (b[1] - a[1]) / CYCLES_PER_USEC - width_usec
        for a, b in zip(found[::2], found[1::2], strict=True)
    ]
    show(f"width of {width_usec} µs pulses", widths, f"{len(widths)} of {count}; limit 8")


def reflexes(count: int) -> None:
    """Pin edge to pin edge."""
    chip = Chip()
    action = ReflexAction.PULSE_HIGH
    chip.ask(chip_encode.set_reflex(0, 7, Edges.RISING, 8, action, width=1000))
    rng = random.Random(3)
    delays = []
    for _ in range(count):
        chip.take_edges(8)
        chip.board.drive(7, True)
        begin = chip.cycle
        chip.run_usec(800 + rng.random() * 2000)
        delays.append((chip.take_edges(8)[0][1] - begin) / CYCLES_PER_USEC)
        chip.board.drive(7, False)
        chip.run_usec(4000)
    show("reflex, edge to edge", delays, "limit 30")


def safe_states(count: int) -> None:
    """From the last byte heard to the pin low."""
    times = []
    for at in range(count):
        chip = Chip()
        chip.send(encode.pin_mode(8, 1) + encode.digital_pin(8, True))
        chip.ask(chip_encode.safe_state(50 + at * 10))
        chip.send(encode.protocol_version_query())
        begin = chip.cycle
        chip.take_edges(8)
        chip.run_usec(60_000 + at * 10_000)
        assert any(isinstance(message, SafeStateTripped) for message in chip.take())
        times.append((chip.take_edges(8)[0][1] - begin) / CYCLES_PER_USEC - (50_000 + at * 10_000))
    show("safe state: off the set time", times)


def standard_pulses(width_usec: int, count: int) -> None:
    """Two writes of a host without jitter."""
    chip = Chip(cached_path())
    chip.send(encode.pin_mode(8, 1), run_usec=50_000)
    chip.take_edges(8)
    rng = random.Random(2)
    for _ in range(count):
        begin = chip.cycle
        chip.board.feed(encode.digital_port(1, 1))
        chip.board.run_until(begin + width_usec * CYCLES_PER_USEC)
        chip.board.feed(encode.digital_port(1, 0))
        chip.run_usec(2000 + rng.random() * 500)
    found = chip.take_edges(8)
    widths = [
        (b[1] - a[1]) / CYCLES_PER_USEC - width_usec
        for a, b in zip(found[::2], found[1::2], strict=True)
    ]
    show("  beside it: two writes to StandardFirmata", widths, f"{len(widths)} of {count}")


def standard_reflexes(count: int) -> None:
    """A host that answers the report of an edge at once."""
    chip = Chip(cached_path())
    chip.ask(encode.pin_mode(7, 0) + encode.pin_mode(8, 1) + encode.report_digital(0, True))
    rng = random.Random(3)
    delays = []
    for at in range(count):
        level = at % 2 == 0
        chip.take()
        chip.take_edges(8)
        chip.board.drive(7, level)
        begin = chip.cycle
        while not chip.messages:
            chip.run_usec(10)
        chip.send(encode.digital_port(1, level), run_usec=3000 + rng.random() * 2000)
        delays.append((chip.take_edges(8)[0][1] - begin) / CYCLES_PER_USEC)
    show("  beside it: StandardFirmata, host answers at once", delays)


def synchronised(seconds: int, ppm: float) -> None:
    """Intervals between edges in host time, with a crystal that is off and a host that jitters."""
    chip = Chip()
    chip.calibrate()
    pins = PINS[:3]
    chip.ask(chip_encode.watch_edges(dict.fromkeys(pins, Edges.BOTH)))
    byte_cycles = 10 / 57_142 * CLOCK_HZ
    clock = ChipClock(CLOCK_HZ // CYCLES_PER_TICK, round(1e9 * 10 / 57_600))
    rng = random.Random(5)

    def host_ns(cycle: float) -> float:
        return cycle / CYCLES_PER_USEC * 1000 / (1 + ppm * 1e-6)

    def late() -> float:
        """Up to 0.3 ms, sometimes 3 ms: what a host takes to write or to wake."""
        return (rng.random() * 300 + (rng.random() < 0.02) * 3000) * CYCLES_PER_USEC

    levels = dict.fromkeys(pins, False)
    made: list[int] = []
    reported: list[float] = []
    for second in range(seconds + 10):
        chip.take()
        query = clock.query(round(host_ns(chip.cycle - late())))
        chip.send(query, run_usec=8000)
        for message, arrival in zip(chip.messages, chip.arrivals, strict=True):
            if isinstance(message, ClockAnswer):
                clock.take(message, round(host_ns(arrival - 15 * byte_cycles + late())))
        chip.take()
        for _ in range(8):
            pin = rng.choice(pins)
            levels[pin] = not levels[pin]
            chip.board.drive(pin, levels[pin])
            if second >= 10:
                made.append(chip.cycle)
            chip.run_usec(rng.choice((60, 1000, 20_000, 50_000)))
        chip.run_usec(60_000)
        edges = [e for m in chip.messages if isinstance(m, EdgeBlock) for e in m.edges]
        if second >= 10:
            reported += [clock.to_monotonic_ns(edge.ticks) / 1000 for edge in edges]
        chip.run_usec(1e6 - (chip.cycle / CYCLES_PER_USEC) % 1e6)
    assert len(reported) == len(made)
    true = [host_ns(cycle) / 1000 for cycle in made]
    errors = [
        (b - a) - (d - c)
        for (a, b), (c, d) in zip(
            itertools.pairwise(reported), itertools.pairwise(true), strict=True
        )
    ]
    limit = f"{clock.rate_ppm:+.1f} ppm found, {len(errors)} intervals; limit 20 (p99)"
    show(f"interval after the synchroniser, {ppm:+.0f} ppm, {seconds} s", errors, limit)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the full counts (some minutes)")
    full = parser.parse_args().full
    many, some = (10_000, 1000) if full else (1000, 100)
    print(f"{HEX.name}, yasimavr, 16 MHz; absolute errors")
    for baud_rate in (57_600, 1_000_000):
        edges(many, baud_rate)
    if is_cached():
        standard_edges(many)
    for ppm in (200, -200):
        synchronised(600 if full else 60, ppm)
    for width_usec in (1000, 50_000):
        pulses(width_usec, some)
        if is_cached():
            standard_pulses(width_usec, some)
    reflexes(some)
    if is_cached():
        standard_reflexes(some)
    safe_states(10 if full else 3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
