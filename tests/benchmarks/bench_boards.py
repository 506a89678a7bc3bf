"""Boards in a run: from the line to a script's callback, and analog sampling without loss.

The callback's process also runs two busy Python threads, beside a bare pyFirmata2 in such a
process. Both boards are the same program on a pseudo-terminal, which notes when it wrote.
Run: python tests/benchmarks/bench_boards.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import threading
import time
import tty
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mlink.bench import load_bench  # noqa: E402 - the project's folder comes first
from mlink.engine.options import RunOptions  # noqa: E402
from mlink.engine.run import Engine  # noqa: E402
from mlink.engine.status import RunResult, RunStatus  # noqa: E402
from tests.benchmarks.table import Table, arguments, percentile, publish  # noqa: E402

LINE = 2
PAUSE_S = (0.008, 0.018)
"""Between edges: random, so that they do not fall into step with anybody's timer."""
TARGET_P99_MSEC = 2.0

BUSY = """
import threading

def burn():
    number = 0
    while not over.is_set():
        number = (number * 1103515245 + 12345) % 2147483648

over = threading.Event()
for _ in range({busy}):
    threading.Thread(target=burn, daemon=True).start()
"""

SCRIPT = """
import json
import sys
import time
import syntalos_mlink as syl
{switch}
stamps = []

def on_reading(reading):
    stamps.append(time.monotonic_ns())

syl.get_input_port("in").on_data = on_reading

def start():
    exec({busy!r}, globals())
    syl.HwInputLine(syl.get_output_port("ctl"), {line}).send_mode()

def stop():
    over.set()
    with open({out!r}, "w") as file:
        json.dump(stamps, file)
"""

BENCH = """
[bench]
name = "boards"
[devices]
uno = "{device}"
[modules.board]
type = "firmata-io"
device = "uno"
{settings}
inputs = {{ fmctl = "loop.ctl" }}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{{ id = "in", data_type = "LineReading" }}]
ports_out = [{{ id = "ctl", data_type = "LineCommand" }}]
inputs = {{ in = {{ from = "board.fmdata", queue = 8192 }} }}
"""

LIBRARY = """
import json, sys, time, warnings
import pyfirmata2
warnings.simplefilter("ignore")
board = pyfirmata2.Board(sys.argv[1], layout=pyfirmata2.BOARDS["arduino"])
stamps = []
pin = board.digital[{line}]
pin.mode = pyfirmata2.INPUT
pin.register_callback(lambda value: stamps.append(time.monotonic_ns()))
exec({busy!r})
board.samplingOn()
time.sleep({seconds})
over.set()
with open({out!r}, "w") as file:
    json.dump(stamps, file)
import os
os._exit(0)
"""

ANALOG = """
import json
import syntalos_mlink as syl

times = {{}}

def on_reading(reading):
    times.setdefault(reading.line_id, []).append(reading.time_usec)

syl.get_input_port("in").on_data = on_reading

def start():
    for line in {lines}:
        syl.HwInputLine(syl.get_output_port("ctl"), line).send_mode()

def stop():
    with open({out!r}, "w") as file:
        json.dump(times, file)
"""


def serve_board(link: str, out: str) -> None:
    """Be a board that toggles its line at random times, and note when (a process of its own)."""
    from mlink.realtime import request_priority
    from mlink_hil.sim.boards.protocol_firmata import FirmataFirmware

    request_priority(10)  # a board waits for nobody: its stamps are those of its bytes

    class Pins:
        button = False

        def set_output(self, pin: int, level: bool) -> None:
            pass

        def set_input(self, pin: int, *, pull_up: bool) -> None:
            pass

        def level(self, pin: int) -> bool:
            return pin == LINE and self.button

        def volts(self, pin: int) -> float:
            return 0.0

    master, slave = os.openpty()
    tty.setraw(slave)
    Path(link).symlink_to(os.ttyname(slave))
    pins, stamps = Pins(), []
    firmware = FirmataFirmware(pins, lambda data: os.write(master, data))
    random.seed(1)
    reports = False
    toggle_at = 0.0
    print("ready", flush=True)
    while True:
        wait = max(0.0, toggle_at - time.monotonic()) if reports else None
        readable = select.select([master, sys.stdin], [], [], wait)[0]
        if sys.stdin in readable:
            break
        if master in readable:
            for byte in os.read(master, 4096):
                firmware.receive(byte)
                if not reports and byte == 1 and firmware._port_reported[0]:
                    reports, toggle_at = True, time.monotonic() + 1.0
        if reports and time.monotonic() >= toggle_at:
            toggle_at = time.monotonic() + random.uniform(*PAUSE_S)
            pins.button = not pins.button
            stamps.append(time.monotonic_ns())
            firmware.poll()
        else:
            firmware.poll()
    Path(out).write_text(json.dumps(stamps))


