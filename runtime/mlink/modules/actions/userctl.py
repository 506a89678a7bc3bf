"""The `hwline-userctl` module: lines that a user sets by `mlink line` while the run lasts.

Commands come by a Unix socket in the run's own folder, which is open to this user alone. Each one
is recorded with its time and who gave it. In virtual time there is no user: it takes none.
"""

from __future__ import annotations

import pwd
import socket
from typing import Final

import msgspec

from mlink.errors import ModuleError
from mlink.module import Module
from mlink.modules.actions.catalog import UserControlSettings
from mlink.modules.data.event_table import EventTable
from mlink.peers import user_of
from mlink.types import LineCommand, LineCommandKind, LineModeFlags, LineReading
from mlink.waiting import Registration

SOCKET_SUFFIX: Final = ".lines"
"""Ending of the sockets in a run's folder; the rest is the module's name."""
_FILE: Final = "commands.csv"
_HEADER: Final = ("Time [µs]", "Line", "Command", "Value", "By")
_PULSE_USEC: Final = 50_000
_SILENCE_S: Final = 1.0
"""How long a client may take to send its request."""
_PERIOD_USEC: Final = 100_000
_ANALOG_MAX: Final = 65_535
_DIGITAL: Final = {"high": 1, "low": 0}


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a client asks for: to set a line, or without one which lines there are."""

    line: int | None = None
    value: str = ""
    """high, low, pulse, or a number for an analog line."""


class Answer(msgspec.Struct):
    """What becomes of it."""

    error: str = ""
    lines: list[str] = []
    """The lines that can be set, as texts."""


class UserControlModule(Module[UserControlSettings]):
    """Sets its lines up at the start, carries commands out, and shows what the inputs read."""

    _server: socket.socket | None = None
    _watch: Registration | None = None
    _table: EventTable | None = None
    _count = 0

    def prepare(self) -> None:
        """Take the readings."""
        self._outputs = {each.pin_id: each.is_analog for each in self.settings.output_ctls}
        self._values: dict[int, int] = {}
        self._views = {each.pin_id for each in self.settings.input_views}
        self.context.inputs["hwline-in"].on_item = self._on_reading

    def start(self) -> None:
        """Set the lines up, outputs first, and listen for commands."""
        modes = [(line, LineModeFlags.IS_OUTPUT) for line in self._outputs]
        modes += [(each.pin_id, LineModeFlags.IS_INPUT) for each in self.settings.input_views]
        for line, flags in modes:
            self._submit(LineCommand(LineCommandKind.SET_MODE, line, flags=flags))
        if not self._outputs or self.context.waiting.is_virtual:
            return
        dataset = self.context.create_dataset()
        self._table = EventTable(dataset, _FILE, _HEADER, "Commands that were given by hand")
        path = self.context.run_info.work_dir / f"{self.context.name}{SOCKET_SUFFIX}"
        self._server = socket.socket(socket.AF_UNIX)
        try:
            self._server.bind(str(path))
        except OSError as error:
            remedy = "Give the module a shorter name, or set XDG_RUNTIME_DIR to a shorter path."
            text = f"it cannot listen for commands at {path}: {error}"
            raise ModuleError(text, remedy=remedy) from error
        self._server.listen()
        self._server.setblocking(False)
        self._watch = self.context.waiting.on_readable(self._server.fileno(), self._on_client)

    def run(self) -> None:
        """Show the newest values, and write commands that were given."""
        while self.context.running:
            self.context.serve(_PERIOD_USEC)
            if self._table is not None:
                self._table.write()
            shown = [f"{line}: {self._values[line]}" for line in sorted(self._values)]
            self.context.set_status("  ".join(shown) or "no readings yet")

    def halt(self) -> None:
        """Take no more commands."""
        if self._watch is not None:
            self._watch.cancel()
        if self._server is not None:
            self._server.close()

    def stop(self) -> None:
        """Report how many commands were given."""
        if not self.context.waiting.is_virtual:
            self.context.report("commands", self._count)

    def close(self) -> None:
        """Close the socket and the file."""
        self.halt()
        if self._table is not None:
            self._table.close()

    def _on_reading(self, reading: LineReading) -> None:
        if reading.line_id in self._views:
            self._values[reading.line_id] = reading.value

    def _on_client(self, _now_ns: int) -> None:
        assert self._server is not None
        try:
            client, _ = self._server.accept()
        except OSError:
            return  # it has gone
        with client:
            client.settimeout(_SILENCE_S)
            try:
                answer = self._answer(client)
                client.sendall(msgspec.json.encode(answer))
            except OSError:
                return  # the client has gone, is of another user, or sends nothing

    def _answer(self, client: socket.socket) -> Answer:
        uid = user_of(client)
        try:
            request = msgspec.json.decode(client.recv(1000), type=Request)
        except msgspec.MsgspecError as error:
            return Answer(f"this is no command: {error}")
        return self._carry_out(request, _name_of(uid))

    def _carry_out(self, request: Request, who: str) -> Answer:
        lines = [
            f"{line} ({'0 to 65535' if is_analog else 'high, low, pulse'})"
            for line, is_analog in self._outputs.items()
        ]
        if request.line is None:
            return Answer(lines=lines)
        if request.line not in self._outputs:
            what = f"{self.context.name} has no line {request.line} in output_ctls"
            return Answer(what, lines)
        found = _command(request.line, request.value, is_analog=self._outputs[request.line])
        if found is None:
            what = f"'{request.value[:40]}' is no value of line {request.line}"
            return Answer(what, lines)
        time_usec = self.context.clock.now_usec()
        self._submit(found)
        self._count += 1
        cells = (str(time_usec), str(found.line_id), found.kind.name, str(found.value), who)
        assert self._table is not None
        self._table.add(*cells)
        self.log.info("line %d: %s, by %s", request.line, request.value, who)
        return Answer()

    def _submit(self, command: LineCommand) -> None:
        self.context.outputs["hwline-out"].submit(command)


def _command(line: int, value: str, *, is_analog: bool) -> LineCommand | None:
    """Return the command for a value; None if the line has no such value."""
    if is_analog:
        fits = value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= _ANALOG_MAX
        return LineCommand(LineCommandKind.WRITE_ANALOG, line, int(value)) if fits else None
    if value == "pulse":
        return LineCommand(LineCommandKind.WRITE_DIGITAL_PULSE, line, 1, duration_usec=_PULSE_USEC)
    if value not in _DIGITAL:
        return None
    return LineCommand(LineCommandKind.WRITE_DIGITAL, line, _DIGITAL[value])


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
