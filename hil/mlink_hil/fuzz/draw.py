"""What a seed draws: a pure function of the seed, the kinds that are on, and the bench.

Each drawn value has random numbers of its own, which depend on the seed and the value's name only.
So to switch one kind off, or to change the bench elsewhere, leaves all other values as they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from mlink.bench import Bench, load_bench
from mlink.engine.options import RunOptions
from mlink.errors import BenchError
from mlink.proposals import proposal
from mlink_hil.board_choice import is_board
from mlink_hil.fuzz.limits import KINDS, Between, Limits, limits_of
from mlink_hil.uno import MOST_CLOCK_PPM
from mlink_hil.wiring.circuit_parts import MAX_DELAY_USEC, Button, Chip, Model, Wire
from mlink_hil.wiring.part import Part
from mlink_hil.wiring.table import TABLE, check_table, read_parts

_SEEDS = 1 << 31
_DIGITS = 3
"""Digits of drawn times and errors after the point: commands and messages stay readable."""


class Draw(NamedTuple):
    """A seed, and the kinds of disturbances that are on."""

    seed: int
    kinds: frozenset[str] = frozenset(KINDS)

    @property
    def names(self) -> list[str]:
        """The kinds in their usual order."""
        return [kind for kind in KINDS if kind in self.kinds]

    def __str__(self) -> str:
        """Return the draw as `parse_draw` reads it."""
        return f"{self.seed}:{','.join(self.names)}"


def parse_draw(text: str) -> Draw:
    """Return the draw that a text such as "731" or "731:phases,order" means.

    Raises:
        BenchError: It is no such text.
    """
    number, colon, kinds = text.partition(":")
    if not (number.isdecimal() and number.isascii()):
        raise BenchError(
            f"{text!r} is not a seed", remedy='Write a whole number, or "731:phases,order".'
        )
    return Draw(int(number), parse_kinds(kinds) if colon else frozenset(KINDS))


def parse_kinds(text: str) -> frozenset[str]:
    """Return the kinds in a list with commas; an empty text means none.

    Raises:
        BenchError: A kind is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise BenchError(
                f"there is no kind of disturbance {name!r}", remedy=proposal(name, KINDS, "kinds")
            )
    return frozenset(names)


class Drawn(NamedTuple):
    """One drawn value."""

    kind: str
    where: Literal["setting", "device", "fault", "order"]
    name: str
    """A setting as --set names it, or the name of a device."""
    value: Any
    option: str = ""
    """Option of a device string."""

    def __str__(self) -> str:
        name = f"{self.name} {self.option}" if self.option else self.name
        return f"{name} = {json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A bench with what a seed has drawn."""

    bench: Bench
    drawn: list[Drawn]
    draw: Draw

    def options(self, options: RunOptions) -> RunOptions:
        """Return the options of a run with the drawn order, and with the draw in its recording.

        Raises:
            BenchError: The run is in real time.
        """
        virtual = options.virtual
        if virtual is None:
            raise BenchError(
                "disturbances of a seed need virtual time", remedy="Add --mlink-time virtual."
            )
        seeds = [each.value for each in self.drawn if each.where == "order"]
        if seeds:
            virtual = replace(virtual, order_seed=seeds[0])
        attributes = {**options.attributes, "fuzz": str(self.draw)}
        return replace(options, virtual=virtual, attributes=attributes)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of which something was drawn: the others change nothing in this bench."""
        return frozenset(each.kind for each in self.drawn)


def disturb(
    path: Path, draw: Draw, *, devices: Path | None = None, overrides: Sequence[str] = ()
) -> Disturbed:
    """Load a bench with what a seed draws for it.

    Args:
        path: The bench file.
        draw: The seed, and the kinds that are on.
        devices: A devices file.
        overrides: The user's settings; drawn ones come after them.

    Raises:
        BenchError: The bench is wrong, or a drawn setting is.
    """
    # What needs real time is refused by the run: a test may leave it out.
    bench = load_bench(path, devices=devices, overrides=overrides, time="real")
    drawn = list(_draw_all(bench, draw))
    if settings := [each for each in drawn if each.where == "setting"]:
        texts = [f"{each.name}={json.dumps(each.value)}" for each in settings]
        overrides = [*overrides, *texts]
        bench = load_bench(path, devices=devices, overrides=overrides, time="real")
    specs = dict(bench.devices)
    faults = list(bench.companions.get("faults", []))
    for each in drawn:
        if each.where == "device":
            specs[each.name] = _with_option(
                specs.get(each.name, each.name), each.option, each.value
            )
        elif each.where == "fault":
            faults.append(each.value)
    companions = bench.companions | ({"faults": faults} if faults else {})
    bench = replace(bench, devices=specs, companions=companions, time="virtual", speed=None)
    return Disturbed(bench, drawn, draw)


def _options_of(spec: str) -> dict[str, str]:
    return dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))


def _with_option(spec: str, option: str, value: object) -> str:
    options = _options_of(spec) | {option: str(value)}
    query = "&".join(f"{key}={text}" for key, text in options.items())
    return f"{spec.partition('?')[0]}?{query}"


def _draw_all(bench: Bench, draw: Draw) -> Iterator[Drawn]:
    limits = limits_of(bench)
    by_kind = {
        "bounce": _bounces,
        "wires": _wires,
        "crystals": _crystals,
        "phases": _phases,
        "bytes": _bytes,
        "order": _order,
        "seeds": _seeds,
        "settings": _settings,
    }
    for kind in draw.names:
        yield from by_kind[kind](bench, limits, _Source(draw.seed, kind))


class _Source:
    """Random numbers of one kind: `of(name)` depends on the seed, the kind and the name only."""

    def __init__(self, seed: int, kind: str) -> None:
        self._seed, self._kind = seed, kind

    def of(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {self._kind} {name}")  # noqa: S311 - no secret

    def seed(self, name: str) -> int:
        return self.of(name).randrange(_SEEDS)

    def setting(self, name: str, value: Any) -> Drawn:
        """Return a drawn setting, named as --set names it."""
        return Drawn(self._kind, "setting", name, value)

    def part(self, name: str, key: str, value: Any) -> Drawn:
        """Return a drawn setting of a part in the `[virtual]` table."""
        return self.setting(f"{TABLE}.{name}.{key}", value)

    def device(self, name: str, option: str, value: Any) -> Drawn:
        """Return a drawn option of a device string."""
        return Drawn(self._kind, "device", name, value, option)


def _virtual(bench: Bench, *kinds: type) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the `[virtual]` table that are of some kinds."""
    for name, part in read_parts(bench.tables.get(TABLE, {})).items():
        if isinstance(part, kinds):
            yield name, part


