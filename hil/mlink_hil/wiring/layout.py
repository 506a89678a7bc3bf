"""Turns the parts of a `[virtual]` table into the plans of the programs that simulate them.

A part at a real board, or at a device that no module uses, is left out with a note, so that the
same bench file also runs on hardware.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import asdict

from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.control.socket_path import control_path
from mlink_hil.scene import strobe
from mlink_hil.sim.plan import (
    BoardPlan,
    CircuitPlan,
    ContactPlan,
    DelayPlan,
    End,
    LedPlan,
    ModelPlan,
    ScenePlan,
    SensorPlan,
    ServoPlan,
    TriggerPlan,
)
from mlink_hil.wiring.circuit_parts import Board, Button, Chip, Model, Sensor, Wire
from mlink_hil.wiring.lines import parse_line
from mlink_hil.wiring.part import Part
from mlink_hil.wiring.scene_parts import Led, Scene, Servo
from mlink_hil.wiring.waveform import read_waveform


@dataclass
class Layout:
    """What a run has to simulate.

    Made from the parts of the table whose devices the run uses.
    """

    circuit: CircuitPlan = field(default_factory=lambda: CircuitPlan(boards=[]))
    """Its boards are the chips; the wired boards are added when their simulators are chosen."""
    wired_boards: list[str] = field(default_factory=list)
    """Boards that are wired or described; they run in the circuit's program."""
    described: dict[str, Board] = field(default_factory=dict)
    """Boards with a part of their own, by device."""
    scenes: dict[str, ScenePlan] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Which parts are left out, and why; for the run's log."""


class _Places:
    """Which boards and chips a run has, and the folders of their sockets and files."""

    def __init__(
        self,
        present: Collection[str],
        kinds: Mapping[str, BoardKind],
        work_dir: Path,
        bench_dir: Path,
    ) -> None:
        self.present = present
        self.kinds = kinds
        self.bench_dir = bench_dir
        self._work_dir = work_dir

    def control(self, name: str) -> str:
        return str(control_path(self._work_dir, name))


def lay_out(
    parts: Mapping[str, Part],
    boards: Mapping[str, BoardKind],
    scenes: Collection[str],
    *,
    work_dir: Path,
    bench_dir: Path,
) -> Layout:
    """Plan the parts that this run can simulate.

    Args:
        parts: All parts of the table by name.
        boards: Kinds of the run's simulated boards, by name.
        scenes: Names of the run's virtual scenes.
        work_dir: Folder of the run, where the control sockets are.
        bench_dir: Folder that paths in the table are relative to.

    Raises:
        DeviceError: A sensor's waveform file cannot be read.
    """
    layout = Layout()
    nets: list[list[End]] = []
    absent = left_out(parts, boards, scenes)
    layout.notes = [f"[virtual.{name}] is not used: {why}" for name, why in absent.items()]
    there = {name: part for name, part in parts.items() if name not in absent}
    present = {*boards, *(name for name, part in there.items() if isinstance(part, Chip))}
    places = _Places(present, boards, work_dir, bench_dir)
    for name, part in there.items():
        match part:
            case Board():
                layout.described[part.device] = part
            case Chip():
                firmware = str((bench_dir / part.firmware).resolve())
                plan = BoardPlan(
                    name=name,
                    control=places.control(name),
                    firmware=firmware,
                    clock_ppm=part.clock_ppm,
                    phase_usec=part.phase_usec,
                )
                layout.circuit.boards.append(plan)
                _add_wires(name, part, places, nets, layout.circuit.delays)
            case Model():
                layout.circuit.models.append(model_plan(name, part, bench_dir))
                _add_wires(name, part, places, nets, layout.circuit.delays)
            case Wire():
                lines = [parse_line(end, boards) for end in part.ends]
                ends = [(e.device, str(e.pin)) for e in lines if e.device in present]
                _add_wire(ends, part.delay_usec, nets, layout.circuit.delays)
            case Button():
                layout.circuit.contacts.append(_contact(part, boards))
            case Sensor():
                layout.circuit.sensors.append(_sensor(name, part, places))
            case Scene() | Led() | Servo():
                _add_to_scene(name, part, places, layout.scenes)
                if isinstance(part, Scene) and part.strobe:
                    layout.circuit.models.append(_strobe(name, part))
                    end = parse_line(part.strobe, boards)
                    nets.append([(name, "out"), (end.device, str(end.pin))])
    layout.circuit.nets = _merged(nets)
    circuit = layout.circuit
    touched = {name for net in circuit.nets for name, _ in net}
    touched |= {each.board for each in circuit.contacts} | {each.board for each in circuit.sensors}
    touched |= {each.i2c for each in circuit.models}
    layout.wired_boards = sorted((touched | layout.described.keys()).intersection(boards))
    return layout


def left_out(
    parts: Mapping[str, Part], boards: Mapping[str, BoardKind], scenes: Collection[str]
) -> dict[str, str]:
    """Return the parts that a run cannot simulate, each with the reason.

    Args:
        parts: All parts of the table by name.
        boards: Kinds of the run's simulated boards, by name.
        scenes: Names of the run's virtual scenes.
    """
    chips = [name for name, part in parts.items() if isinstance(part, Chip)]
    present = {*boards, *(chips if boards else ())}
    found: dict[str, str] = {}
    for name in (*chips, *(name for name in parts if name not in chips)):
        if reason := _lacking(parts[name], present, scenes, boards):
            found[name] = reason
            if name in chips:
                present.discard(name)  # so that what is wired to it is left out, too
    return found


