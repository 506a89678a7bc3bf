"""What one script takes: readings, table rows and frames per second, delayed calls, import time.

A source script sends as fast as it is given credit: the last script in line acknowledges what it
has seen over a feedback stream, so that queues never overflow and the rate found is the highest
that is sustained. Every item is numbered, and the counts of all ends must agree.
Run: python -m tests.benchmarks.bench_script [--seconds 60]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from mlink.engine.status import RunResult
from tests.benchmarks.table import Table, arguments, median, percentile, publish
from tests.support.bench_runner import BenchRunner

READINGS_TARGET = 20_000
IMPORT_TARGET_S = 0.25

BENCH = Template("""
[bench]
name = "script-speed"
[modules.source]
type = "pyscript"
script = "source.py"
ports_in = [{ id = "seen", data_type = "LineReading" }]
ports_out = [{ id = "out", data_type = "$type" }]
inputs = { seen = "$last.seen" }
[modules.script]
type = "pyscript"
script = "script.py"
ports_in = [{ id = "in", data_type = "$type" }]
ports_out = [{ id = "out", data_type = "$type" }, { id = "seen", data_type = "LineReading" }]
inputs = { in = "source.out" }
""")

SINK = Template("""
[modules.sink]
type = "pyscript"
script = "sink.py"
ports_in = [{ id = "in", data_type = "$type" }]
ports_out = [{ id = "seen", data_type = "LineReading" }]
inputs = { in = "script.out" }
""")

SOURCE = Template("""
import numpy as np
import syntalos_mlink as syl

out = syl.get_output_port("out")
seen = 0

def on_seen(reading):
    global seen
    seen = reading.value

syl.get_input_port("seen").on_data = on_seen
$make

def run():
    sent = 0
    while syl.is_running():
        if sent >= seen + $window:
            syl.await_data(100_000)
            continue
        for _ in range($burst):
            $send
            sent += 1
""")

FORWARD = """
import syntalos_mlink as syl

submit = syl.get_output_port("out").submit

def on_data(item):
    submit(item)

syl.get_input_port("in").on_data = on_data
"""

LAST = Template("""
import json, time
import syntalos_mlink as syl

ack = syl.LineReading()
acknowledge = syl.get_output_port("seen").submit
count, missed, began, ended = 0, 0, 0.0, 0.0

def on_data(item):
    global count, missed, began, ended
    missed += $number != count
    $use
    count += 1
    if count % $burst == 0:
        ended = time.monotonic()
        began = began or ended
        ack.value = count
        acknowledge(ack)

syl.get_input_port("in").on_data = on_data

def stop():
    rate = (count // $burst - 1) * $burst / (ended - began) if ended > began else 0.0
    syl.println(json.dumps({"count": count, "missed": missed, "rate": rate}))
""")

DELAYED = """
import json, time
import syntalos_mlink as syl

errors = []
if port := syl.get_input_port("in"):
    port.on_data = lambda reading: None

def call(due, delay):
    errors.append((time.monotonic_ns() - due) / 1e3)
    again(delay % 17 + 1)

def again(delay):
    due = time.monotonic_ns() + delay * 1_000_000
    syl.schedule_delayed_call(delay, lambda: call(due, delay))

def start():
    again(1)

def stop():
    syl.println(json.dumps(errors))
"""

DELAYED_BENCH = """
[bench]
name = "delayed-calls"
[modules.script]
type = "pyscript"
script = "script.py"
"""

DELAYED_BUSY_BENCH = (
    DELAYED_BENCH
    + """
ports_in = [{ id = "in", data_type = "LineReading" }]
inputs = { in = "source.out" }
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "out", data_type = "LineReading" }]
"""
)

PACED_SOURCE = """
import time
import syntalos_mlink as syl

out = syl.get_output_port("out")

def run():
    due = time.monotonic()
    while syl.is_running():
        due += 0.00137
        time.sleep(max(0.0, due - time.monotonic()))
        out.submit(syl.LineReading())
