"""How far the synchronisers' times are from the truth, over simulated hours.

    .venv/bin/python tests/benchmarks/long/sync_study.py            2 hours each
    .venv/bin/python tests/benchmarks/long/sync_study.py --quick    12 minutes each
    … --plot docs/images/sync_study.png                        draws the errors (needs OpenCV)

A sample is taken at a true time t on the master timer. The device stamps it with its own clock,
(1 + drift)·t + steps; the computer stamps its arrival, t + latency. An algorithm gets both and
returns a time; its error is that time − t − the scenario's mean latency, which nothing can know.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlink.sync import (
    FreqCounterSynchronizer,
    OffsetRateSynchronizer,
    SecondaryClockSynchronizer,
)

RATE_HZ = 30.0
LATENCY_USEC = 3000.0
SETTLED_S = 60
"""Times before are left out: every algorithm calibrates within them."""


@dataclass
class Recording:
    """What the computer sees (device and arrival time), and the truth, in µs."""

    truth: np.ndarray
    device: np.ndarray
    arrival: np.ndarray


@dataclass
class Scenario:
    name: str
    drift_ppm: float
    latency: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    loss: bool = False
    steps_usec: list[int] = field(default_factory=list)
    wander_ppm: float = 0.0

    def simulate(self, minutes: float, seed: int) -> Recording:
        rng = np.random.default_rng(seed)
        truth = np.arange(round(minutes * 60 * RATE_HZ)) * (1e6 / RATE_HZ)
        turn = 2 * math.pi / 1.8e9  # the room warms and cools every half hour
        wander = self.wander_ppm * 1e-6 * (1 - np.cos(truth * turn)) / turn
        device = truth * (1 + self.drift_ppm * 1e-6) + wander + 5e9
        for number, step in enumerate(self.steps_usec, 1):
            device[len(truth) * number // (len(self.steps_usec) + 1) :] += step
        arrival = truth + LATENCY_USEC + self.latency(rng, truth)
        arrival = np.maximum.accumulate(arrival)  # a late delivery holds up those behind it
        kept = ~lost(rng, len(truth)) if self.loss else np.ones(len(truth), bool)
        return Recording(truth[kept], np.rint(device[kept]), np.rint(arrival[kept]))


def lost(rng, count):
    """5 % of samples at random, and a gap of 3 s every five minutes."""
    seconds = np.arange(count) / RATE_HZ
    return (rng.random(count) < 0.05) | (seconds % 300 > 297)


def normal(rng, truth):
    return rng.normal(0, 300, len(truth))


def heavy_tailed(rng, truth):
    """Student's t with 2 degrees of freedom, and 1 delivery in 500 late by up to 50 ms."""
    late = (rng.random(len(truth)) < 1 / 500) * rng.uniform(5_000, 50_000, len(truth))
    return np.maximum(150 * rng.standard_t(2, len(truth)), -2500) + late


def usb_like(rng, truth):
    """Deliveries wait for the next 1 ms poll; every few minutes the path's latency changes."""
    polls = np.ceil((truth * 1.00002 + rng.normal(0, 100, len(truth))) / 1000) * 1000 - truth
    level = np.zeros(len(truth))
    start = 0
    while start < len(truth):
        end = start + int(rng.exponential(240) * RATE_HZ) + 1
        level[start:end] = rng.choice([-1000.0, 0.0, 0.0, 0.0, 1000.0])
        start = end
    waiting = polls - truth * 0.00002
    return waiting - 500 + level


SCENARIOS = [
    Scenario("no drift, normal", 0, normal),
    Scenario("+200 ppm, normal", 200, normal),
    Scenario("−200 ppm, normal", -200, normal),
    Scenario("+50 ppm, heavy-tailed", 50, heavy_tailed),
    Scenario("+50 ppm, USB-like steps", 50, usb_like),
    Scenario("+50 ppm, normal, samples lost", 50, normal, loss=True),
    Scenario("+5 ppm, clock steps", 5, normal, steps_usec=[50_000, -20_000, 5_000, -80_000]),
    Scenario("±10 ppm with the temperature", 0, normal, wander_ppm=10),
    Scenario("everything", -100, heavy_tailed, True, [20_000, -50_000], 10),
]


def secondary(as_reference, frequency_known=True):
    def make():
        sync = SecondaryClockSynchronizer(as_reference=as_reference)
        if frequency_known:
            sync.set_expected_clock_frequency_hz(RATE_HZ)
        return sync

    return make


def offset_rate():
    sync = OffsetRateSynchronizer()
    sync.set_expected_clock_frequency_hz(RATE_HZ)
    return sync


ALGORITHMS = {
    "arrival": None,
    "reference": secondary(as_reference=True),
    "reference, fixed": secondary(as_reference=False),
    "offset-rate": offset_rate,
}


def run(make, recording):
    """Return the times given out, and the standard errors reported (NaN where there are none)."""
    uncertainty = np.full(len(recording.truth), np.nan)
    if make is None:
        return recording.arrival, uncertainty
    sync = make()
    assert sync.start()
    times = np.empty(len(recording.truth))
    has_uncertainty = hasattr(sync, "uncertainty_usec")
    pairs = zip(recording.arrival.tolist(), recording.device.tolist(), strict=True)
    for position, (arrival, device) in enumerate(pairs):
        times[position] = sync.process_timestamp(arrival, device)
        if has_uncertainty:
            uncertainty[position] = sync.uncertainty_usec
    sync.stop()
    assert (np.diff(times) >= 0).all(), "a time stepped back"
    return times, uncertainty


