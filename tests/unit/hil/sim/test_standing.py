"""Simulated processors stand still at any cycle and at edges; that and looking change nothing."""

from __future__ import annotations

import random

import pytest

from mlink_hil.sim.boards.avr_board import AvrBoard
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.circuit.build import Circuit
from mlink_hil.sim.plan import BoardPlan, CircuitPlan, ContactPlan, SensorPlan
from tests.support import ROOT
from tests.support.hil_examples import BENCHES

FIRMWARE = ROOT / "firmware/prebuilt/mlink_firmata-uno.hex"
LAMP = BENCHES / "dut-firmware/firmware/lamp-good.hex"
ASLEEP = """
    0c9434000c943e000c943e000c943e000c943e000c943e000c943e000c943e000c943e000c943e000c943e00
    0c943e000c943e000c943e000c943e000c943e000c9440000c943e000c943e000c943e000c943e000c943e00
    0c943e000c943e000c943e000c943e0011241fbecfefd8e0debfcdbf0e944e000c9461000c9400001f920f92
    0fb60f9211248f9380e283b98f910f900fbe0f901f90189580e284b983e085bd81e080936e0083b7817f83bf
    789483b7816083bf889583b78e7f83bff8cff894ffcf
"""
"""A firmware that sleeps (idle mode), and toggles pin 13 in an interrupt of timer 0 every ms."""
CHUNK, CYCLES = 400, 1_600_000
"""A look at the lines, and 100 ms."""


class Bench:
    """The lamp, its button that bounces and presses itself, and a tester with a sensor."""

    def __init__(self, simulator: str = "yasimavr") -> None:
        contact = ContactPlan(
            board="lamp", pin=2, level=False, presses_hz=25, press_msec=22, seed=5,
            bounces=6, longest_usec=900, bounce_seed=3,
        )  # fmt: skip
        sensor = SensorPlan(
            board="uno", pin=14, waveform="sine", low_volt=0, high_volt=5, hz=50, rate_hz=3000
        )
        boards = [
            BoardPlan(name="uno", control="", firmware=str(FIRMWARE), simulator=simulator),
            BoardPlan(name="lamp", control="", firmware=str(LAMP), clock_ppm=170),
        ]
        nets = [[("lamp", "8"), ("uno", "7")], [("uno", "4"), ("lamp", "3")]]
        plan = CircuitPlan(boards=boards, nets=nets, contacts=[contact], sensors=[sensor])
        self.circuit = Circuit(plan)
        self.clock = self.circuit.clock
        self.seen: list[tuple[str, int, int]] = []
        for name, node in self.circuit.nodes.items():
            self._note(name, node)
        self.circuit.nodes["uno"].board.boot()
        for node in self.circuit.nodes.values():
            node.switch_on(self.clock.cycle)
        self.circuit.start()
        self.board("uno").feed(bytes([0xF0, 0x79, 0xF7, 0xC0, 1, 0xD0, 1, 0xF4, 7, 0]))
        self.stands: list[tuple[int, str]] = []

    def _note(self, name, node):
        node.board.on_byte = lambda byte: self.seen.append((name, byte, node.board.cycle))
        node.board.on_edge = lambda pin, level, cycle: self.seen.append(
            (f"{name}.{pin}", int(level), cycle)
        )

    def board(self, name):
        return self.circuit.nodes[name].board

    def run(self, stand_at=lambda _now, end: end, *, halts=False, look=False):
        while self.clock.cycle < CYCLES:
            end = self.clock.cycle + CHUNK
            while not self.clock.run_until(end, stand_at(self.clock.cycle, end), halts=halts):
                halted = [n for n, node in self.circuit.nodes.items() if node.board.has_halted]
                for name in halted:
                    self.board(name).has_halted = False
                self.stands.append((self.clock.cycle, "".join(halted)))
                if look:
                    self.look()
        return self.look(), self.seen

    def look(self):
        found = []
        for node in self.circuit.nodes.values():
            if (probe := node.board.probe) is not None:
                memory = probe.memory(0, 0x900, flash=False)
                found += [node.board.cycle, probe.registers(), memory]
        return found


def at_random(share):
    """Return a function that chooses where to stand, in a share of the chunks before their end."""
    rnd = random.Random(4)
    return lambda now, end: (
        rnd.randrange(now, end) + 1 if now < end and rnd.random() < share else end
    )


