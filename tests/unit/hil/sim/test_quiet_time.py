"""Time in which all processors sleep is skipped, with the result of short steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.circuit.build import Circuit
from mlink_hil.sim.plan import BoardPlan, CircuitPlan
from mlink_hil.uno import CLOCK_HZ
from tests.support.hil_examples import BENCHES

pytestmark = pytest.mark.sim

STEP = 400
FIRMWARE = Path(__file__).parents[4] / "firmware" / "prebuilt" / "mlink_firmata-uno.hex"
LAMP = BENCHES / "dut-firmware" / "firmware" / "lamp-good.hex"
REPORT_VERSION = b"\xf9"


def run(*firmwares: Path, skips: bool, ppm: float = 0.0) -> tuple[list[tuple[str, int]], int, int]:
    """Simulate 50 ms in steps; return what boards sent and when, their last cycle, the turns."""
    boards = [
        BoardPlan(name=f"chip{number}", control="", firmware=str(path), clock_ppm=ppm)
        for number, path in enumerate(firmwares)
    ]
    circuit = Circuit(CircuitPlan(boards=boards))
    clock, sent, turns = circuit.clock, [], 0
    for name, node in circuit.nodes.items():
        node.board.boot()
        node.board.on_byte = lambda byte, name=name: sent.append((f"{name} {byte}", clock.cycle))
        node.switch_on(0)
    first = next(iter(circuit.nodes.values()))
    clock.at(CLOCK_HZ // 100, lambda _cycle: first.board.feed(REPORT_VERSION))
    while clock.cycle < CLOCK_HZ // 20:
        clock.run_until(clock.cycle + STEP)
        turns += 1
        if skips and clock.next_event is None:
            clock.skip(CLOCK_HZ // 20, STEP)
    return sent, first.board.cycle, turns


@pytest.mark.parametrize("firmwares", [(FIRMWARE,), (FIRMWARE, FIRMWARE), (FIRMWARE, LAMP)])
@pytest.mark.parametrize("ppm", [0.0, 37.5])
def test_what_boards_send_is_the_same_to_the_cycle(firmwares, ppm):
    sent, cycle, _ = run(*firmwares, skips=False, ppm=ppm)
    assert len(sent) >= 3  # the answer to the query
    assert run(*firmwares, skips=True, ppm=ppm)[:2] == (sent, cycle)


def test_a_firmware_that_sleeps_is_simulated_in_few_turns():
    assert run(FIRMWARE, skips=False)[2] == CLOCK_HZ // 20 // STEP
    assert run(FIRMWARE, skips=True)[2] < 500


def test_without_power_all_time_is_quiet():
    circuit = Circuit(CircuitPlan(boards=[BoardPlan(name="uno", control="", simulator="protocol")]))
    circuit.clock.skip(10_000, 400)
    assert circuit.clock.cycle == 10_000
    acted = []
    circuit.clock.at(10_800, acted.append)
    circuit.clock.skip(20_000, 400)
    assert (circuit.clock.cycle, acted) == (10_400, [])


def test_a_processor_that_stops_for_good_is_reported(tmp_path):
    stop = tmp_path / "stop.hex"  # cli; rjmp .-2
    stop.write_text(":04000000F894FFCFA2\n:00000001FF\n")
    circuit = Circuit(CircuitPlan(boards=[BoardPlan(name="uno", control="", firmware=str(stop))]))
    circuit.nodes["uno"].switch_on(0)
    with pytest.raises(BoardCrashed, match=r"stopped \(Done\) after 0\.000 s"):
        circuit.clock.run_until(1_000)