def _lacking(
    part: Part,
    present: Collection[str],
    scenes: Collection[str],
    kinds: Mapping[str, BoardKind],
) -> str:
    """Return what a part needs and a run does not simulate; empty when nothing is missing."""
    scene = part.scene_key()
    if scene and scene not in scenes:
        return f"'{scene}' is not a virtual scene of this run"
    if (board := part.board_key()) and board not in present:
        return f"'{board}' is not a simulated board of this run"
    devices = [parse_line(line, kinds).device for line in part.lines().values()]
    absent = [name for name in devices if name not in present]
    enough = 2 if isinstance(part, Wire) else 1
    if devices and len(devices) - len(absent) < enough:
        return f"'{absent[0]}' is not a simulated board of this run"
    return ""


def _add_wires(
    name: str,
    part: Chip | Model,
    places: _Places,
    nets: list[list[End]],
    delays: list[DelayPlan],
) -> None:
    for pin, line in part.wires.items():
        end = parse_line(line, places.kinds)
        own = str(UNO.pin(pin)) if isinstance(part, Chip) else pin
        if end.device in places.present:
            ends = [(name, own), (end.device, str(end.pin))]
            _add_wire(ends, part.delays_usec.get(pin, 0.0), nets, delays)


def _add_wire(
    ends: list[End], delay_usec: float, nets: list[list[End]], delays: list[DelayPlan]
) -> None:
    """Add a wire: one net, or with a delay of its own two of them."""
    if not delay_usec:
        nets.append(ends)
        return
    one, other = ends
    delays.append(DelayPlan(ends=(one, other), delay_usec=delay_usec))
    nets += [[one], [other]]


def _merged(nets: list[list[End]]) -> list[list[End]]:
    """Join nets that share an end."""
    merged: list[list[End]] = []
    for net in nets:
        joined = list(net)
        for other in [each for each in merged if set(each) & set(net)]:
            merged.remove(other)
            joined = other + joined
        merged.append(list(dict.fromkeys(joined)))
    return merged


def model_plan(name: str, part: Model, bench_dir: Path) -> ModelPlan:
    """Return the plan of a device under test that is a Python class."""
    file, _, class_name = part.source.partition(":")
    path = str((bench_dir / file).resolve())
    return ModelPlan(
        name=name,
        file=path,
        class_name=class_name,
        pins=list(part.wires),
        settings=part.settings,
        i2c=part.i2c,
        address=part.address,
    )


def _strobe(name: str, part: Scene) -> ModelPlan:
    settings = {
        "rate_hz": part.rate_hz,
        "exposure_usec": part.exposure_usec,
        "begin_usec": part.begin_usec,
        "active_low": part.active_low,
    }
    return ModelPlan(
        name=name, file=strobe.__file__, class_name="StrobeLine", pins=["out"], settings=settings
    )


def _contact(part: Button, kinds: Mapping[str, BoardKind]) -> ContactPlan:
    line = parse_line(part.line, kinds)
    return ContactPlan(
        board=line.device,
        pin=line.pin,
        level=not part.active_low,
        pattern_usec=part.bounce.pattern_usec,
        bounces=part.bounce.count,
        longest_usec=part.bounce.longest_usec,
        bounce_seed=part.bounce.seed,
        presses_hz=part.presses_hz,
        press_msec=part.press_msec,
        seed=part.seed,
    )


def _sensor(name: str, part: Sensor, places: _Places) -> SensorPlan:
    line = parse_line(part.line, places.kinds)
    return SensorPlan(
        board=line.device,
        pin=line.pin,
        waveform=part.waveform,
        low_volt=part.low_volt,
        high_volt=part.high_volt,
        hz=part.hz,
        points=read_waveform(name, places.bench_dir / part.file) if part.file else [],
        noise_volt=part.noise_volt,
        seed=part.seed,
        rate_hz=part.rate_hz,
    )


def _add_to_scene(
    name: str, part: Scene | Led | Servo, places: _Places, scenes: dict[str, ScenePlan]
) -> None:
    plan = scenes.setdefault(part.scene_key(), ScenePlan())
    if isinstance(part, Scene):
        plan.exposure_usec, plan.readout_usec = part.exposure_usec, part.readout_usec
        plan.noise, plan.seed = part.noise, part.seed
        plan.delay_usec, plan.jitter_usec = part.delay_usec, part.jitter_usec
        for end in part.lines().values():  # its own strobe shows when it exposes
            line = parse_line(end, places.kinds)
            plan.trigger = TriggerPlan(
                control=places.control(line.device), pin=line.pin, active_low=part.active_low
            )
        return
    line = parse_line(part.line, places.kinds)
    kind = LedPlan if isinstance(part, Led) else ServoPlan
    settings = {key: value for key, value in asdict(part).items() if key not in ("line", "scene")}
    control = places.control(line.device)
    plan.items.append(kind(name=name, control=control, pin=line.pin, **settings))
