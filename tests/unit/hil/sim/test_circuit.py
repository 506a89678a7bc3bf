"""Wires, buttons, sensors and models of a circuit, in simulated time, without a processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink_hil.dut import Moment
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.circuit.build import Circuit
from mlink_hil.sim.circuit.nets import NOTHING, Drive, Strength, resolve
from mlink_hil.sim.plan import BoardPlan, CircuitPlan, ContactPlan, DelayPlan, ModelPlan, SensorPlan
from mlink_hil.uno import CLOCK_HZ

USEC = CLOCK_HZ // 1_000_000
HIGH, LOW = Drive(Strength.OUTPUT, True), Drive(Strength.OUTPUT, False)


class Bench:
    """A circuit of protocol boards, switched on; notes edges as (µs, "board.pin", level)."""

    def __init__(self, **plan):
        names = plan.pop("boards", ("uno",))
        boards = [BoardPlan(name=name, control="", simulator="protocol") for name in names]
        self.circuit = Circuit(CircuitPlan(boards=boards, **plan))
        self.edges = []
        for name, node in self.circuit.nodes.items():
            node.board.on_edge = self._note(name, node)
            node.switch_on(0)
        self.circuit.start()

    def _note(self, name, node):
        return lambda pin, level, cycle: self.edges.append(
            (node.common(cycle) / USEC, f"{name}.{pin}", int(level))
        )

    def run(self, usec):
        self.circuit.clock.run_until(self.circuit.clock.cycle + round(usec * USEC))

    def chip(self, name):
        return self.circuit.nodes[name].board

    def of(self, line):
        return [(usec, level) for usec, at, level in self.edges if at == line]


def test_the_strongest_wins_and_of_two_outputs_the_low_one():
    pull_up = Drive(Strength.PULL_UP, True)
    assert resolve([]) == NOTHING
    assert resolve([pull_up, NOTHING]) == pull_up
    assert resolve([pull_up, LOW]) == LOW
    assert resolve([HIGH, LOW]) == LOW
    assert resolve([LOW, Drive(Strength.WIRE, True)]) == Drive(Strength.WIRE, True)


def test_an_edge_is_at_the_other_end_exactly_one_delay_later():
    bench = Bench(boards=("a", "b"), nets=[[("a", "4"), ("b", "2")]], wire_usec=20)
    bench.chip("b").set_input(2, pull_up=False)
    for usec, level in ((100.0, True), (33.5, False), (7.25, True)):
        bench.run(usec)
        bench.chip("a").set_output(4, level)
    bench.run(1000)
    sent, seen = bench.of("a.4"), bench.of("b.2")
    assert [usec for usec, _ in sent] == [100.0, 133.5, 140.75]
    assert seen == [(usec + 20, level) for usec, level in sent]


def test_a_turn_is_never_longer_than_a_wire():
    wired = Bench(nets=[[("uno", "4"), ("uno", "5")]], wire_usec=20)
    assert wired.circuit.clock.longest_turn == 320
    assert Bench().circuit.clock.longest_turn == 16_000


def test_wires_work_both_ways_and_a_pin_that_is_let_go_falls_back_to_the_pull_up():
    bench = Bench(boards=("a", "b"), nets=[[("a", "4"), ("b", "2")]])
    bench.chip("a").set_input(4, pull_up=False)
    bench.chip("b").set_input(2, pull_up=True)
    bench.run(100)
    assert bench.chip("a").read(4).level  # over the wire, by the pull-up
    bench.chip("a").set_output(4, False)
    bench.run(100)
    assert not bench.chip("b").read(2).level
    bench.chip("a").set_input(4, pull_up=False)
    bench.run(100)
    assert bench.chip("b").read(2).level


def test_two_outputs_against_each_other_read_low_and_are_counted():
    bench = Bench(boards=("a", "b"), nets=[[("a", "4"), ("b", "2")]])
    bench.chip("a").set_output(4, True)
    bench.chip("b").set_output(2, False)
    bench.run(100)
    assert not bench.chip("a").read(4).level
    assert bench.circuit.nets[0].shorts == 1


def test_a_test_that_drives_a_line_drives_all_that_is_wired_to_it():
    bench = Bench(boards=("a", "b"), nets=[[("a", "4"), ("b", "2")]])
    bench.circuit.boards["a"].drive(4, True)
    bench.run(1)
    assert bench.chip("b").read(2).level
    bench.circuit.boards["a"].drive(4, None)
    bench.run(1)
    assert not bench.chip("b").read(2).level


def late(delay_usec, a=("a", "4"), b=("b", "2")):
    return DelayPlan(ends=(a, b), delay_usec=delay_usec)


def late_bench(delay_usec=150.25):
    nets = [[("a", "4")], [("b", "2")]]
    return Bench(boards=("a", "b"), nets=nets, wire_usec=20, delays=[late(delay_usec)])


def test_an_edge_is_later_by_the_wires_own_delay_to_the_cycle():
    bench = late_bench()
    bench.chip("b").set_input(2, pull_up=False)
    bench.run(1000)
    bench.edges.clear()
    for usec, level in ((100.0, True), (33.5, False), (7.25, True)):
        bench.run(usec)
        bench.chip("a").set_output(4, level)
    bench.run(1000)
    sent, seen = bench.of("a.4"), bench.of("b.2")
    assert len(sent) == 3
    assert seen == [(usec + 20 + 150.25, level) for usec, level in sent]


def test_what_a_test_drives_is_at_the_other_end_after_the_delay_alone():
    bench = late_bench(80)
    bench.chip("a").set_input(4, pull_up=True)
    bench.chip("b").set_input(2, pull_up=True)
    bench.run(1000)
    bench.edges.clear()
    bench.circuit.boards["a"].drive(4, False)
    bench.run(500)
    bench.circuit.boards["a"].drive(4, None)
    bench.run(500)
    assert bench.of("b.2") == [(1080, 0), (1580, 1)]


def test_a_delayed_wire_works_both_ways_and_rests_when_both_ends_pull_up():
    bench = late_bench(100)
    bench.chip("a").set_input(4, pull_up=True)
    bench.chip("b").set_input(2, pull_up=True)
    bench.run(10_000)
    assert not bench.circuit.clock._actions  # nothing goes to and fro
    bench.edges.clear()
    bench.chip("b").set_output(2, False)
    bench.run(1000)
    assert bench.of("a.4") == [(10_120, 0)]
    bench.chip("b").set_input(2, pull_up=True)
    bench.run(1000)
    assert bench.chip("a").read(4).level
    assert bench.chip("b").read(2).level


def test_outputs_against_each_other_over_a_delayed_wire_read_low_and_part_again():
    bench = late_bench(100)
    bench.chip("a").set_output(4, True)
    bench.chip("b").set_output(2, False)
    bench.run(1000)
    assert not bench.chip("a").read(4).level
    bench.chip("b").set_input(2, pull_up=False)
    bench.run(1000)
    assert bench.chip("a").read(4).level
    assert bench.chip("b").read(2).level


def test_delays_in_a_row_add_up():
    bench = Bench(
        boards=("a", "b", "c"),
        nets=[[("a", "4")], [("b", "2")], [("c", "3")]],
        delays=[late(100), late(300, ("b", "2"), ("c", "3"))],
    )
    bench.chip("b").set_input(2, pull_up=False)
    bench.chip("c").set_input(3, pull_up=False)
    bench.run(50)
    bench.chip("a").set_output(4, True)
    bench.run(1000)
    bench.chip("a").set_output(4, False)
    bench.run(1000)
    assert bench.of("c.3") == [(50 + 20 + 400, 1), (1050 + 20 + 400, 0)]


def test_a_board_without_power_stands_still_and_the_others_go_on():
    bench = Bench(boards=("a", "b"))
    bench.circuit.nodes["a"].powered = False
    before = bench.chip("a").cycle, bench.chip("b").cycle
    bench.run(500)
    assert bench.chip("a").cycle == before[0]
    assert bench.chip("b").cycle == before[1] + 500 * USEC
    bench.circuit.nodes["a"].switch_on(bench.circuit.clock.cycle)
    assert bench.circuit.nodes["a"].common(bench.chip("a").cycle) == bench.circuit.clock.cycle


def contact(**settings):
    return ContactPlan(board="uno", pin=7, level=False, **settings)


def test_a_button_bounces_by_its_pattern_and_ends_as_it_was_pressed():
    bench = Bench(contacts=[contact(pattern_usec=[100, 50, 200, 25])])
    bench.chip("uno").set_input(7, pull_up=True)
    bench.run(1000)
    bench.edges.clear()
    bench.circuit.boards["uno"].drive(7, False)
    bench.run(1000)
    assert bench.of("uno.7") == [(1000, 0), (1100, 1), (1150, 0), (1350, 1), (1375, 0)]
    bench.edges.clear()
    bench.circuit.boards["uno"].drive(7, None)
    bench.run(1000)
    assert bench.of("uno.7") == [(2000, 1), (2100, 0), (2150, 1), (2350, 0), (2375, 1)]


def test_letting_go_ends_the_bouncing_of_the_press():
    bench = Bench(contacts=[contact(pattern_usec=[100, 100])])
    bench.chip("uno").set_input(7, pull_up=True)
    bench.run(10)
    bench.edges.clear()
    bench.circuit.boards["uno"].drive(7, False)
    bench.run(50)
    bench.circuit.boards["uno"].drive(7, None)
    bench.run(1000)
    assert [usec for usec, _ in bench.of("uno.7")] == [10, 60, 160, 260]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_bounces_are_the_same_for_the_same_seed(seed):
    def edges(bounce_seed):
        bench = Bench(contacts=[contact(bounces=5, longest_usec=300, bounce_seed=bounce_seed)])
        bench.chip("uno").set_input(7, pull_up=True)
        for level in (False, None, False):
            bench.circuit.boards["uno"].drive(7, level)
            bench.run(10_000)
        return bench.of("uno.7")

    assert edges(seed) == edges(seed)
    assert edges(seed) != edges(seed + 2)
    assert len(edges(seed)) % 2 == 0  # the pull-up's own edge and three bouncing ones


def test_a_button_presses_itself_at_its_rate():
    bench = Bench(contacts=[contact(presses_hz=10, press_msec=20, seed=1)])
    bench.chip("uno").set_input(7, pull_up=True)
    bench.run(2_000_000)
    presses = [usec for usec, level in bench.of("uno.7") if not level]
    assert 17 <= len(presses) <= 23


def volts_of(at_usec, **settings):
    plan = {"waveform": "sine", "low_volt": 1, "high_volt": 3, "hz": 10, **settings}
    bench = Bench(sensors=[SensorPlan(board="uno", pin=14, **plan)])
    bench.run(at_usec)
    return bench.chip("uno").volts(14)


@pytest.mark.parametrize(
    ("waveform", "expected"),
    [("sine", 3.0), ("ramp", 1.5), ("square", 3.0), ("constant", 3.0)],
)
def test_a_sensor_follows_its_waveform(waveform, expected):
    assert volts_of(25_000, waveform=waveform) == pytest.approx(expected)  # a quarter of a period


def test_a_waveform_from_a_file_is_interpolated_and_repeated():
    points = [(0.0, 1.0), (0.1, 2.0), (0.2, 1.0)]
    assert volts_of(50_000, waveform="file", points=points) == pytest.approx(1.5)
    assert volts_of(250_000, waveform="file", points=points) == pytest.approx(1.5)


def test_noise_comes_from_its_seed_and_stays_between_the_rails():
    quiet = volts_of(25_000)
    noisy = volts_of(25_000, noise_volt=0.1, seed=4)
    assert noisy == volts_of(25_000, noise_volt=0.1, seed=4)
    assert 0 < abs(noisy - quiet) < 1
    assert 0 <= volts_of(25_000, noise_volt=5, seed=9) <= 5


LAMP = """
from mlink_hil.dut import Dut