class BoardProcess:
    """The board's program; `stamps` after its end are the times of its edges, in ns."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "tty"
        self._out = folder / "sent.json"
        command = [sys.executable, __file__, "--serve", str(self.link), str(self._out)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> list[int]:
        self._process.communicate("end\n", timeout=10)
        stamps: list[int] = json.loads(self._out.read_text())
        return stamps


class Quiet:
    """An observer of a run that prints warnings only."""

    def on_status(self, status: RunStatus) -> None:
        pass

    def on_log(self, module: str, level: int, message: str) -> None:
        if level >= 30:
            print(f"  {module}: {message}")

    def on_output(self, module: str, text: str) -> None:
        print(f"  {module}: {text}")


def run_bench(folder: Path, bench: str, script: str, seconds: float) -> RunResult:
    (folder / "bench.toml").write_text(bench)
    (folder / "loop.py").write_text(script)
    options = RunOptions(duration_s=seconds, record=False)
    result = Engine(load_bench(folder / "bench.toml"), options, Quiet()).run()
    assert result.success, result.failures
    return result


def latencies(sent: list[int], seen: list[int]) -> list[float]:
    """Milliseconds from each edge to its callback; the first callback has the state before."""
    return [(at - was) / 1e6 for was, at in zip(sent, seen[1:], strict=False)]


def mlink_latencies(seconds: float, busy: int, switch: str) -> tuple[list[float], int, int]:
    with tempfile.TemporaryDirectory(prefix="mlink-bench-") as name:
        folder = Path(name)
        board = BoardProcess(folder)
        out = str(folder / "seen.json")
        script = SCRIPT.format(switch=switch, busy=BUSY.format(busy=busy), line=LINE, out=out)
        run_bench(folder, BENCH.format(device=board.link, settings=""), script, seconds + 1)
        sent, seen = board.end(), json.loads(Path(out).read_text())
        return latencies(sent, seen), len(sent), len(seen) - 1


def library_latencies(seconds: float, busy: int) -> tuple[list[float], int, int]:
    with tempfile.TemporaryDirectory(prefix="mlink-bench-") as name:
        folder = Path(name)
        board = BoardProcess(folder)
        out = str(folder / "seen.json")
        script = LIBRARY.format(
            line=LINE, busy=BUSY.format(busy=busy), seconds=seconds + 1, out=out
        )
        subprocess.run([sys.executable, "-c", script, str(board.link)], check=True, cwd=ROOT)
        sent, seen = board.end(), json.loads(Path(out).read_text())
        return latencies(sent, seen), len(sent), len(seen) - 1


def latency_table(seconds: float) -> Table:
    """Edges on the line to callbacks, beside two busy threads in the script's process."""
    table = Table(
        "Line to callback, two busy Python threads in the script's process",
        ["p50 ms", "p99 ms", "max ms", "edges", "callbacks"],
    )
    library, *library_counts = library_latencies(seconds, busy=2)
    peer_p99 = percentile(library, 0.99)
    rows = [
        ("pyFirmata2", library, library_counts),
        ("mlink", *_split(mlink_latencies(seconds, 2, ""))),
        ("mlink, idle script", *_split(mlink_latencies(seconds, 0, ""))),
    ]
    for name, samples, (sent, seen) in rows:
        p99 = percentile(samples, 0.99)
        is_target = name == "mlink"
        table.add(
            name,
            f"{percentile(samples, 0.5):.2f}",
            f"{p99:.2f}",
            f"{max(samples):.2f}",
            str(sent),
            str(seen),
            ratio=None if name == "pyFirmata2" else peer_p99 / p99,
            target=f"p99 < {TARGET_P99_MSEC:g} ms" if is_target else "",
            ok=p99 < TARGET_P99_MSEC if is_target else None,
            p50_msec=percentile(samples, 0.5),
            p99_msec=p99,
        )
    table.notes.append("ratio: pyFirmata2's p99 to ours")
    return table


