"""Finds the LEDs that a bench's virtual cameras film, and where each is in the picture."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from mlink.bench import Bench
from mlink_hil.board_kinds import kinds_of
from mlink_hil.sim.plan import LED_AT, LED_SIZE
from mlink_hil.wiring.lines import parse_line
from mlink_hil.wiring.scene_parts import Led
from mlink_hil.wiring.table import TABLE, read_parts


class Light(NamedTuple):
    """An LED: the scene that shows it, its line such as "uno.8", and its place in the picture."""

    scene: str
    line: str
    at: tuple[float, float]
    """Its middle: shares of width and height."""
    size: float
    """Its radius, as a share of the width."""

    def area(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the square around its middle as (x, y, width, height), in pixels.

        Args:
            width: Of the picture, in pixels.
            height: Of the picture, in pixels.
        """
        half = max(3, int(width * self.size)) // 2
        left, top = round(width * self.at[0]) - half, round(height * self.at[1]) - half
        return left, top, 2 * half, 2 * half


def lights(bench: Bench) -> list[Light]:
    """Return the LEDs of the bench's virtual scenes, of its table and of its device strings."""
    kinds = kinds_of(bench.used_devices())
    found = [
        Light(part.scene, str(parse_line(part.line, kinds)), part.at, part.size)
        for part in read_parts(bench.tables.get(TABLE, {})).values()
        if isinstance(part, Led) and bench.device_spec(part.scene).startswith(f"{TABLE}:")
    ]
    described = {light.scene for light in found}
    for name, spec in bench.used_devices().items():
        query = dict(parse_qsl(spec.partition("?")[2]))
        if "led" in query and name not in described:
            line = f"{query.get('board', '')}.{query['led']}"
            found.append(Light(name, line, LED_AT, LED_SIZE))
    return found
