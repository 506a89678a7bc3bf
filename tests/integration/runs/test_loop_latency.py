"""The loop through two modules is not much slower than the least that two processes need for it.

The time of a round depends on the machine and on what else runs there, so it is compared with that
of a bare program: two processes with the same items and priorities that wait at a pipe, decode a
row, and send one back. Its rounds alternate with those of the loop, on the same processor: how long
it takes to wake another one differs by far between machines. The medians of each block give a
ratio, and the best block counts: what other programs do differs between blocks, a slower loop is
slower in all.
"""

from __future__ import annotations

import json

from tests.support.bench_runner import BenchRunner

MOST = 4.0
"""Rounds of the loop may take so many times those of the bare program; 2.5 to 2.9 is usual."""

BENCH = """
[bench]
name = "latency"
[modules.near]
type = "pyscript"
script = "near.py"
ports_in = [{ id = "back", data_type = "TableRow" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
inputs = { back = "far.rows" }
[modules.far]
type = "pyscript"
script = "far.py"
ports_in = [{ id = "rows", data_type = "TableRow" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
inputs = { rows = "near.rows" }
"""
FAR = """
import os
import syntalos_mlink as syl
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
out = syl.get_output_port("rows")
syl.get_input_port("rows").on_data = out.submit
"""
BARE = """
import os, select, sys
import msgspec

decode, encode = msgspec.msgpack.Decoder(list).decode, msgspec.msgpack.Encoder().encode
poll = select.poll()
poll.register(0, select.POLLIN)
while True:
    poll.poll()
    if not (data := os.read(0, 4096)):
        break
    os.write(1, encode(decode(data)))
"""
NEAR = """
import contextlib, json, os, select, statistics, subprocess, sys, time
from pathlib import Path
import msgspec
import syntalos_mlink as syl

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
out = syl.get_output_port("rows")
got = []
syl.get_input_port("back").on_data = got.append
decode, encode = msgspec.msgpack.Decoder(list).decode, msgspec.msgpack.Encoder().encode

def through_the_loop(row):
    got.clear()
    out.submit(row)
    while not got and syl.is_running():
        syl.await_data(1_000_000)

def through_the_bare(program, poll, row):
    os.write(program.stdin.fileno(), encode(row))
    poll.poll()
    decode(os.read(program.stdout.fileno(), 4096))

def timed(round_trip, *arguments):
    begun = time.perf_counter_ns()
    round_trip(*arguments)
    return (time.perf_counter_ns() - begun) / 1e3

def block(program, poll):
    loop, bare = [], []
    for number in range(200):
        row = [number, 1.5, "a row"]
        loop.append(timed(through_the_loop, row))
        bare.append(timed(through_the_bare, program, poll, row))
    return statistics.median(loop), statistics.median(bare)

def run():
    command = [sys.executable, "-c", Path("bare.py").read_text()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        with contextlib.suppress(PermissionError):  # the same priority as this one
            os.setpriority(os.PRIO_PROCESS, program.pid, os.getpriority(os.PRIO_PROCESS, 0))
            os.sched_setscheduler(program.pid, os.sched_getscheduler(0), os.sched_getparam(0))
        poll = select.poll()
        poll.register(program.stdout, select.POLLIN)
        block(program, poll)  # the first one warms up
        found = [block(program, poll) for _ in range(5)]
    Path("found.part").write_text(json.dumps(found))
    os.rename("found.part", "found.json")
    while syl.is_running():
        syl.await_data(100_000)
"""


def test_a_round_of_the_loop_takes_little_longer_than_one_of_a_bare_program(
    bench: BenchRunner,
) -> None:
    bench.write(BENCH, near=NEAR, far=FAR, bare=BARE)
    bench.when_running(0.1, lambda: bench.stop_when((bench.folder / "found.json").exists))
    result = bench.run(None, record=False)
    assert result.success, result.failures
    found = json.loads((bench.folder / "found.json").read_text())
    ratios = [loop / bare for loop, bare in found]
    print("µs of the loop and of the bare program:", found)
    assert min(ratios) < MOST, found