def _devices(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield name and device string of each simulated device that modules use."""
    for name, spec in bench.used_devices().items():
        if spec.startswith("virtual:"):
            yield name, spec


def _bounces(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    for name, part in _virtual(bench, Button):
        bounce, pattern = part.bounce, part.bounce.pattern_usec
        most = len(pattern) // 2 or bounce.count or limits.bounces
        longest_usec = limits.bounce_usec
        if pattern or bounce.count:
            longest_usec = max(pattern, default=bounce.longest_usec)
        if not most:
            continue
        if pattern:
            yield source.part(name, "bounce.pattern_usec", [])
        chance = source.of(name)
        yield source.part(name, "bounce.count", chance.randint(0, most))
        usec = chance.uniform(1, max(1, longest_usec))
        yield source.part(name, "bounce.longest_usec", round(usec, _DIGITS))
        yield source.part(name, "bounce.seed", chance.randrange(_SEEDS))


def _wires(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    """Draw delays, but for wires that would then close a loop."""
    if not limits.wire_usec:
        return
    table = dict(bench.tables.get(TABLE, {}))
    for name, part in _virtual(bench, Wire, Chip, Model):
        delays = {} if isinstance(part, Wire) else dict.fromkeys(part.wires, 0.0) | part.delays_usec
        if isinstance(part, Wire) and len(part.ends) == 2:
            delays[""] = part.delay_usec
        for pin, own_usec in delays.items():
            added = source.of(f"{name} {pin}").uniform(0, limits.wire_usec)
            usec = round(min(own_usec + added, MAX_DELAY_USEC), _DIGITS)
            known = table[name]
            late = known.get("delays_usec", {}) | {pin: usec}
            changed = {"delays_usec": late} if pin else {"delay_usec": usec}
            tried = table | {name: known | changed}
            if check_table(tried, bench.devices, bench.dir):
                continue
            table = tried
            yield source.part(name, f"delays_usec.{pin}" if pin else "delay_usec", usec)


def _crystals(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    if not limits.crystal_ppm:
        return

    def ppm(name: str, own: float) -> float:
        error = own + source.of(name).uniform(-limits.crystal_ppm, limits.crystal_ppm)
        return round(min(max(error, -MOST_CLOCK_PPM), MOST_CLOCK_PPM), _DIGITS)

    for name, spec in _devices(bench):
        if is_board(spec):
            own = _options_of(spec).get("clock_ppm", "0")
            yield source.device(name, "clock_ppm", ppm(name, _number(own)))
    for name, part in _virtual(bench, Chip):
        yield source.part(name, "clock_ppm", ppm(name, part.clock_ppm))


def _number(text: str) -> float:
    """Return an option's number; 0 for what is none, which the run then reports."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _phases(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    if not limits.phase_usec:
        return
    for name, _ in _devices(bench):
        yield source.device(name, "phase_usec", source.of(name).randint(0, limits.phase_usec))
    for name, _ in _virtual(bench, Chip):
        usec = source.of(name).uniform(0, limits.phase_usec)
        yield source.part(name, "phase_usec", round(usec, _DIGITS))


def _bytes(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    if not (limits.drop or limits.corrupt):
        return
    noise = {"kind": "line-noise", "at_sec": 0.0, "drop": limits.drop, "corrupt": limits.corrupt}
    for name, spec in _devices(bench):
        if is_board(spec):
            drawn = noise | {"target": name, "seed": source.seed(name)}
            yield Drawn("bytes", "fault", name, drawn)


def _order(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    if limits.order and len(bench.modules) > 1:
        yield Drawn("order", "order", "order of equal times", source.seed(""))


def _seeds(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:
    if not limits.seeds:
        return
    for name, part in _virtual(bench, Part):
        if hasattr(part, "seed"):
            yield source.part(name, "seed", source.seed(f"{TABLE} {name}"))
    for name, module in bench.modules.items():
        if hasattr(module.settings, "seed"):
            yield source.setting(f"{name}.seed", source.seed(name))


def _settings(bench: Bench, limits: Limits, source: _Source) -> Iterator[Drawn]:  # noqa: ARG001
    for name, values in limits.settings.items():
        chance = source.of(name)
        if not isinstance(values, Between):
            value = chance.choice(values)
        elif isinstance(values.min, int) and isinstance(values.max, int):
            value = chance.randint(values.min, values.max)
        else:
            value = chance.uniform(values.min, values.max)
        yield source.setting(name, value)
