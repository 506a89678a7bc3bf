"""Stepping through virtual time: moments, edges, a look into chips; nothing of it is recorded."""

from __future__ import annotations

import filecmp
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mlink
from mlink_hil.sim.boards.intel_hex import read_hex
from tests.support import ROOT
from tests.support.boards.elf_files import elf_with_symbols
from tests.support.hil_examples import BENCHES, copy_example, run_pytest

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

LAMP = BENCHES / "dut-firmware/firmware/lamp-good.hex"
SYMBOLS = {"main": (0x80, 94), "stack": (0x8008FC, 4)}


def files_of(folder: Path | None) -> dict[str, Path]:
    assert folder is not None
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def lamp_elf(folder: Path, image: bytes | None = None) -> Path:
    path = folder / "lamp.elf"
    path.write_bytes(elf_with_symbols(image or read_hex(LAMP), SYMBOLS))
    return path


def bench_in_virtual_time() -> mlink.Bench:
    return mlink.load_bench(BENCHES / "dut-firmware", time="virtual")


def test_a_run_that_is_stepped_and_looked_into_records_the_same_bytes(tmp_path: Path) -> None:
    bench = bench_in_virtual_time()
    plain = mlink.run(bench, duration_s=1.2, seed=3, out=tmp_path / "plain")
    edges = []
    with mlink.start(bench, duration_s=1.2, seed=3, out=tmp_path / "stepped", paused=True) as run:
        assert run.pause().time_usec == 0
        for time_usec in (1, 777, 1_000, 33_333, 250_000):
            assert run.run_until(time_usec).time_usec == time_usec
            look(run)
        for which in ("rising", "falling", "any", "any"):
            moment = run.run_until(edge=("lamp", 13, which))
            assert moment.edge is not None
            assert abs(moment.time_usec - moment.edge.time_ns / 1000) <= 1
            registers = run.chip("lamp").registers
            assert bool(registers["PORTB"] & 0x20) is moment.edge.level
            # SBI PORTB, 5 or CBI PORTB, 5 is the instruction before
            before = run.chip("lamp").memory(registers["PC"] - 2, 2, flash=True)
            assert before == (b"\x2d\x9a" if moment.edge.level else b"\x2d\x98")
            edges.append(moment.edge.level)
            look(run)
        run.run_until(edge=("uno", 7, "any"), limit_usec=500_000)  # the lamp's pin 8, a wire later
        run.go_on()
        assert run.wait().stop_reason == "1.2 s are over"
    assert edges[:2] == [True, False]
    first, second = files_of(plain.recording_dir), files_of(run.result.recording_dir)
    assert sorted(first) == sorted(second)
    assert [name for name in first if not filecmp.cmp(first[name], second[name], False)] == []


def look(run: mlink.Run) -> None:
    for name in ("uno", "lamp"):
        chip = run.chip(name)
        registers, memory = chip.registers, chip.memory(0, 0x900)
        assert list(memory[:32]) == [registers[f"R{number}"] for number in range(32)]
        assert memory[0x2B] == registers["PORTD"]
        assert memory[0x5F] == registers["SREG"]
        assert chip.pin(13).output == bool(registers["DDRB"] & 0x20)


def test_symbols_need_the_elf_file_of_the_firmware_that_runs(tmp_path: Path) -> None:
    elf = lamp_elf(tmp_path)
    bench = mlink.load_bench(
        BENCHES / "dut-firmware", time="virtual", set={"virtual.lamp.firmware": str(elf)}
    )
    image = bytearray(read_hex(LAMP))
    image[0xCF] ^= 1
    (tmp_path / "other").mkdir()
    other = lamp_elf(tmp_path / "other", bytes(image))
    with mlink.start(bench, record=False, paused=True) as run:
        run.run_until(300_000)
        lamp = run.chip("lamp")  # its firmware is an ELF file
        assert lamp.symbol("main").data == read_hex(LAMP)[0x80 : 0x80 + 94]
        stack = lamp.symbol("stack")
        assert stack.address == 0x8008FC
        assert stack.data == lamp.memory(0x8FC, 4) == lamp.memory(0x8008FC, 4)
        assert stack.value == int.from_bytes(stack.data, "little")
        for chip, name, words in (
            (
                run.chip("lamp", other),
                "main",
                "1 of 226 bytes differ from its flash, the first at 0xcf",
            ),
            (lamp, "mian", "has no symbol 'mian'\n.*Did you mean 'main'"),
            (run.chip("uno"), "main", "'mlink_firmata-uno.hex' is no ELF file"),
        ):
            with pytest.raises(mlink.DeviceError, match=words):
                chip.symbol(name)


