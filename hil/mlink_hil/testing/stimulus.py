"""What a test drives: pins of virtual boards, and lines of real ones that are wired to testers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlink.errors import DeviceError
from mlink.tap.link import TapLink
from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.control.messages import Edge
from mlink_hil.control.socket_path import control_path
from mlink_hil.control.watcher import BoardLink
from mlink_hil.testing.host.starvation import Starvation
from mlink_hil.testing.names import Names
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks

_PIN_UNCERTAINTY_USEC = 1
"""Uncertainty of a virtual board's edges: their cycle is known exactly, µs are rounded."""

_COMMAND_TIMES = 3
"""A command to a tester takes effect within so many times the uncertainty of its readings: three
bytes on the wire, then one loop of the firmware."""


class Stimulus:
    """Drives and reads the lines of one run's boards.

    Args:
        boards: Links to the virtual boards by device; `connect` fills it, `close` empties it.
        names: Finds channels, and knows which lines are wired to testers.
        history: Receives the edges of virtual boards' pins.
        tap: Sends commands to testers.
        starvation: Counts the host's delays from each stimulus on.
    """

    def __init__(
        self,
        boards: dict[str, BoardLink],
        names: Names,
        history: History,
        tap: TapLink,
        starvation: Starvation,
    ) -> None:
        self._boards = boards
        self._names = names
        self._history = history
        self._tap = tap
        self._starvation = starvation
        self.commanded = True
        """Whether a module of the bench commands boards; else what pins do is simulated alone."""
        self.wakes = False
        """In virtual time: whether the simulation stops at each edge, for the test to see it."""

    def connect(
        self, work_dir: Path, devices: Iterable[str], kinds: Mapping[str, BoardKind]
    ) -> None:
        """Connect to the virtual boards among some devices, and release all wired lines.

        Args:
            work_dir: The run's folder, in which virtual boards have their control sockets.
            devices: Names of devices and chips; those without a control socket are left out.
            kinds: What each board is; a chip has the pins of an Uno.
        """
        for device in devices:
            control = control_path(work_dir, device)
            if not control.is_socket():
                continue  # a real board, or a camera

            def note(edge: Edge, device: str = device) -> None:
                self._history.add([self._pin_event(device, edge.pin, edge.level, edge.time_ns)])

            with contextlib.suppress(DeviceError):  # unplugged at once: the run reports that
                pins = kinds.get(device, UNO).user_pins
                self._boards[device] = BoardLink(control, note, pins=pins, wake=self.wakes)
        for wire in self._names.wires.values():
            tester, _, line = wire.partition(".")
            self._tap.drive(tester, int(line), None)

    def close(self) -> None:
        """Disconnect from the virtual boards."""
        for link in self._boards.values():
            link.close()
        self._boards.clear()

    def drives(self, device: str, pin: int) -> bool:
        """Return whether a test can drive this line."""
        return device in self._boards or f"{device}.{pin}" in self._names.wires

    def drive(self, device: str, pin: int, level: bool | None) -> Event:
        """Drive a line to a level, or (None) release it; return when that took effect.

        Raises:
            DeviceError: The board is real and this line is not wired to a tester, or a virtual
                board is gone or has no such pin.
            ControlError: The run has ended.
        """
        self._starvation.mark()
        noted_ns = time.monotonic_ns()
        if wire := self._names.wires.get(f"{device}.{pin}"):
            return self._drive_wired(wire, f"{device}.{pin}", level, noted_ns)
        link = self._boards.get(device)
        if link is None:
            raise DeviceError(
                f"line {pin} of '{device}' is not wired to a tester",
                remedy=f'Wire it to a line of a tester board, and add "{device}.{pin}" to '
                "[wiring] of the file given by --mlink-devices.",
            )
        reply = link.drive(pin, level)
        return self._pin_event(
            device, pin, reply.level, reply.time_ns, caused=True, noted_ns=noted_ns
        )

    def level(self, device: str, pin: int) -> bool:
        """Return what a line reads now (virtual boards), or has last reported (real ones)."""
        if link := self._boards.get(device):
            return link.read(pin).level
        last = self._history.last(self._names.line_channel(pin, device))
        return last is not None and bool(last.value)

    def _pin_event(
        self,
        device: str,
        pin: int,
        level: bool,
        time_ns: int,
        *,
        caused: bool = False,
        noted_ns: int = 0,
    ) -> Event:
        bound = _PIN_UNCERTAINTY_USEC
        return Event(
            f"{device}.{pin}",
            self._tap.to_usec(time_ns),
            int(level),
            bound,
            bound,
            caused=caused,
            exact=caused or not self.commanded,
            previous=int(not level),
            noted_ns=noted_ns or time.monotonic_ns(),
        )

    def _drive_wired(self, wire: str, channel: str, level: bool | None, noted_ns: int) -> Event:
        """Drive by the tester; that takes effect when its firmware has received the command."""
        tester, _, line = wire.partition(".")
        self._tap.drive(tester, int(line), level)
        stream = self._names.reading_channel(int(line), tester).rpartition(".")[0]
        late_usec = _COMMAND_TIMES * self._tap.uncertainty_usec(stream)
        value = 1 if level is None else int(level)  # a released line is pulled up
        return Event(
            channel,
            self._tap.to_usec(noted_ns),
            value,
            late_usec=late_usec,
            caused=True,
            noted_ns=noted_ns,
        )
