"""A test's timeline as SVG: waves for lines, curves for values, ticks for frames and rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH = 900
"""Of the drawing, in its units; all other sizes are in them, too."""
_LEFT = 190
_RIGHT = _WIDTH - 10
_ROW = 26
_WAVE = 14
_TOP = 34
_AXIS = 24
_MAX_CHANNELS = 16
_MAX_AXIS_LABELS = 6
_LETTER = 6
"""Approximate width of a letter."""


def timeline_svg(test: dict[str, Any]) -> str:
    """Return the drawing of a test's evidence; "" when nothing happened.

    Args:
        test: What `evidence.gather` returned.
    """
    channels: dict[str, list[list[float]]] = test.get("channels", {})
    faults: list[list[Any]] = test.get("faults", [])
    if not channels and not faults:
        return ""
    drawing = _Drawing(test["began_usec"], test["end_usec"])
    points = {*test.get("rows", ()), *test.get("frames", ())}  # no levels: drawn as ticks
    lines = {name for name in channels if name not in points and _is_line(channels[name])}
    order = {name: (name not in lines, name in points, name) for name in channels}
    names = sorted(channels, key=order.__getitem__)[: _MAX_CHANNELS - len(faults)]
    bottom = _TOP + _ROW * (len(names) + len(faults))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _AXIS}" xmlns="http://www.w3.org/2000/svg" '
        'role="img">',
        drawing.axis(bottom),
        *(drawing.mark(bottom, "deadline", *each) for each in test["deadlines"]),
        *(drawing.mark(bottom, "stimulus", *each) for each in test["stimuli"]),
        drawing.labels(test["stimuli"]),
    ]
    base = _TOP + _WAVE
    for begin_usec, end_usec, text in faults:
        parts += [_name(f"fault: {text}", base), drawing.bar(begin_usec, end_usec, base, text)]
        base += _ROW
    for name in names:
        events = channels[name]
        parts.append(_name(name, base))
        if name in lines:
            parts.append(drawing.wave(events, test["before"].get(name), base))
        elif name in points:
            parts.append(drawing.ticks(events, base))
        else:
            parts.append(drawing.curve(events, test["before"].get(name), base))
        base += _ROW
    return "".join(parts) + "</svg>"


class _Drawing:
    """Draws at master times; every method returns SVG elements."""

    def __init__(self, start_usec: int, end_usec: int) -> None:
        self._start = start_usec
        self._span = max(end_usec - start_usec, 1)

    def x(self, time_usec: float) -> float:
        """Return the x coordinate of a time, within the drawing."""
        share = min(max((time_usec - self._start) / self._span, 0.0), 1.0)
        return round(_LEFT + share * (_RIGHT - _LEFT), 2)

    def wave(self, events: list[list[float]], before: float | None, base: float) -> str:
        """Draw a line's level, high or low; `before` is the level before the first event."""
        level = bool(before) if before is not None else not events[0][1]
        steps = [(self._start, level), *((event[0], bool(event[1])) for event in events)]
        return self._steps([(at, base - (_WAVE - 2) * high) for at, high in steps])

    def curve(self, events: list[list[float]], before: float | None, base: float) -> str:
        """Draw values as steps, scaled from the lowest to the highest."""
        values = [event[1] for event in events] + ([] if before is None else [before])
        low, span = min(values), (max(values) - min(values)) or 1.0
        steps: list[tuple[float, float]] = [] if before is None else [(self._start, before)]
        steps += [(event[0], event[1]) for event in events]
        places = [(at, round(base - (_WAVE - 2) * (value - low) / span, 2)) for at, value in steps]
        return self._steps(places, f"{low:g} to {max(values):g}")

    def _steps(self, places: Sequence[tuple[float, float]], title: str = "") -> str:
        points, last = [], places[0][1]
        for at, y in places:
            points += [f"{self.x(at)},{last}", f"{self.x(at)},{y}"]
            last = y
        points.append(f"{_RIGHT},{last}")
        return (
            f'<polyline class="wave" points="{" ".join(points)}">'
            f"<title>{escape(title)}</title></polyline>"
        )

    def ticks(self, events: list[list[float]], base: float) -> str:
        """Draw a short vertical line for each event."""
        path = "".join(f"M{self.x(event[0])} {base - _WAVE + 4}V{base}" for event in events)
        return f'<path class="tick" d="{path}"/>'

    def bar(self, begin_usec: int, end_usec: int, base: float, text: str) -> str:
        """Draw the time of a fault, at least 2 units wide.

        Args:
            begin_usec: Its begin, in µs of the master timer.
            end_usec: Its end.
            base: Lower edge of the row, in units of the drawing.
            text: Shown when the mouse is on it.
        """
        x = self.x(begin_usec)
        width = max(round(self.x(end_usec) - x, 2), 2)
        return (
            f'<rect class="fault" x="{x}" y="{base - _WAVE + 2}" width="{width}" '
            f'height="{_WAVE - 2}"><title>{escape(text)}</title></rect>'
        )

    def mark(self, bottom: int, kind: str, time_usec: int, text: str) -> str:
        """Draw a moment, if it is in the drawing: a deadline may be after the test's end.

        Args:
            bottom: Lower edge of the line, in units of the drawing.
            kind: Its class in the style sheet, and the begin of the text.
            time_usec: The moment, in µs of the master timer.
            text: Shown when the mouse is on it.
        """
        if not 0 <= time_usec - self._start <= self._span:
            return ""
        return (
            f'<path class="{kind}" d="M{self.x(time_usec)} {_TOP - 8}V{bottom}">'
            f"<title>{kind}: {escape(text)}</title></path>"
        )

    def labels(self, marks: list[list[Any]]) -> str:
        """Write the stimuli above their marks, leaving out those that would overlap."""
        parts, free = [], 0.0
        for time_usec, text in marks:
            what = str(text).partition(" at ")[0]
            half = len(what) * _LETTER / 2
            x = min(max(self.x(time_usec), _LEFT + half), _RIGHT - half)
            if x - half >= free:
                parts.append(f'<text x="{x}" y="{_TOP - 12}" class="axis">{escape(what)}</text>')
                free = x + half + _LETTER
        return "".join(parts)

    def axis(self, bottom: int) -> str:
        """Draw an axis with round times."""
        step = _round_step(self._span / _MAX_AXIS_LABELS)
        unit, scale = ("s", 1e6) if step >= 500_000 else ("ms", 1e3)
        digits = max(0, -math.floor(math.log10(step / scale) + 1e-9))
        parts = []
        for number in range(
            math.ceil(self._start / step), int((self._start + self._span) // step) + 1
        ):
            x, text = self.x(number * step), f"{number * step / scale:.{digits}f} {unit}"
            half = len(text) * _LETTER / 2
            place = min(max(x, _LEFT + half), _RIGHT - half)
            parts.append(f'<path class="grid" d="M{x} {_TOP - 8}V{bottom + 4}"/>')
            parts.append(f'<text x="{place}" y="{bottom + 18}" class="axis">{text}</text>')
        return "".join(parts)


def _name(text: str, base: float) -> str:
    return f'<text x="{_LEFT - 8}" y="{base}" class="name">{escape(text)}</text>'


def _round_step(usec: float) -> float:
    """Return the lowest of 1, 2, 5, 10, 20, … that is not below a time."""
    power: float = 10.0 ** math.floor(math.log10(max(usec, 1)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= usec * (1 - 1e-9))


def _is_line(events: list[list[float]]) -> bool:
    return all(event[1] in (0, 1) for event in events)