def test_what_cannot_be_stepped_to_or_looked_at_is_refused_in_words() -> None:
    with mlink.start(bench_in_virtual_time(), record=False, duration_s=2, paused=True) as run:
        run.run_until(100_000)
        lamp = run.chip("lamp")
        wrong = [
            (lambda: run.run_until(50_000), mlink.BenchError, "100000 or later"),
            (lambda: run.run_until(1.5), mlink.BenchError, "a whole number of µs"),
            (lambda: run.run_until(), mlink.BenchError, "either a time or an edge"),
            (lambda: run.run_until("1"), mlink.BenchError, "time_usec = '1': a whole number"),
            (lambda: run.run_until(1 << 70), mlink.BenchError, "and at most"),
            (lambda: run.run_until(200_000, limit_usec="1"), mlink.BenchError, "limit_usec = '1'"),
            (lambda: run.run_until(edge=("lamp", True, "any")), mlink.BenchError, "not an edge"),
            (lambda: lamp.registers[7], mlink.BenchError, "registers.7.: a name is needed"),
            (lambda: lamp.registers[[]], mlink.BenchError, "a name is needed"),
            (lambda: lamp.wait_edge(timeout_sec="1"), mlink.BenchError, "timeout_sec='1'"),
            (lambda: lamp.wait_edge(timeout_sec=float("nan")), mlink.BenchError, "finite number"),
            (lambda: lamp.wait_edge(timeout_sec=-1), mlink.BenchError, "0 s or longer"),
            (lambda: lamp.wait_edge("13"), mlink.BenchError, "wait_edge.pin='13'"),
            (lambda: lamp.wait_edge(13, "up"), mlink.BenchError, "True or False"),
            (lambda: run.run_until(edge=("lamp", 13)), mlink.BenchError, "is not an edge"),
            (lambda: run.run_until(edge=("lamp", 13, "up")), mlink.BenchError, "is not an edge"),
            (lambda: run.run_until(edge=("lamp", 20, "any")), mlink.DeviceError, "no pin 20"),
            (lambda: run.run_until(edge=("uno", 1, "any")), mlink.DeviceError, "serial line"),
            (lambda: run.chip("lmp"), mlink.DeviceError, "no simulated chip 'lmp'\n.*'lamp'"),
            (lambda: lamp.registers["PROTB"], mlink.DeviceError, "no register 'PROTB'\n.*'PORTB'"),
            (lambda: lamp.pin(-1), mlink.DeviceError, "no pin -1"),
            (lambda: lamp.memory(0x8FF, 2), mlink.DeviceError, "no 2 bytes at 0x8ff"),
            (lambda: lamp.memory(0x8000, 1, flash=True), mlink.DeviceError, "flash has no 1 bytes"),
            (lambda: run.wait(), mlink.ControlError, "stands still"),
            (lambda: lamp.memory("a", 2), mlink.BenchError, "memory.address='a'.: a whole number"),
            (lambda: lamp.memory(256, None), mlink.BenchError, "length=None"),
            (lambda: lamp.memory(256, 1.5), mlink.BenchError, "length=1.5"),
            (lambda: lamp.memory(1 << 70, 2), mlink.DeviceError, "has no 2 bytes"),
            (lambda: lamp.memory(256, 2, flash="no"), mlink.BenchError, "True or False"),
            (lambda: lamp.pin("13"), mlink.BenchError, "pin='13'"),
            (lambda: lamp.pin(object()), mlink.BenchError, "pin=<object"),
            (lambda: lamp.symbol([]), mlink.BenchError, "a text is needed"),
            (lambda: run.chip([]), mlink.BenchError, "a name and a path"),
            (lambda: run.chip("lamp", 5), mlink.BenchError, "a name and a path"),
            (lambda: run.run_until(edge=("lamp", 13, [])), mlink.BenchError, "is not an edge"),
        ]
        for call, error, words in wrong:
            with pytest.raises(error, match=words) as caught:
                call()
            assert "\n  → " in str(caught.value)
        # an edge that never comes: what was there meanwhile
        words = (
            "no rising edge on lamp.12 within 400000 µs after 100000 µs; meanwhile it had 0 edges, "
            r"now it is low and nothing drives it; other pins with edges: 2 \(\d+\), 8"
        )
        with pytest.raises(mlink.ControlError, match=words):
            run.run_until(edge=("lamp", 12, "rising"), limit_usec=400_000)
        assert run.pause().time_usec == 500_000
        run.go_on()
        with pytest.raises(mlink.ControlError, match="can be looked into while the run stands"):
            lamp.pin(13)
        run.wait()
        for call in (lambda: run.run_until(10_000_000), run.pause, lambda: lamp.pin(13)):
            with pytest.raises(mlink.ControlError, match="the run has ended"):
                call()