class Lamp(Dut):
    pins = ("button", "light")

    def __init__(self, msec=1):
        self.msec = msec

    def start(self):
        self.set("light", False)

    def on_edge(self, pin, level, now_usec):
        if pin == "button" and level:
            assert self.level("button")
            self.set("light", True, after_usec=5)
            self.wake(self.msec * 1000)

    def advance(self, now_usec):
        self.set("light", False)
"""


def make_model(tmp_path: Path, text: str = LAMP, **settings) -> Bench:
    (tmp_path / "lamp.py").write_text(text)
    model = ModelPlan(
        name="lamp",
        file=str(tmp_path / "lamp.py"),
        class_name="Lamp",
        pins=["button", "light"],
        settings=settings,
    )
    nets = [[("lamp", "button"), ("uno", "4")], [("lamp", "light"), ("uno", "7")]]
    return Bench(models=[model], nets=nets, wire_usec=20)


def test_a_model_sees_edges_and_acts_in_simulated_time(tmp_path):
    bench = make_model(tmp_path, msec=2)
    bench.chip("uno").set_input(7, pull_up=False)
    bench.run(100)
    bench.chip("uno").set_output(4, True)
    bench.run(5000)
    assert bench.of("uno.7") == [(100 + 20 + 5, 1), (100 + 20 + 2000, 0)]


def test_an_error_in_a_model_is_reported_with_its_line(tmp_path):
    bench = make_model(tmp_path, LAMP.replace('set("light", True', 'set("lihgt", True'))
    bench.run(100)
    bench.chip("uno").set_output(4, True)
    with pytest.raises(BoardCrashed, match=r"'lamp' failed at .*lamp.py:16.*no pin 'lihgt'"):
        bench.run(1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "cannot be imported: SyntaxError"),
        ("class Lamp: pass", "no class Lamp that is a Dut"),
        (LAMP.replace('("button", "light")', '("light",)'), "no pin button"),
    ],
)
def test_a_file_without_a_usable_model_is_refused(text, message, tmp_path):
    with pytest.raises(DeviceError, match=message):
        make_model(tmp_path, text)


def test_a_board_has_run_for_its_phase_when_it_is_switched_on():
    plan = BoardPlan(name="late", control="", simulator="protocol", phase_usec=250)
    circuit = Circuit(CircuitPlan(boards=[plan]))
    node = circuit.nodes["late"]
    node.switch_on(0)
    assert node.board.cycle == 250 * USEC
    assert node.common(node.board.cycle) == 0
    circuit.clock.run_until(100 * USEC)
    assert node.board.cycle == 350 * USEC


HEATER = """
from mlink_hil.dut import Dut

