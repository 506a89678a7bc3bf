"""What a view costs a run: latency of the loop and losses, without a page and with several kinds.

Run alone on the machine: python -m tests.benchmarks.bench_view [--seconds 20] [--rounds 3]
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mlink import recording
from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import RunResult
from mlink.view.run.link import ViewLink, with_view
from mlink.view.server import Address
from tests.benchmarks.harness import Silent
from tests.benchmarks.table import Table, arguments, median, percentile, publish

LIMIT = 1.1
SLOW_BYTES_PER_S = 125_000
BENCH = """
[devices]
uno = "virtual:uno"
one = "virtual:scene"
two = "virtual:scene"

[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.ctl" }

[modules.finger]
type = "virtual-button"
device = "uno"
line = 7
presses_hz = 5
answer_line = 8

[modules.loop]
type = "pyscript"
script = "loop.py"
inputs = { readings = "board.fmdata", frames = "cam1.video" }
ports_in = [
    { id = "readings", data_type = "LineReading" }, { id = "frames", data_type = "Frame" },
]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]

[modules.cam1]
type = "camera-generic"
device = "one"
framerate = 60

[modules.cam2]
type = "camera-generic"
device = "two"
framerate = 60

[modules.video]
type = "videorecorder"
inputs = { frames-in = "cam2.video" }

[modules.latencies]
type = "table"
inputs = { rows = "finger.latencies" }
"""
SCRIPT = """
import syntalos_mlink as syl
ctl = syl.get_output_port("ctl")
button, led = syl.HwInputLine(ctl, 7), syl.HwOutputLine(ctl, 8)
def on_reading(reading):
    if reading is not None and reading.line_id == 7:
        led.set_value(not reading.value)
def prepare():
    syl.get_input_port("readings").on_data = on_reading
    syl.get_input_port("frames").on_data = lambda frame: None
def start():
    button.send_mode()
    led.send_mode()
"""


def _connected(url: str) -> ClientConnection:
    parts = urlsplit(url)
    http = HTTPConnection(parts.netloc, timeout=30)
    http.request("GET", f"/?{parts.query}")
    cookie = (http.getresponse().getheader("Set-Cookie") or "").partition(";")[0]
    http.close()
    return connect(
        f"ws://{parts.netloc}/live/1", origin=f"http://{parts.netloc}",  # type: ignore[arg-type]
        additional_headers={"Cookie": cookie}, max_size=None, open_timeout=30,
        ping_interval=None,  # one of the pages does not read
    )  # fmt: skip


def watch(url: str, ages_usec: list[int], bytes_per_s: float = 0) -> None:
    """Be a page with both pictures, which reads at most so many bytes per second."""
    with suppress(ConnectionClosed, OSError), _connected(url) as page:
        page.send(json.dumps({"kind": "watch", "pictures": {"cam1.video": 640, "cam2.video": 640}}))
        while True:
            data = page.recv()
            if bytes_per_s:
                time.sleep(len(data) / bytes_per_s)
            if isinstance(data, bytes):
                head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
                ages_usec.append(head["sent_usec"] - head["time_usec"])
                page.send(json.dumps({"kind": "shown", "stream": head["stream"]}))


def deaf(url: str, _ages: list[int]) -> None:
    """Be a page that stops reading."""
    with suppress(ConnectionClosed, OSError), _connected(url) as page:
        page.send(json.dumps({"kind": "watch", "pictures": {"cam1.video": 640}}))
        page.recv()
        time.sleep(3600)


Page = Callable[[str, list[int]], None]
PAGES: dict[str, list[Page]] = {
    "without a view": [],
    "a view, no page": [],
    "one page, both pictures": [watch],
    "one on 1 Mbit/s": [lambda url, ages: watch(url, ages, SLOW_BYTES_PER_S)],
    "one that stops reading": [deaf],
    "ten pages": [watch] * 10,
}


def run(folder: Path, seconds: float, name: str) -> tuple[RunResult, list[float], list[int]]:
    """Return the result of a run, its latencies in µs, and the ages of the pages' pictures."""
    (folder / "bench.toml").write_text(BENCH)
    (folder / "loop.py").write_text(SCRIPT)
    bench = load_bench(folder)
    options = RunOptions(duration_s=seconds, out_dir=folder / "out", encode=False)
    ages: list[int] = []
    if name == "without a view":
        result = Engine(bench, options, Silent()).run()
    else:
        with ViewLink(bench, Address(), Silent()) as link:
            for page in PAGES[name]:
                threading.Thread(target=page, args=(link.url, ages), daemon=True).start()
            result = Engine(with_view(bench, link), options, link).run()
            link.conclude(result)
    assert result.recording_dir is not None, result.failures
    with recording.open(result.recording_dir) as found:
        rows = found["finger-latencies"].rows
        return result, [float(row[-1]) for row in rows], ages


def main() -> int:
    options = arguments(__doc__ or "", seconds=20.0, rounds=3).parse_args()
    table = Table(
        f"The loop beside a view: {options.rounds} × {options.seconds:g} s each",
        ["presses", "p50 µs", "p99 µs", "recorder lost", "script lost", "picture made after ms"],
    )
    latencies: dict[str, list[float]] = {name: [] for name in PAGES}
    ages: dict[str, list[int]] = {name: [] for name in PAGES}
    lost: dict[str, dict[str, int]] = {name: {"video": 0, "loop": 0} for name in PAGES}
    for _ in range(options.rounds):
        for name in PAGES:
            with tempfile.TemporaryDirectory(prefix="mlink-bench-") as folder:
                result, found, of_pages = run(Path(folder), options.seconds, name)
            latencies[name] += found
            ages[name] += of_pages
            for stream in result.streams:
                for each in stream.subscriptions:
                    if each.module in lost[name]:
                        lost[name][each.module] += each.lost
    base = percentile(latencies["without a view"], 0.99)
    for name, found in latencies.items():
        p99 = percentile(found, 0.99)
        good = p99 <= LIMIT * base and not any(lost[name].values())
        table.add(
            name, str(len(found)), f"{median(found):.0f}", f"{p99:.0f}",
            str(lost[name]["video"]), str(lost[name]["loop"]),
            f"{median(ages[name]) / 1000:.1f}" if ages[name] else "",
            ratio=p99 / base, target=f"≤ {LIMIT:g} ×, nothing lost",
            ok=good if name != "without a view" else None, p99_usec=p99,
        )  # fmt: skip
    table.notes.append("ratio: p99 to that without a view, in the same run of this benchmark")
    publish([table], options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