def test_a_run_can_pause_where_it_is_and_be_stopped_while_it_stands() -> None:
    with mlink.start(bench_in_virtual_time(), record=False) as run:
        moment = run.pause()
        registers = run.chip("lamp").registers
        assert run.pause() == moment
        assert run.chip("lamp").registers == registers
        later = run.run_until(moment.time_usec + 1_234).time_usec
        assert later == moment.time_usec + 1_234
    assert run.result.success


def test_a_run_ends_while_an_edge_is_waited_for() -> None:
    with mlink.start(bench_in_virtual_time(), record=False, duration_s=0.5, paused=True) as run:
        with pytest.raises(mlink.ControlError, match="the run has ended on the way from 0 µs"):
            run.run_until(edge=("lamp", 12, "rising"))
        assert run.wait().success


def test_real_time_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "x"\n[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
    )
    (tmp_path / "loop.py").write_text("def run():\n    pass\n")
    with pytest.raises(mlink.BenchError, match="paused is for virtual time"):
        mlink.start(tmp_path, record=False, paused=True)
    with mlink.start(tmp_path, record=False) as run:
        for call in (run.pause, run.go_on, lambda: run.run_until(1), lambda: run.chip("uno")):
            with pytest.raises(mlink.BenchError, match="for runs in virtual time"):
                call()
    with mlink.start(tmp_path, record=False, time="virtual", paused=True) as run:
        assert run.run_until(5_000_000).time_usec == 5_000_000
        with pytest.raises(mlink.BenchError, match="no simulated device 'uno'"):
            run.chip("uno")


