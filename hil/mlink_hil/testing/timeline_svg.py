"""A timeline of a test as SVG: a wave for each line, a tick for each frame or row."""

from __future__ import annotations

from html import escape
from typing import Any

_WIDTH = 900
_LEFT = 190
_ROW = 26
_WAVE = 14
_TOP = 34
_MOST_CHANNELS = 16


def timeline_svg(test: dict[str, Any]) -> str:
    """Return the drawing of a test's evidence; empty when nothing happened."""
    channels: dict[str, list[list[float]]] = test.get("channels", {})
    if not channels:
        return ""
    drawing = _Drawing(test["began_usec"], test["end_usec"])
    rows = test.get("rows", ())  # they have no level

    def is_line(name: str) -> bool:
        return name not in rows and _is_line(channels[name])

    names = sorted(channels, key=lambda name: (not is_line(name), name))
    names = names[:_MOST_CHANNELS]
    height = _TOP + _ROW * len(names) + 20
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg" role="img">']
    for time_usec, text in test["deadlines"]:
        parts.append(drawing.mark(time_usec, height, "deadline", f"deadline: {text}"))
    for time_usec, text in test["stimuli"]:
        parts.append(drawing.mark(time_usec, height, "stimulus", text))
    for row, name in enumerate(names):
        base = _TOP + _ROW * row + _WAVE
        parts.append(f'<text x="{_LEFT - 8}" y="{base}" class="name">{escape(name)}</text>')
        events = channels[name]
        if is_line(name):
            parts.append(drawing.wave(events, test["before"].get(name), base))
        else:
            parts.append(drawing.ticks(events, base))
    parts.append(drawing.axis(height))
    return "".join(parts) + "</svg>"


class _Drawing:
    """Places master times on the picture."""

    def __init__(self, start_usec: int, end_usec: int) -> None:
        self._start = start_usec
        self._span = max(end_usec - start_usec, 1)

    def x(self, time_usec: float) -> float:
        """Return the place of a time, in the picture's units."""
        share = min(max((time_usec - self._start) / self._span, 0.0), 1.0)
        return round(_LEFT + share * (_WIDTH - _LEFT - 10), 2)

    def wave(self, events: list[list[float]], before: float | None, base: float) -> str:
        level = bool(before) if before is not None else not events[0][1]
        points = [f"{_LEFT},{self._y(level, base)}"]
        for time_usec, value, *_ in events:
            x = self.x(time_usec)
            points += [f"{x},{self._y(level, base)}", f"{x},{self._y(bool(value), base)}"]
            level = bool(value)
        points.append(f"{_WIDTH - 10},{self._y(level, base)}")
        return f'<polyline class="wave" points="{" ".join(points)}"/>'

    def ticks(self, events: list[list[float]], base: float) -> str:
        path = "".join(f"M{self.x(event[0])} {base - _WAVE + 4}V{base}" for event in events)
        return f'<path class="tick" d="{path}"/>'

    def mark(self, time_usec: int, height: int, kind: str, text: str) -> str:
        x = self.x(time_usec)
        return (
            f'<path class="{kind}" d="M{x} {_TOP - 10}V{height - 18}">'
            f"<title>{escape(text)}</title></path>"
        )

    def axis(self, height: int) -> str:
        labels = []
        for step in range(5):
            usec = self._start + self._span * step // 4
            anchor = "end" if step == 4 else "middle" if step else "start"
            labels.append(
                f'<text x="{self.x(usec)}" y="{height - 4}" text-anchor="{anchor}" '
                f'class="axis">{usec / 1000:.1f} ms</text>'
            )
        return "".join(labels)

    @staticmethod
    def _y(level: bool, base: float) -> float:
        return base - _WAVE + 2 if level else base


def _is_line(events: list[list[float]]) -> bool:
    return all(event[1] in (0, 1) for event in events)
