"""What a script starts has none of the rights to processors that its own process was granted."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.bench_runner import ROWS_BENCH, BenchRunner

SOURCE = """
import json, multiprocessing, os, subprocess, sys
from pathlib import Path
import syntalos_mlink as syl

found = {}
LOOK = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"

def rights():
    return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)

def look(where):
    found[f"own, {where}"] = rights()
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True)
    found[f"subprocess, {where}"] = [int(word) for word in done.stdout.split()]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, json.dumps(rights()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    found[f"os.fork, {where}"] = json.loads(os.read(read, 100))
    for kind in ("fork", "spawn"):
        context = multiprocessing.get_context(kind)
        with context.Pool(1) as pool:
            found[f"multiprocessing, {kind}, {where}"] = [
                pool.apply(os.getpriority, (os.PRIO_PROCESS, 0)),
                pool.apply(os.sched_getscheduler, (0,)),
            ]

def prepare():
    syl.get_output_port("rows").set_metadata_value("table_header", ["name"])
    look("prepare")
    return True

def run():
    look("run")
    Path("found.part").write_text(json.dumps(found))
    os.rename("found.part", "found.json")
    syl.get_output_port("rows").submit(["done"])

"""


@pytest.mark.timeout(300)
def test_no_process_that_a_script_starts_has_a_lower_nice_value(
    bench: BenchRunner,
) -> None:
    found_file = bench.folder / "found.json"
    bench.write(ROWS_BENCH, source=SOURCE).when_running(
        0.1, lambda: bench.stop_when(found_file.exists, limit_s=100)
    )
    result = bench.run(None)
    assert (bench.folder / "found.json").exists(), bench.watcher.log_text()
    assert result.success, bench.watcher.log_text()
    found = json.loads((bench.folder / "found.json").read_text())
    own = {name: rights for name, rights in found.items() if name.startswith("own")}
    others = {name: tuple(rights) for name, rights in found.items() if name not in own}
    if os.geteuid() == 0:
        assert own["own, prepare"][0] < 0
    assert len(others) == 8
    nice = max(os.getpriority(os.PRIO_PROCESS, 0), 0)
    # Linux gives the children of a real-time thread nice 0, whatever it was started with.
    assert {each: rights for each, rights in others.items() if not 0 <= rights[0] <= nice} == {}
    assert {policy for _, policy in others.values()} == {os.SCHED_OTHER}