def _split(measured: tuple[list[float], int, int]) -> tuple[list[float], list[int]]:
    samples, sent, seen = measured
    return samples, [sent, seen]


def analog_table(seconds: float) -> Table:
    """Samples of a virtual Uno at both ends."""
    table = Table(
        f"Analog sampling of a virtual Uno for {seconds:g} s",
        ["expected", "sent", "received", "lost", "longest gap ms"],
    )
    every = tuple(range(14, 20))
    for name, device, lines, interval_msec in (
        ("1 line at 1 kHz", "virtual:uno", (14,), 1),
        ("6 lines at 200 Hz", "virtual:uno", every, 5),
        # plain Firmata: no chip that is simulated here takes these intervals
        ("1 line at 1 kHz, plain", "virtual:uno?simulator=protocol", (14,), 1),
        ("6 lines at 200 Hz, plain", "virtual:uno?simulator=protocol", every, 5),
        # the least that Firmata 2.4 takes
        ("6 lines at 100 Hz, 2.4", "virtual:uno?firmware=standard", every, 10),
    ):
        with tempfile.TemporaryDirectory(prefix="mlink-bench-") as folder_name:
            folder = Path(folder_name)
            out = str(folder / "seen.json")
            settings = f"analog_lines = {list(lines)}\nsampling_interval_msec = {interval_msec}"
            bench = BENCH.format(device=device, settings=settings)
            watcher = _BoardWatcher()
            watcher.start()
            result = run_bench(folder, bench, ANALOG.format(lines=lines, out=out), seconds)
            watcher.end()
            times = {int(line): at for line, at in json.loads(Path(out).read_text()).items()}
        received = sum(len(at) for at in times.values())
        # the first sample of each line is sent at once, the others at the common interval
        expected = sum(round((at[-1] - at[1]) / 1000 / interval_msec) + 2 for at in times.values())
        sent = int(result.reports["board"]["readings_sent"])
        lost = sum(stream.lost for stream in result.streams) + watcher.overruns
        lost += int(result.reports["board"]["resync_bytes"])
        steps = [after - at for each in times.values() for at, after in pairwise(each[1:])]
        gap = max(steps, default=0) / 1000
        # a simulated board that was kept from running skips that time, and its samples
        allowed = len(lines) * (1 + watcher.slip_msec / interval_msec)
        nothing_lost = lost == 0 and sent == received and abs(expected - received) <= allowed
        table.add(
            name, str(expected), str(sent), str(received), str(lost), f"{gap:.1f}",
            target="none lost", ok=nothing_lost, received=received, sent=sent, lost=lost,
        )  # fmt: skip
        table.notes.append(
            f"{name}: {watcher.simulator}, {watcher.late_percent:.1f} % late slices,"
            f" {watcher.slip_msec:.0f} ms skipped by the simulation"
        )
    return table


class _BoardWatcher(threading.Thread):
    """Asks the virtual board, while it runs, what it lost and whether it kept real time."""

    def __init__(self) -> None:
        super().__init__(name="board watcher", daemon=True)
        self._over = threading.Event()
        self.overruns = 0
        self.simulator = ""
        self.late_percent = 0.0
        self.slip_msec = 0.0

    def run(self) -> None:
        from mlink.engine.setup.workdir import runs_dir
        from mlink.errors import DeviceError
        from mlink_hil.control.board import VirtualBoard

        while not self._over.wait(0.5):
            for path in runs_dir().glob("*/uno.sock"):
                try:
                    with VirtualBoard(path) as board:
                        stats = board.stats()
                except DeviceError:
                    continue
                self.overruns, self.simulator = stats.overruns, stats.simulator
                self.late_percent = stats.late_percent
                self.slip_msec = stats.slip_usec / 1000

    def end(self) -> None:
        self._over.set()
        self.join()


def main() -> None:
    parser: argparse.ArgumentParser = arguments(__doc__ or "", seconds=5, rounds=1)
    options = parser.parse_args()
    tables = [latency_table(options.seconds), analog_table(options.seconds)]
    publish(tables, options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_board(*sys.argv[2:])
    else:
        main()