"""


def run_bench(bench: str, seconds: float, **scripts: str) -> tuple[RunResult, dict[str, Any]]:
    """Run a bench; return its result and what each module printed last, from JSON."""
    with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
        runner = BenchRunner(Path(folder)).write(bench, **scripts)
        result = runner.run(seconds, record=False)
        if not result.success:
            raise RuntimeError(f"{result.failures}\n{runner.watcher.log_text()}")
        return result, {name: json.loads(text) for name, text in runner.watcher.printed}


def through_script(
    data_type: str,
    make: str,
    send: str,
    *,
    number: str,
    use: str = "pass",
    forward: bool = True,
    window: int,
    burst: int,
    seconds: float,
) -> float:
    """Return the items per second that one script sustains; RuntimeError when any is lost."""
    names = {"type": data_type, "last": "sink" if forward else "script"}
    last = LAST.substitute(number=number, use=use, burst=burst)
    result, printed = run_bench(
        BENCH.substitute(names) + (SINK.substitute(names) if forward else ""),
        seconds,
        source=SOURCE.substitute(make=make, send=send, window=window, burst=burst),
        script=FORWARD if forward else last,
        sink=last,
    )
    found = printed[names["last"]]
    sent = next(stream.sent for stream in result.streams if stream.name == "source.out")
    lost = sum(stream.lost for stream in result.streams)
    if lost or found["missed"] or found["count"] != sent:
        raise RuntimeError(f"items were lost: {sent} sent, {found}, {lost} counted as lost")
    return float(found["rate"])


def readings(seconds: float) -> float:
    """Readings per second, in → on_data → submit → out."""
    return through_script(
        "LineReading",
        "item = syl.LineReading()",
        "item.value = sent; out.submit(item)",
        number="item.value",
        window=2048,
        burst=256,
        seconds=seconds,
    )


def rows(seconds: float) -> float:
    """Table rows of four cells per second."""
    return through_script(
        "TableRow",
        "",
        'out.submit([sent, "lever", "pressed", 12.5])',
        number="int(item[0])",
        window=2048,
        burst=256,
        seconds=seconds,
    )


def frames(width: int, height: int, use: str, *, forward: bool, seconds: float) -> float:
    """Frames per second of width × height × 3 bytes."""
    return through_script(
        "Frame",
        f"item = syl.Frame()\nitem.mat = np.full(({height}, {width}, 3), 7, np.uint8)\n"
        f'out.set_metadata_value_size("size", [{width}, {height}])',
        "item.index = sent; out.submit(item)",
        number="item.index",
        use=use,
        forward=forward,
        window=6,
        burst=2,
        seconds=seconds,
    )


READ_IN_PLACE = "assert int(item.view[::8, ::8, 0].sum()) == 7 * item.view[::8, ::8, 0].size"
COPY = "item.mat[0, 0, 0] = 1"
SIZES = {"640×480×3": (640, 480), "1920×1080×3": (1920, 1080)}


def rate_table(options: Any) -> Table:
    """Measure all rates."""
    table = Table(
        f"through one script, sustained {options.rounds} × {options.seconds:g} s, nothing lost",
        ["per second", "µs each"],
    )

    def add(name: str, measure: Callable[[], float], at_least: float | None = None) -> None:
        rate = median([measure() for _ in range(options.rounds)])
        table.add(
            name,
            f"{rate:,.0f}",
            f"{1e6 / rate:,.1f}",
            ratio=rate / at_least if at_least else None,
            target=f"≥ {at_least:,.0f}/s" if at_least else "",
            ok=rate >= at_least if at_least else None,
            per_s=rate,
        )

    seconds = options.seconds
    add("readings, forwarded", lambda: readings(seconds), READINGS_TARGET)
    add("table rows, forwarded", lambda: rows(seconds))
    for size, (width, height) in SIZES.items():
        for what, use, forward in (
            ("read in place (view)", READ_IN_PLACE, False),
            ("copied (mat)", COPY, False),
            ("forwarded", "pass", True),
        ):
            add(
                f"frames {size}, {what}",
                lambda w=width, h=height, u=use, f=forward: frames(
                    w, h, u, forward=f, seconds=seconds
                ),
            )
    return table


def time_table(options: Any) -> Table:
    """Measure delayed calls and the import."""
    table = Table("times of a script", ["p50", "p99"])
    for what, bench in (("", DELAYED_BENCH), (", 730 readings/s", DELAYED_BUSY_BENCH)):
        _, printed = run_bench(bench, options.seconds, script=DELAYED, source=PACED_SOURCE)
        late = printed["script"]
        p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
        table.add(
            f"delayed calls of 1 to 17 ms: late by{what}",
            f"{p50:.0f} µs",
            f"{p99:.0f} µs",
            p50_usec=p50,
            p99_usec=p99,
        )
    imports = sorted(import_s() for _ in range(5 * options.rounds))
    typical = median(imports)
    table.add(
        "import syntalos_mlink, fresh interpreter",
        f"{typical * 1e3:.0f} ms",
        f"{imports[-1] * 1e3:.0f} ms",
        ratio=typical / IMPORT_TARGET_S,
        target=f"≤ {IMPORT_TARGET_S * 1e3:.0f} ms",
        ok=typical <= IMPORT_TARGET_S,
        p50_s=typical,
    )
    return table


def import_s() -> float:
    """Return seconds that the import takes in a fresh interpreter."""
    code = (
        "import time; began = time.perf_counter(); import syntalos_mlink; "
        "print(time.perf_counter() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=5.0, rounds=1).parse_args()
    publish([rate_table(options), time_table(options)], options.json)


if __name__ == "__main__":
    main()
