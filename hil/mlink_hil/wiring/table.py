"""Reads and checks a `[virtual]` table, which has one part for each name.

All problems are reported at once, each with its place and, where there is one, a remedy.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlink.bench.file import Places, Problems, convert, shown
from mlink.proposals import nearest, proposal
from mlink_hil.board_kinds import UNO, BoardKind, kinds_of
from mlink_hil.wiring.circuit_parts import Board, Button, Chip, Model, Sensor, Wire
from mlink_hil.wiring.lines import Line, parse_line
from mlink_hil.wiring.part import Part
from mlink_hil.wiring.scene_parts import Led, Scene, Servo

TABLE = "virtual"
KINDS: dict[str, type[Part]] = {
    part.kind: part for part in (Board, Scene, Led, Servo, Button, Sensor, Wire, Chip, Model)
}
"""The kinds of parts by the value of the key `type`."""

_SETTINGS = "docs/hil.md lists the settings of each type of part."


def read_parts(table: Mapping[str, Any]) -> dict[str, Part]:
    """Return the parts of a table by name.

    Args:
        table: A table in which `check_table` found no problem.
    """
    return {
        name: msgspec.convert({k: v for k, v in part.items() if k != "type"}, KINDS[part["type"]])
        for name, part in table.items()
    }


def check_table(
    table: Mapping[str, Any], devices: Mapping[str, str], bench_dir: Path
) -> list[tuple[str, str, str]]:
    """Return the problems of a table as (where, what, remedy).

    Args:
        table: The parts by name, as the bench file has them.
        devices: Device strings of the bench by name.
        bench_dir: Folder that paths in the table are relative to.
    """
    problems = Problems(bench_dir)
    where = Places(prefix=(TABLE,))
    parts: dict[str, Part] = {}
    for name, described in table.items():
        part = _part(name, described, where, problems)
        if part is None:
            continue
        parts[name] = part
        for key, what in part.problems(bench_dir):
            problems.add(where(name, key), what)
    # A chip with a wrong setting still counts as one, so that what is wired to it is no problem.
    chips = {
        n for n, part in table.items() if isinstance(part, dict) and part.get("type") == "chip"
    }
    for name, part in parts.items():
        _check_ends(name, part, chips, devices, where, problems)
    _check_lines(parts, devices, where, problems)
    _check_delays(parts, kinds_of(devices), where, problems)
    return [(each.where, each.what, each.remedy) for each in problems]


def _part(name: str, described: Any, where: Places, problems: Problems) -> Part | None:
    """Return one part; None when it cannot be read, after adding why to `problems`."""
    if not isinstance(described, dict):
        remedy = f"Describe each part in a table [{TABLE}.NAME]."
        problems.add(where(name), f"{shown(described)} is not a table", remedy)
        return None
    kind = described.get("type")
    if kind is None:
        typo = nearest("type", described)
        remedy = f"Did you mean 'type' by '{typo}'?" if typo else _known()
        problems.add(where(name), "the part has no 'type'", remedy)
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        remedy = proposal(str(kind), KINDS, "types")
        problems.add(where(name, "type"), f"unknown type of part {shown(kind)}", remedy)
        return None
    rest = {key: value for key, value in described.items() if key != "type"}
    before = len(problems)
    for field in msgspec.structs.fields(KINDS[kind]):
        inner = rest.get(field.name)
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct) and inner:
            below = where.below(name, field.name)
            if isinstance(inner, dict):  # converted alone, for a proposal for a misspelt key
                convert(inner, field.type, problems, below, remedy=_SETTINGS)
    if len(problems) > before:
        return None
    return convert(rest, KINDS[kind], problems, where.below(name), ("type",), _SETTINGS)


def _known() -> str:
    return f"Types: {', '.join(KINDS)}."


def _check_ends(
    name: str,
    part: Part,
    chips: Collection[str],
    devices: Mapping[str, str],
    where: Places,
    problems: Problems,
) -> None:
    """Check that lines and scenes name devices or chips of the bench."""
    kinds = kinds_of(devices)
    for key, text in part.lines().items():
        try:
            device = parse_line(text, kinds).device
        except ValueError as error:
            problems.add(where(name, key), str(error))
            continue
        if device in chips and device != name:
            continue  # wired to a device under test
        if device not in devices:
            what = f"{shown(device)} is neither in the [devices] table nor a chip"
            problems.add(where(name, key), what, proposal(device, devices, "devices"))
        elif _is_scene(devices[device]):
            problems.add(where(name, key), f"{shown(device)} is a scene; scenes have no lines")
        elif isinstance(part, Sensor):
            inputs = kinds.get(device, UNO).analog_pins
            if parse_line(text, kinds).pin not in inputs:
                valid = f"(valid: A0 to A{len(inputs) - 1})"
                problems.add(where(name, key), f"'{text}' is not an analog input {valid}")
    scenes = [device for device, spec in devices.items() if _is_scene(spec)]
    simulated = [device for device, spec in devices.items() if str(spec).startswith(f"{TABLE}:")]
    board, key = part.board_key(), "i2c" if isinstance(part, Model) else "device"
    if board is not None and board not in devices and board not in chips:
        what = f"{shown(board)} is not in the [devices] table"
        problems.add(where(name, key), what, proposal(board, devices, "devices"))
    elif board in scenes:
        what = f"{shown(board)} is a scene, not a board"
        boards = set(simulated).difference(scenes)
        problems.add(where(name, key), what, proposal("", boards, "simulated boards"))
    scene = part.scene_key()
    if scene is None:
        return
    key = "device" if isinstance(part, Scene) else "scene"
    if scene not in devices:
        what = f"{shown(scene)} is not in the [devices] table"
        problems.add(where(name, key), what, proposal(scene, devices, "devices"))
    elif scene in simulated and scene not in scenes:
        what = f"{shown(scene)} is not a scene but {devices[scene]}"
        problems.add(where(name, key), what, proposal("", scenes, "scenes"))


def _is_scene(spec: object) -> bool:
    return str(spec).partition("?")[0] == f"{TABLE}:scene"


def _check_lines(
    parts: Mapping[str, Part], devices: Mapping[str, str], where: Places, problems: Problems
) -> None:
    """Check that each analog line, scene and board has one part, and each chip has wires."""
    analog: dict[str, str] = {}
    others: dict[str, str] = {}
    described: dict[str, str] = {}
    kinds = kinds_of(devices)
    for name, part in parts.items():
        lines = list(part.lines().items())
        if isinstance(part, Model) and part.i2c:
            pins = kinds.get(part.i2c, UNO).i2c_pins
            lines += [("i2c", f"{part.i2c}.{pin}") for pin in pins]
        for key, text in lines:
            try:
                line = str(parse_line(text, kinds))
            except ValueError:
                continue  # reported by _check_ends
            taken = analog if isinstance(part, Sensor) else others
            if line in analog or (isinstance(part, Sensor) and line in others):
                other = analog.get(line) or others[line]
                problems.add(where(name, key), f"the line is already used by the part '{other}'")
            taken.setdefault(line, name)
        if isinstance(part, Scene | Board) and described.setdefault(part.device, name) != name:
            what = f"the part '{described[part.device]}' already describes this {part.kind}"
            problems.add(where(name, "device"), what, "Remove one of the two parts.")
        kind = kinds.get(part.device) if isinstance(part, Board) else None
        if isinstance(part, Board) and part.adapter != "none" and kind and not kind.serial_pins:
            what = f"{kind.title} has no adapter: its processor has a USB of its own"
            problems.add(where(name, "adapter"), what, "Remove it.")
        if isinstance(part, Chip | Model) and name in devices:
            problems.add(where(name), "a device has this name", "Rename the part.")
        if isinstance(part, Chip | Model) and not part.wires and not part.board_key():
            problems.add(where(name, "wires"), "nothing is wired to it")


def _check_delays(
    parts: Mapping[str, Part],
    kinds: Mapping[str, BoardKind],
    where: Places,
    problems: Problems,
) -> None:
    """Check that no delayed wire closes a loop, in which a level would circulate for ever."""
    wires = [wire for name, part in parts.items() for wire in _connections(name, part, kinds)]
    nets: list[set[str]] = []
    for wire in sorted(wires, key=lambda wire: wire.delay_usec):
        touched = [net for net in nets if net & wire.ends]
        if wire.delay_usec and any(wire.ends <= net for net in touched):
            what = f"{' and '.join(sorted(wire.ends))} are already connected without this wire"
            problems.add(where(*wire.key), what, "Remove one: a level would circulate.")
        nets = [net for net in nets if net not in touched] + [wire.ends.union(*touched)]


class _Connection(NamedTuple):
    ends: set[str]
    """The lines that it connects with each other."""
    delay_usec: float
    key: tuple[str, ...]
    """Where its delay is in the table."""


def _connections(name: str, part: Part, kinds: Mapping[str, BoardKind]) -> list[_Connection]:
    """Return the connections that a part makes; none when a line cannot be parsed."""
    try:
        match part:
            case Wire():
                ends = {str(parse_line(end, kinds)) for end in part.ends}
                return [_Connection(ends, part.delay_usec, (name, "delay_usec"))]
            case Chip():
                own = {pin: str(Line(name, UNO.pin(pin))) for pin in part.wires}
            case Model():
                own = {pin: f"{name}.{pin}" for pin in part.wires}
            case _:
                return []
        return [
            _Connection(
                {own[pin], str(parse_line(end, kinds))},
                part.delays_usec.get(pin, 0.0),
                (name, "delays_usec", pin),
            )
            for pin, end in part.wires.items()
        ]
    except ValueError:
        return []  # reported by _check_ends