def test_a_board_without_a_processor_has_pins_and_edges_only(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "virtual:uno?simulator=protocol"\neye = "virtual:scene"\n')
    bench = mlink.load_bench(BENCHES / "led-follows-button", time="virtual", devices=lab)
    with mlink.start(bench, record=False, paused=True) as run:
        pressed = run.run_until(edge=("uno", 7, "falling"))
        lit = run.run_until(edge=("uno", 8, "rising"))
        assert pressed.time_usec < lit.time_usec
        assert run.chip("uno").pin(8).level
        with pytest.raises(mlink.DeviceError, match="'protocol' runs no firmware"):
            _ = run.chip("uno").registers


IN_A_TEST = """
import pytest
from mlink.errors import BenchError, ControlError, DeviceError
from mlink_hil.testing import edge

pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies"))

def test_steps(bench, board):
    start = bench.now().time_usec
    assert bench.run_until(start + 1_500).time_usec == start + 1_500
    assert bench.pause().time_usec == bench.now().time_usec == start + 1_500
    press = board.line(7).drive(False)
    lit = bench.run_until(edge=("uno", 8, "rising"), limit_usec=100_000)
    assert lit.value == 1
    assert lit.time_usec > press.time_usec
    assert bench.now().time_usec - lit.time_usec in (0, 1)  # the instruction may end a µs later
    assert bench.expect(edge(8, rising=True), within_usec=100_000, after=press) == lit
    assert bench.chip("uno").pin(8).level
    assert bench.chip().registers["PORTB"] & 1
    assert len(bench.chip("board").memory(0x100, 16)) == 16
    with pytest.raises(DeviceError, match="is no ELF file"):
        bench.chip().symbol("count")
    with pytest.raises(ControlError, match="no falling edge on uno.8 within 50000 µs"):
        bench.run_until(edge=("uno", 8, "falling"), limit_usec=50_000)
    with pytest.raises(BenchError, match="no board 'unno'"):
        bench.run_until(edge=("unno", 8, "falling"))
    board.line(7).release()
    dark = bench.run_until(edge=("board", 8, "falling"))
    assert dark.since(lit).usec >= 50_000
"""


def test_a_test_steps_through_its_bench(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    (folder / "test_led.py").write_text(IN_A_TEST)
    outcome = run_pytest(folder, "--mlink-time=virtual")
    assert outcome.counts == {"passed": 1}, outcome.text


def test_a_test_in_real_time_is_refused_in_words(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    (folder / "test_led.py").write_text(
        "import pytest\nfrom mlink.errors import BenchError\n"
        'pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies", "cam"))\n'
        "def test_it(bench):\n"
        "    for call in (bench.pause, bench.chip, lambda: bench.run_until(1)):\n"
        '        with pytest.raises(BenchError, match="is for virtual time; .* in real time"):\n'
        "            call()\n"
    )
    outcome = run_pytest(folder, "--mlink-time=real")
    assert outcome.counts == {"passed": 1}, outcome.text


def step(*commands: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlink", "step", str(BENCHES / "dut-firmware"), "--no-record"]
    for each in commands:
        command += ["-c", each]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=280, check=False
    )


def test_the_command_steps_shows_and_names_what_is_wrong(tmp_path: Path) -> None:
    elf = lamp_elf(tmp_path)
    done = step(
        "until 0.2", "for 0.05", "edge lamp.13 rising 2", "pin lamp.13", "registers lamp PC PORTB",
        f"elf lamp {elf}", "symbol lamp stack", "memory lamp 0x8e8 20", "edge lamp.12 any 0.1",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[:2] == ["0.200000 s", "0.250000 s"]
    assert lines[2].endswith(" s: rising edge of pin 13")
    assert lines[3] == "lamp.13: high, driven by the chip"
    assert lines[4].startswith("PC 0x")
    assert lines[4].endswith("PORTB 0x20")
    assert lines[5].startswith("stack: 4 bytes = ")
    assert [line.split()[0] for line in lines[6:]] == ["0x8008fc", "0x08e8", "0x08f8"]
    assert done.returncode == 2
    assert "no edge on lamp.12 within 100000 µs" in done.stderr


def test_the_console_goes_on_after_an_error_to_the_end_of_its_input() -> None:
    done = step(text="fly\nuntil x\npin lamp\n\nuntil 0.1 # a comment\nhelp\nlog\nuntil 0.2")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for words in ("unknown command 'fly'", "'until x' has wrong arguments", "'pin lamp' has wrong"):
        assert words in done.stderr
    assert "0.100000 s" in done.stdout
    assert done.stdout.endswith("0.200000 s\n")


def test_the_example_in_the_docs_runs() -> None:
    section = (ROOT / "docs/virtual-time.md").read_text().partition("## Stepping")[2]
    (block, *_) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (command, *_) = re.findall(r"```sh\nmlink (.*?)\n```", section, re.DOTALL)
    for arguments in (["-c", block], ["-m", "mlink", *shlex.split(command)]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert re.search(r"3\d{5} µs, at 0xc0, pin 2 is False|PC 0xc0  PORTB 0x20", done.stdout)