@pytest.fixture(scope="module")
def plain():
    return Bench().run()


@pytest.mark.sim
def test_standing_and_looking_at_any_cycle_changes_nothing(plain):
    bench = Bench()
    assert bench.run(at_random(0.4), look=True) == plain
    assert len(bench.stands) > 1000


@pytest.mark.sim
def test_standing_at_edges_changes_nothing_and_is_right_after_the_instruction(plain):
    bench = Bench()
    bench.board("lamp").halt_pins = frozenset([2, 8, 13])
    bench.board("uno").halt_pins = frozenset([7])
    assert bench.run(halts=True, look=True) == plain
    edges = [
        bench.circuit.nodes[where.split(".")[0]].common(cycle)
        for where, _, cycle in bench.seen
        if where in ("lamp.2", "lamp.8", "lamp.13", "uno.7")
    ]
    at = [cycle for cycle, halted in bench.stands if halted]
    assert len(at) == len(edges)
    assert max(cycle - edge for cycle, edge in zip(at, edges, strict=True)) <= 8


@pytest.mark.sim
def test_the_program_counter_at_an_edge_is_that_of_the_code_that_made_it():
    bench = Bench()
    bench.board("lamp").halt_pins = frozenset([13])
    found = set()
    while bench.clock.cycle < CYCLES:
        if not bench.clock.run_until(bench.clock.cycle + CHUNK, halts=True):
            bench.board("lamp").has_halted = False
            registers = bench.board("lamp").probe.registers()
            before = registers["PC"] - 2
            found.add((bench.board("lamp").probe.memory(before, 2, flash=True), registers["PORTB"]))
    # SBI PORTB, 5 and CBI PORTB, 5: 0x9A2D and 0x982D
    assert {(code, bool(port & 0x20)) for code, port in found} == {
        (b"\x2d\x9a", True),
        (b"\x2d\x98", False),
    }


@pytest.mark.sim
def test_a_sleeping_processor_stands_and_wakes_as_without(tmp_path):
    path = tmp_path / "asleep.hex"
    path.write_text(to_hex(bytes.fromhex(ASLEEP)))

    def edges(stand):
        plan = CircuitPlan(boards=[BoardPlan(name="chip", control="", firmware=str(path))])
        circuit = Circuit(plan)
        node, seen = circuit.nodes["chip"], []
        node.board.on_edge = lambda pin, level, cycle: seen.append((pin, level, cycle))
        node.switch_on(0)
        anywhere = at_random(0.4 if stand else 0)
        node.board.halt_pins = frozenset([13] if stand else [])
        while circuit.clock.cycle < CYCLES:
            end = circuit.clock.cycle + CHUNK
            while not circuit.clock.run_until(end, anywhere(circuit.clock.cycle, end), halts=stand):
                node.board.has_halted = False
        return seen, node.board.probe.registers()

    assert edges(stand=True) == edges(stand=False)
    assert edges(stand=False)[0]


def to_hex(image: bytes) -> str:
    lines = []
    for at in range(0, len(image), 16):
        part = image[at : at + 16]
        record = bytes([len(part), at >> 8, at & 255, 0]) + part
        lines.append(f":{(record + bytes([-sum(record) & 255])).hex().upper()}")
    return "\n".join([*lines, ":00000001FF", ""])


@pytest.mark.parametrize("stands", [False, True])
def test_a_break_of_the_firmware_is_named_and_does_not_stand_still_for_ever(tmp_path, stands):
    """It sets pin 13, then executes BREAK: yasimavr counts cycles on, and executes nothing else."""
    data = bytes.fromhex("00e204b903b99895ffcf")  # ldi, out DDRB, out PINB, break, rjmp
    record = bytes((len(data), 0, 0, 0)) + data
    path = tmp_path / "break.hex"
    path.write_text(f":{(record + bytes((-sum(record) & 0xFF,))).hex().upper()}\n:00000001FF\n")
    board = AvrBoard(path)
    with pytest.raises(BoardCrashed, match="the instruction BREAK at 0x6"):
        board.stand(CYCLES, CYCLES // 2) if stands else board.run_until(CYCLES)