def study_pairs(minutes, plots):
    header = f"| {'scenario':30} | {'algorithm':18} | median | p95 | p99 | worst | within 2 s.e. |"
    print(f"\nSamples at {RATE_HZ:g} Hz for {minutes:g} min; |error| in µs\n\n{header}")
    print("|---|---|---:|---:|---:|---:|---:|")
    for seed, scenario in enumerate(SCENARIOS):
        recording = scenario.simulate(minutes, seed)
        settled = recording.truth > SETTLED_S * 1e6
        mean_latency = LATENCY_USEC
        for name, make in ALGORITHMS.items():
            times, uncertainty = run(make, recording)
            error = (times - recording.truth - mean_latency)[settled]
            covered = np.abs(error) <= 2 * uncertainty[settled]
            shown = f"{100 * covered.mean():.0f} %" if name == "offset-rate" else "–"
            print_row(scenario.name, name, error, shown)
            plots.setdefault(scenario.name, {})[name] = (recording.truth[settled], error)


def print_row(scenario, name, error, *more):
    ranks = np.percentile(np.abs(error), [50, 95, 99, 100])
    cells = " | ".join([*(f"{rank:,.0f}" for rank in ranks), *more])
    print(f"| {scenario:30} | {name:18} | {cells} |", flush=True)


def study_counter(minutes):
    """Blocks of 50 samples at 1 kHz, whose index is the only device clock; error of its time."""
    frequency, block = 1000.0, 50
    print(f"\nCounted samples at 1 kHz in blocks of 50 for {minutes:g} min; |error| in µs\n")
    print(f"| {'scenario':30} | {'algorithm':18} | median | p95 | p99 | worst |")
    print("|---|---|---:|---:|---:|---:|")
    for seed, drift in enumerate((0.0, 200.0, -200.0)):
        rng = np.random.default_rng(seed)
        count = round(minutes * 60 * frequency / block)
        last = np.arange(1, count + 1) * block - 1
        truth = (last + 1) * (1e6 / frequency) / (1 + drift * 1e-6)
        arrival = np.rint(np.maximum.accumulate(truth + LATENCY_USEC + normal(rng, truth)))
        settled = truth > SETTLED_S * 1e6
        results = {"index / f": (last + 1) * (1e6 / frequency), "arrival": arrival - LATENCY_USEC}
        for name, as_reference in (("reference", True), ("reference, fixed", False)):
            sync = FreqCounterSynchronizer(frequency, as_reference=as_reference)
            assert sync.start()
            indices = [
                sync.process_block(int(a), range(x - block + 1, x + 1))[-1]
                for a, x in zip(arrival.tolist(), last.tolist(), strict=True)
            ]
            results[name] = (np.array(indices) + 1) * (1e6 / frequency)
        sync = OffsetRateSynchronizer()
        assert sync.start()
        device = np.rint((last + 1) * (1e6 / frequency)).tolist()
        given = [
            sync.process_timestamp(a, d) for a, d in zip(arrival.tolist(), device, strict=True)
        ]
        results["offset-rate"] = np.array(given) - LATENCY_USEC
        for name, times in results.items():
            print_row(f"{drift:+.0f} ppm, normal", name, (times - truth)[settled])


def plot(path: Path, plots) -> None:
    """Draw |error| over time, logarithmic from 1 µs to 1 s, a panel for each scenario."""
    try:
        import cv2
    except ImportError:
        print("\nno OpenCV: nothing drawn")
        return
    colours = [(170, 170, 170), (60, 60, 220), (40, 150, 240), (120, 150, 20)]  # BGR
    width, height, margin, columns = 520, 250, 46, 3
    rows = math.ceil(len(plots) / columns)
    image = np.full((rows * height + 30, columns * width, 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX

    def text(words, x, y, colour=(40, 40, 40)):
        ascii_words = words.replace("−", "-").replace("±", "+/-")
        cv2.putText(image, ascii_words, (x, y), font, 0.42, colour, 1, cv2.LINE_AA)

    for number, (title, lines) in enumerate(plots.items()):
        left, top = number % columns * width + margin, number // columns * height + 26
        w, h = width - margin - 12, height - 50
        text(title, left, top - 8)
        for decade, label in enumerate(["1 us", "10", "100", "1 ms", "10", "100", "1 s"]):
            y = top + h - round(decade / 6 * h)
            cv2.line(image, (left, y), (left + w, y), (230, 230, 230), 1)
            text(label, left - 42, y + 4)
        for colour, (_, error) in zip(colours, lines.values(), strict=True):
            bins = np.array_split(np.abs(error), w)
            p95 = np.log10(np.clip([np.percentile(part, 95) for part in bins], 1, 1e6)) / 6
            points = np.stack([left + np.arange(w), top + h - np.rint(p95 * h)], 1)
            cv2.polylines(image, [points.astype(np.int32)], False, colour, 1, cv2.LINE_AA)
        text(f"0 .. {lines['arrival'][0][-1] / 6e7:.0f} min", left + w - 90, top + h + 16)
    x = margin
    for colour, name in zip(colours, ALGORITHMS, strict=True):
        text(name, x, image.shape[0] - 10, colour)
        x += 180
    text("95 % of |errors| within, over time", x, image.shape[0] - 10)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    print(f"\n{path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 minutes instead of 2 hours each")
    parser.add_argument("--plot", type=Path, help="PNG file to draw the errors into")
    options = parser.parse_args()
    minutes = 12.0 if options.quick else 120.0
    began = time.perf_counter()
    plots: dict = {}
    study_pairs(minutes, plots)
    study_counter(minutes)
    if options.plot:
        plot(options.plot, plots)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