class Lamp(Dut):
    pins = ("button", "light")

    def start(self):
        self.set_volts("light", 1.5)
        self.wake(at_usec=1000)

    def advance(self, now_usec):
        assert now_usec == 1000
        self.set_volts("light", 4.0, at_usec=now_usec + 500)
        self.set_volts("light", None, 2000)
"""


def make_heater(tmp_path: Path, text: str = HEATER, line: str = "14") -> Bench:
    (tmp_path / "lamp.py").write_text(text)
    model = ModelPlan(
        name="lamp", file=str(tmp_path / "lamp.py"), class_name="Lamp", pins=["light"], settings={}
    )
    return Bench(models=[model], nets=[[("lamp", "light"), ("uno", line)]], wire_usec=20)


def test_a_model_drives_an_analog_level(tmp_path):
    bench = make_heater(tmp_path)
    found = []
    for usec in (100, 1300, 300, 1400):
        bench.run(usec)
        found.append(bench.chip("uno").volts(14))
    assert found == [1.5, 1.5, 4.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("self.wake(now_usec + 500)", "1500 µs is a time, .*at_usec=1500"),
        ("self.set('light', True, now_usec)", "1000 µs is a time"),
        ("self.wake(-1)", "the delay -1 µs cannot be"),
        ("self.wake(float('nan'))", "cannot be"),
        ("self.wake(at_usec=now_usec - 5)", "the time 995 µs cannot be: it is before the present"),
        ("self.wake(5, at_usec=now_usec)", "give either"),
        ("self.set_volts('light', 5.5)", "5.5 V is not in 0 to 5 V"),
        ("self.set_volts('button', 1)", "'button' is wired to no analog line"),
        ("self.set_volts('knob', 1)", "no pin 'knob'"),
    ],
)
def test_wrong_times_and_voltages_of_a_model_are_errors_in_words(tmp_path, call, message):
    bench = make_heater(tmp_path, HEATER.replace("assert now_usec == 1000", call))
    with pytest.raises(BoardCrashed, match=message):
        bench.run(2000)


def test_a_digital_line_takes_no_voltage(tmp_path):
    with pytest.raises(BoardCrashed, match="wired to no analog line"):
        make_heater(tmp_path, line="7")


def test_the_difference_of_two_moments_is_a_delay():
    early, late = Moment(1000.0), 500 + Moment(1000.0)
    assert (late, late - early, type(late), type(late - early)) == (1500, 500, Moment, float)
    assert type(late - 100) is Moment
