"""Value change dump (IEEE 1364 §18) of lines, frames and readings, for GTKWave and sigrok."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlink_hil.testing.observed.events import Event

_FIRST, _LAST = 33, 126  # printable characters, of which identifiers consist


def write_vcd(
    path: Path, channels: Mapping[str, Sequence[Event]], *, began_usec: int, end_usec: int
) -> None:
    """Write a VCD file.

    Args:
        path: The file.
        channels: Channel → its events, in order of time.
        began_usec: Master time that is time 0 of the file.
        end_usec: Master time at which the file ends.
    """
    path.write_text("\n".join(vcd_lines(channels, began_usec, end_usec)) + "\n", encoding="utf-8")


def vcd_lines(
    channels: Mapping[str, Sequence[Event]], began_usec: int, end_usec: int
) -> Iterable[str]:
    """Yield the lines of a VCD file; rows are left out.

    A channel that has only the values 0 and 1 is a wire, any other is a real. The arguments are
    those of `write_vcd`.
    """
    shown = {
        channel: events
        for channel, events in channels.items()
        if events and not any(event.cells for event in events)
    }
    wires = {channel for channel, events in shown.items() if all(e.value in (0, 1) for e in events)}
    codes = {channel: _code(number) for number, channel in enumerate(shown)}
    yield f"$comment made by mlink; time 0 is master time {began_usec} us $end"
    yield "$timescale 1 us $end"
    yield "$scope module bench $end"
    for channel, code in codes.items():
        kind = "wire 1" if channel in wires else "real 64"
        yield f"$var {kind} {code} {_identifier(channel)} $end"
    yield "$upscope $end"
    yield "$enddefinitions $end"
    yield "#0"  # sigrok ignores values before the first time
    yield "$dumpvars"
    for channel, code in codes.items():
        first = shown[channel][0].previous
        if channel in wires:
            yield f"{'x' if first is None else int(bool(first))}{code}"
        else:
            yield f"r{0 if first is None else first:.16g} {code}"
    yield "$end"
    events = sorted(
        ((event.time_usec - began_usec, event) for each in shown.values() for event in each),
        key=lambda pair: pair[0],
    )
    now = 0
    for time_usec, event in events:
        at = max(time_usec, 0)
        if at != now:
            now = at
            yield f"#{at}"
        code = codes[event.channel]
        if event.channel in wires:
            yield f"{int(event.value)}{code}"
        else:
            yield f"r{event.value:.16g} {code}"
    yield f"#{max(end_usec - began_usec, now + 1)}"


def _code(number: int) -> str:
    """Return the identifier code of the n-th variable."""
    base = _LAST - _FIRST + 1
    code = chr(_FIRST + number % base)
    while number := number // base:
        code += chr(_FIRST + number % base)
    return code


def _identifier(channel: str) -> str:
    """Return a channel's name as viewers accept it: no blanks, no dots (they separate scopes)."""
    return re.sub(r"[^\w]+", "_", channel).strip("_")
