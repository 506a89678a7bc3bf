"""From the parts of a `[virtual]` table to the plans of the programs that simulate them.

Only what this run has is wired: a part at a real board, or at a device that no module uses, is left
out, and `notes` say so. So the same bench runs on hardware.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import asdict

from mlink.errors import DeviceError
from mlink_hil.control.socket_path import control_path
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
)
from mlink_hil.wiring.lines import parse_line, parse_pin
from mlink_hil.wiring.parts import Button, Chip, Led, Model, Part, Scene, Sensor, Servo, Wire

_MAX_POINTS = 1_000_000


@dataclass
class Layout:
    """What there is to simulate; `circuit.boards` holds the chips, boards are added by name."""

    circuit: CircuitPlan = field(default_factory=lambda: CircuitPlan(boards=[]))
    wired_boards: list[str] = field(default_factory=list)
    """Boards that run in the circuit's program, because something is wired to them."""
    scenes: dict[str, ScenePlan] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Places:
    """Where what this run simulates is: control sockets in its folder, files in the bench's."""

    def __init__(self, present: Collection[str], work_dir: Path, bench_dir: Path) -> None:
        self.present = present
        """Boards, and chips."""
        self.bench_dir = bench_dir
        self._work_dir = work_dir

    def control(self, name: str) -> str:
        return str(control_path(self._work_dir, name))


def lay_out(
    parts: Mapping[str, Part],
    boards: Collection[str],
    scenes: Collection[str],
    *,
    work_dir: Path,
    bench_dir: Path,
) -> Layout:
    """Plan the parts; `boards` and `scenes` are the virtual devices of this run."""
    layout = Layout()
    nets: list[list[End]] = []
    absent = left_out(parts, boards, scenes)
    layout.notes = [f"[virtual.{name}] is left out: {why}" for name, why in absent.items()]
    there = {name: part for name, part in parts.items() if name not in absent}
    present = {*boards, *(name for name, part in there.items() if isinstance(part, Chip))}
    places = _Places(present, work_dir, bench_dir)
    for name, part in there.items():
        match part:
            case Chip():
                firmware = str((bench_dir / part.firmware).resolve())
                plan = BoardPlan(name=name, control=places.control(name), firmware=firmware)
                layout.circuit.boards.append(plan)
                nets += _wires(name, part, places)
            case Model():
                layout.circuit.models.append(_model(name, part, bench_dir))
                nets += _wires(name, part, places)
            case Wire():
                lines = [parse_line(end) for end in part.ends]
                ends = [(e.device, str(e.pin)) for e in lines if e.device in present]
                if part.delay_usec:
                    one, other = ends
                    delay = DelayPlan(ends=(one, other), delay_usec=part.delay_usec)
                    layout.circuit.delays.append(delay)
                    nets += [[one], [other]]
                else:
                    nets.append(ends)
            case Button():
                layout.circuit.contacts.append(_contact(part))
            case Sensor():
                layout.circuit.sensors.append(_sensor(name, part, bench_dir))
            case Scene() | Led() | Servo():
                _add_to_scene(name, part, places, layout.scenes)
    layout.circuit.nets = _merged(nets)
    circuit = layout.circuit
    touched = {name for net in circuit.nets for name, _ in net}
    touched |= {each.board for each in circuit.contacts} | {each.board for each in circuit.sensors}
    layout.wired_boards = sorted(touched.intersection(boards))
    return layout


def left_out(
    parts: Mapping[str, Part], boards: Collection[str], scenes: Collection[str]
) -> dict[str, str]:
    """Return the parts that a run with these virtual devices does not simulate, each with why."""
    chips = [name for name, part in parts.items() if isinstance(part, Chip)]
    present = {*boards, *(chips if boards else ())}
    found: dict[str, str] = {}
    for name in (*chips, *(name for name in parts if name not in chips)):
        if reason := _lacking(parts[name], present, scenes):
            found[name] = reason
            if name in chips:
                present.discard(name)  # what hangs at it is not there either
    return found


def _lacking(part: Part, present: Collection[str], scenes: Collection[str]) -> str:
    """Say what a part needs that a run does not simulate; empty when it has all."""
    scene = part.scene_key()
    if scene and scene not in scenes:
        return f"'{scene}' is no virtual scene of this run"
    devices = [parse_line(line).device for line in part.lines().values()]
    absent = [name for name in devices if name not in present]
    enough = 2 if isinstance(part, Wire) else 1
    if devices and len(devices) - len(absent) < enough:
        return f"'{absent[0]}' is no virtual board of this run"
    return ""


def _wires(name: str, part: Chip | Model, places: _Places) -> list[list[End]]:
    nets: list[list[End]] = []
    for pin, line in part.wires.items():
        end = parse_line(line)
        own = str(parse_pin(pin)) if isinstance(part, Chip) else pin
        if end.device in places.present:
            nets.append([(name, own), (end.device, str(end.pin))])
    return nets


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


def _model(name: str, part: Model, bench_dir: Path) -> ModelPlan:
    file, _, class_name = part.source.partition(":")
    path = str((bench_dir / file).resolve())
    return ModelPlan(
        name=name, file=path, class_name=class_name, pins=list(part.wires), settings=part.settings
    )


def _contact(part: Button) -> ContactPlan:
    line = parse_line(part.line)
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


def _sensor(name: str, part: Sensor, bench_dir: Path) -> SensorPlan:
    line = parse_line(part.line)
    return SensorPlan(
        board=line.device,
        pin=line.pin,
        waveform=part.waveform,
        low_volt=part.low_volt,
        high_volt=part.high_volt,
        hz=part.hz,
        points=_points(name, bench_dir / part.file) if part.file else [],
        noise_volt=part.noise_volt,
        seed=part.seed,
        rate_hz=part.rate_hz,
    )


def _points(name: str, path: Path) -> list[tuple[float, float]]:
    """Read a waveform: two columns between commas, semicolons or spaces; a header is allowed."""
    points: list[tuple[float, float]] = []
    try:
        rows = path.read_text("utf-8").splitlines()[:_MAX_POINTS]
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"[virtual.{name}] file: {path} cannot be read: {error}") from error
    for number, row in enumerate(rows, start=1):
        cells = row.replace(";", " ").replace(",", " ").split()
        if not cells or row.startswith("#"):
            continue
        try:
            sec, volts = (float(cell) for cell in cells)
        except ValueError as error:
            if number == 1:
                continue  # names of columns
            raise DeviceError(
                f"[virtual.{name}] file: {path}, line {number} is not two numbers",
                remedy="Write seconds and volts, one pair a line.",
            ) from error
        if points and sec <= points[-1][0]:
            raise DeviceError(f"[virtual.{name}] file: {path}, line {number}: time goes back")
        points.append((sec, volts))
    if not points:
        raise DeviceError(f"[virtual.{name}] file: {path} holds no points")
    return points


def _add_to_scene(
    name: str, part: Scene | Led | Servo, places: _Places, scenes: dict[str, ScenePlan]
) -> None:
    plan = scenes.setdefault(part.scene_key(), ScenePlan())
    if isinstance(part, Scene):
        plan.exposure_usec, plan.readout_usec = part.exposure_usec, part.readout_usec
        plan.noise, plan.seed = part.noise, part.seed
        return
    line = parse_line(part.line)
    kind = LedPlan if isinstance(part, Led) else ServoPlan
    settings = {key: value for key, value in asdict(part).items() if key not in ("line", "scene")}
    control = places.control(line.device)
    plan.items.append(kind(name=name, control=control, pin=line.pin, **settings))
