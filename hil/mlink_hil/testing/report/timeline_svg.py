"""A test's timeline as SVG: waves for lines, curves for values, ticks for frames and rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

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
_COLOURS = 4
"""Of rows: classes "c0" to "c3" of the style sheet."""
_TOO_MANY = "more events than the report keeps"
HATCH = (
    '<pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern>'
)
"""Fill of what is unknown; once in a document."""


class _Known(NamedTuple):
    """What is known of a channel beside its events."""

    before: float | None
    """Its value at the start."""
    until: float | None
    """Master time in µs from which on events were left out; None where none were."""


def timeline_svg(test: dict[str, Any]) -> str:
    """Return the drawing of a test's evidence; "" when nothing happened.

    Args:
        test: What `evidence.gather` returned.
    """
    channels: dict[str, list[list[Any]]] = {
        **{name: [] for name in test.get("watched", ()) if _is_level(name)},
        **{name: [] for name, level in test.get("before", {}).items() if level in (0, 1)},
        **test.get("channels", {}),
    }  # a line that stays as it was is drawn, too: often it is the one that should have changed
    faults: list[list[Any]] = test.get("faults", [])
    if not test.get("channels") and not faults:
        return ""
    drawing = _Drawing(test["began_usec"], test["end_usec"])
    points = {*test.get("rows", ()), *test.get("frames", ())}  # no levels: drawn as ticks
    lines = {name for name in channels if name not in points and _is_line(channels[name])}
    channels = {name: events for name, events in channels.items() if events or name not in points}
    others = {name for name in channels if not channels[name]} - {*test.get("watched", ())}
    order = {name: (name in others, name not in lines, name in points, name) for name in channels}
    names = sorted(channels, key=order.__getitem__)[: _MAX_CHANNELS - len(faults)]
    bottom = _TOP + _ROW * (len(names) + len(faults))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _AXIS}" xmlns="http://www.w3.org/2000/svg" '
        'role="img" aria-label="timeline">',
        drawing.axis(bottom),
        *(drawing.mark(bottom, "deadline", *each) for each in test["deadlines"]),
        *(drawing.mark(bottom, "stimulus", *each) for each in test["stimuli"]),
        drawing.labels(test["stimuli"]),
    ]
    base = _TOP + _WAVE
    for begin_usec, end_usec, text in faults:
        parts += [_name(f"fault: {text}", base), drawing.bar(begin_usec, end_usec, base, text)]
        base += _ROW
    for number, name in enumerate(names):
        events = channels[name]
        known = _Known(test["before"].get(name), test.get("cut", {}).get(name))
        draw = drawing.wave if name in lines else drawing.curve
        row = drawing.ticks(events, base) if name in points else draw(events, known, base)
        parts += [_name(name, base), f'<g class="c{number % _COLOURS}">{row}</g>']
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

    def wave(self, events: list[list[Any]], known: _Known, base: float) -> str:
        """Draw a line's level, high or low, and where it is unknown.

        Args:
            events: [time, level, how much earlier and later it may have been, whether events
                before it may be missing] of each.
            known: What is known beside.
            base: Lower edge of the row, in units of the drawing.
        """
        high = base - _WAVE + 2
        return self._steps([(e, high if e[1] else base) for e in events], known, base,
                           lambda level: high if level else base)  # fmt: skip

    def curve(self, events: list[list[Any]], known: _Known, base: float) -> str:
        """Draw values as steps, scaled from the lowest to the highest; as `wave`."""
        values = [event[1] for event in events]
        values += [] if known.before is None else [known.before]
        low, span = min(values), (max(values) - min(values)) or 1.0

        def y(value: float) -> float:
            return float(round(base - (_WAVE - 2) * (value - low) / span, 2))

        title = f"{low:g} to {max(values):g}"
        return self._steps([(event, y(event[1])) for event in events], known, base, y, title)

    def _steps(
        self,
        places: Sequence[tuple[list[Any], float]],
        known: _Known,
        base: float,
        y_of: Callable[[float], float],
        title: str = "",
    ) -> str:
        stretches: list[list[tuple[float, float]]] = []
        parts, since = [], float(self._start)
        if known.before is not None:
            stretches.append([(self.x(self._start), y_of(known.before))])
        for event, y in places:
            x = self.x(event[0])
            if stretches and not any(event[4:5]):
                stretches[-1] += [(x, stretches[-1][-1][1]), (x, y)]
            else:
                why = "events before may be missing" if stretches else "no event before"
                parts.append(self._unknown(since, event[0], base, why))
                stretches.append([(x, y)])
            if (early := self.x(event[0] - event[2])) + 2 < (late := self.x(event[0] + event[3])):
                parts.append(
                    f'<rect class="unsure" x="{early}" y="{base - _WAVE}" '
                    f'width="{round(late - early, 2)}" height="{_WAVE}"/>'
                )
            since = event[0]
        end = self._start + self._span if known.until is None else known.until
        if not stretches:
            parts.append(self._unknown(self._start, end, base, "nothing came"))
        else:
            stretches[-1].append((self.x(end), stretches[-1][-1][1]))
        for each in stretches:
            points = " ".join(f"{x},{y}" for x, y in each)
            edge = f"{each[0][0]},{base} {points} {each[-1][0]},{base}"
            parts.append(f'<polygon class="area" points="{edge}"/>')
            shown = f"<title>{escape(title)}</title>" if title else ""
            parts.append(f'<polyline class="wave" points="{points}">{shown}</polyline>')
        if known.until is not None:
            parts.append(self._unknown(known.until, self._start + self._span, base, _TOO_MANY))
        return "".join(parts)

    def _unknown(self, begin_usec: float, end_usec: float, base: float, why: str) -> str:
        """Hatch the time of which nothing is known."""
        x, end = self.x(begin_usec), self.x(end_usec)
        return (
            f'<rect class="unknown" x="{x}" y="{base - _WAVE + 2}" '
            f'width="{round(end - x, 2)}" height="{_WAVE - 2}" fill="url(#unknown)">'
            f"<title>unknown: {escape(why)}</title></rect>"
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


def _is_level(name: str) -> bool:
    """Return whether a channel is a line: "device.pin" or "module.port.line"."""
    return name.rpartition(".")[2].isdecimal()


def _is_line(events: list[list[Any]]) -> bool:
    return all(event[1] in (0, 1) for event in events)
