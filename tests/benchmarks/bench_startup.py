"""Start of a ten-module bench: from `mlink run` to the first data, and to data everywhere.

The bench is a source, eight scripts that pass readings on (a chain of four, and four beside it),
and a sink; no hardware. Each script prints CLOCK_MONOTONIC when it sees its first reading. The
floors are what any program of ten Python processes with the same imports would pay.
Run: python -m tests.benchmarks.bench_startup
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.harness import interleaved
from tests.benchmarks.table import Table, arguments, median, publish

SOURCE = """
import time
import syntalos_mlink as syl

out = syl.get_output_port("out")

def run():
    reading = syl.LineReading()
    while syl.is_running():
        reading.value += 1
        reading.time_usec = time.monotonic_ns() // 1000
        out.submit(reading)
        syl.wait(1)
"""

RELAY = """
import time
import syntalos_mlink as syl

out = syl.get_output_port("out")

def first(reading):
    port.on_data = out.submit if out else lambda reading: None
    syl.println(f"first {time.monotonic_ns()}")
    port.on_data(reading)

port = syl.get_input_port("in")
port.on_data = first
"""

RELAYS = {  # name: source
    "chain1": "source",
    "chain2": "chain1",
    "chain3": "chain2",
    "chain4": "chain3",
    "fan1": "source",
    "fan2": "source",
    "fan3": "source",
    "fan4": "source",
    "sink": "chain4",
}
MODULES = 1 + len(RELAYS)
FIRST = re.compile(r"first (\d+)")


def write_bench(folder: Path) -> Path:
    """Write the bench and its scripts."""
    port_in = 'ports_in = [{ id = "in", data_type = "LineReading" }]'
    port_out = 'ports_out = [{ id = "out", data_type = "LineReading" }]'
    lines = ['[bench]\nname = "ten-modules"', "[modules.source]", 'type = "pyscript"']
    lines += ['script = "source.py"', port_out]
    for name, source in RELAYS.items():
        lines += [f"[modules.{name}]", 'type = "pyscript"', 'script = "relay.py"', port_in]
        lines += [port_out, f'inputs = {{ in = "{source}.out" }}']
    path = folder / "bench.toml"
    path.write_text("\n".join(lines) + "\n")
    (folder / "source.py").write_text(SOURCE)
    (folder / "relay.py").write_text(RELAY)
    return path


def start_mlink(command: list[str]) -> tuple[float, float]:
    """Return seconds from the launch to the first data anywhere and to data everywhere."""
    with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
        bench = write_bench(Path(folder))
        began = time.monotonic_ns()
        done = subprocess.run(
            [*command, "run", str(bench), "--for", "0.5", "--no-record", "--plain"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            check=False,
        )
        text = done.stdout + done.stderr
        firsts = [(int(found) - began) / 1e9 for found in FIRST.findall(text)]
        if done.returncode or len(firsts) != len(RELAYS):
            raise RuntimeError(f"the bench did not run (exit code {done.returncode}):\n{text}")
        return min(firsts), max(firsts)


def run_python(code: str) -> float:
    """Return seconds for a fresh interpreter to run this and end."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return time.monotonic() - began


def ten_in_turn(code: str) -> float:
    """Return seconds until ten interpreters, started one after another, have each run this."""
    return sum(run_python(code) for _ in range(MODULES))


def ten_at_once(code: str) -> float:
    """Return seconds until ten interpreters, all started at once, have each run this."""
    began = time.monotonic()
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(MODULES)]
    for process in processes:
        process.wait(60)
    return time.monotonic() - began


WORKER_IMPORTS = "import numpy, mlink.worker.life, mlink.modules.script.pyscript, syntalos_mlink"

FLOORS = {
    'python -c "import numpy"': lambda: run_python("import numpy"),
    "ten interpreters in turn, a worker's imports": lambda: ten_in_turn(WORKER_IMPORTS),
    "ten interpreters at once, a worker's imports": lambda: ten_at_once(WORKER_IMPORTS),
}
OURS = "mlink run"


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=0.5, rounds=5).parse_args()
    command = [sys.executable, "-m", "mlink.cli"]
    script = Path(sys.executable).with_name("mlink")
    if script.exists():
        command = [str(script)]
    run_python(WORKER_IMPORTS)  # bytecode and disk caches are warm for everybody

    def measure(name: str) -> tuple[float, float]:
        if name == OURS:
            return start_mlink(command)
        taken = FLOORS[name]()
        return taken, taken

    found = interleaved([OURS, *FLOORS], options.rounds, measure)
    table = Table(
        f"(d) start of a bench of {MODULES} modules, median of {options.rounds}",
        ["first data s", "all have data s"],
    )
    first = {name: median([low for low, _ in rounds]) for name, rounds in found.items()}
    everywhere = {name: median([high for _, high in rounds]) for name, rounds in found.items()}
    in_turn = list(FLOORS)[1]
    for name in found:
        mine = name == OURS
        table.add(
            name,
            f"{first[name]:.2f}",
            f"{everywhere[name]:.2f}" if mine else "",
            ratio=first[name] / first[OURS] if not mine else first[OURS] / first[in_turn],
            target="≤ ten interpreters in turn" if mine else "",
            ok=first[OURS] <= first[in_turn] if mine else None,
            first_data_s=first[name],
            all_have_data_s=everywhere[name],
        )
    table.notes.append("ratio: mlink to ten interpreters in turn; each floor to mlink")
    publish([table], options.json)


if __name__ == "__main__":
    main()
