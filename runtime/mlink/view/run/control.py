"""Commands that people give by a page: checked, sent to their module, answered, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlink.errors import MlinkError
from mlink.module import ModuleContext
from mlink.modules.data.event_table import EventTable
from mlink.tap.catalog import COMMANDS, TapSettings
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
)
from mlink.view.messages import Act, Acted, RefusedActs

_FILE: Final = "commands.csv"
_HEADER: Final = ("Sent [µs]", "Taken [µs]", "To", "Command", "Line", "Value", "Duration [µs]",
                  "By", "Refused")  # fmt: skip
_MOST_WAITING: Final = 50
"""Commands to one input that may wait for their answer."""
_LAST_LINE, _LONGEST_USEC, _LONGEST_TEXT, _MOST_ANALOG = 255, 10_000_000, 200, 65_535
_MODES: Final = {
    "output": LineModeFlags.IS_OUTPUT,
    "input": LineModeFlags.IS_INPUT,
    "pull-up": LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP,
}
_LEVELS: Final = {"high": 1, "low": 0}
_CONTROLS: Final = {
    "start": ControlCommandKind.START,
    "pause": ControlCommandKind.PAUSE,
    "stop": ControlCommandKind.STOP,
    "step": ControlCommandKind.STEP,
    "custom": ControlCommandKind.CUSTOM,
    "set": ControlCommandKind.CUSTOM,
}


class Control:
    """Sends the commands of pages, and records each with its times, who gave it, and its answer.

    Args:
        context: Of the view's module: an output for each input that may be commanded.
        answer: Called with what became of each command.
    """

    def __init__(
        self, context: ModuleContext[TapSettings], answer: Callable[[Acted], object]
    ) -> None:
        self._context = context
        self._answer = answer
        self._types = {each.stream: each.data_type for each in context.settings.commanded}
        self._numbers = dict.fromkeys(self._types, 0)
        """Input → commands sent to it."""
        self._waiting: dict[str, dict[int, Acted]] = {target: {} for target in self._types}
        self._table: EventTable | None = None
        self._count = self._refused = 0

    def start(self) -> None:
        """Begin the table of commands, if there is anything to command."""
        if self._types:
            dataset = self._context.create_dataset(COMMANDS)
            summary = "Commands that people gave by the page of the run"
            self._table = EventTable(dataset, _FILE, _HEADER, summary)

    def act(self, act: Act) -> None:
        """Send a command, or answer why not."""
        acted = Acted(act, self._context.clock.now_usec())
        try:
            command = self._command(act)
        except MlinkError as error:
            self._conclude(acted, error.message)
            return
        self._context.outputs[act.target].submit(command)
        self._waiting[act.target][self._numbers[act.target]] = acted
        self._numbers[act.target] += 1

    def refused(self, acts: RefusedActs) -> None:
        """Record commands that the program refused; their pages have their answer."""
        more = f" (and {acts.count - 1} more before)" if acts.count > 1 else ""
        self._record(Acted(acts.act, self._context.clock.now_usec()), acts.refused + more)
        self._count += acts.count - 1
        self._refused += acts.count - 1

    def answered(self, target: str, row: list[str]) -> None:
        """Take the answer of a module: number of the command, time in µs, why it was refused."""
        number, taken_usec, refusal = row
        acted = self._waiting[target].pop(int(number))
        acted.taken_usec = int(taken_usec)
        self._conclude(acted, refusal)

    def write(self) -> None:
        """Write what was added to the table."""
        if self._table is not None:
            self._table.write()

    def finish(self) -> None:
        """Conclude what has had no answer, and report how many commands there were."""
        for waiting in self._waiting.values():
            for acted in waiting.values():
                self._conclude(acted, "no answer: the run has ended")
            waiting.clear()
        if self._count:
            self._context.report("commands", self._count)
            self._context.report("commands_refused", self._refused)

    def close(self) -> None:
        """Close the table."""
        if self._table is not None:
            self._table.close()

    def _conclude(self, acted: Acted, refusal: str) -> None:
        acted.refused = refusal
        self._record(acted, refusal)
        self._answer(acted)

    def _record(self, acted: Acted, refusal: str) -> None:
        self._count += 1
        self._refused += bool(refusal)
        act = acted.act
        if self._table is not None:
            taken = "" if acted.taken_usec is None else str(acted.taken_usec)
            text = f"{act.command} {act.text}".strip()
            cells = (act.target, text, act.line, act.value, act.duration_usec, act.by, refusal)
            self._table.add(str(acted.sent_usec), taken, *map(str, cells))

    def _command(self, act: Act) -> LineCommand | ControlCommand:
        """Return the command for an input.

        Raises:
            MlinkError: It may not be commanded, or not like this; the text says why.
        """
        data_type = self._types.get(act.target)
        if data_type is None:
            raise MlinkError(f"'{act.target}' cannot be commanded in this run")
        if not self._context.running:
            raise MlinkError("the run has not begun, or has ended")
        if len(self._waiting[act.target]) >= _MOST_WAITING:
            raise MlinkError(f"{act.target} has not answered the last {_MOST_WAITING} commands")
        if data_type is DataType.ControlCommand:
            return _control_command(act)
        return _line_command(act)


def _control_command(act: Act) -> ControlCommand:
    kind = _CONTROLS.get(act.command)
    if kind is None:
        raise MlinkError(f"there is no command '{act.command}'")
    if bool(act.text) is not (kind is ControlCommandKind.CUSTOM):
        raise MlinkError("a command 'custom' or 'set' has a text, the others have none")
    if act.command == "set" and "=" not in act.text:
        raise MlinkError("the text of 'set' is NAME=VALUE")
    if len(act.text) > _LONGEST_TEXT or not act.text.isprintable():
        raise MlinkError(f"a text is one line of at most {_LONGEST_TEXT} characters")
    return ControlCommand(kind, command=act.text)


def _line_command(act: Act) -> LineCommand:
    line, value = act.line, act.value
    if not 0 <= line <= _LAST_LINE:
        raise MlinkError(f"a line is a number from 0 to {_LAST_LINE}")
    if act.command in _MODES:
        return LineCommand(LineCommandKind.SET_MODE, line, flags=_MODES[act.command])
    if act.command in _LEVELS:
        return LineCommand(LineCommandKind.WRITE_DIGITAL, line, _LEVELS[act.command])
    if act.command == "analog":
        if not 0 <= value <= _MOST_ANALOG:
            raise MlinkError(f"a value is a number from 0 to {_MOST_ANALOG}")
        return LineCommand(LineCommandKind.WRITE_ANALOG, line, value)
    if act.command != "pulse":
        raise MlinkError(f"there is no command '{act.command}' for a line")
    if not 0 < act.duration_usec <= _LONGEST_USEC:
        raise MlinkError("a pulse lasts more than 0 µs and at most 10 s")
    # The board ends it: a page that has gone leaves no pulse behind.
    kind = LineCommandKind.WRITE_DIGITAL_PULSE
    return LineCommand(kind, line, 1, duration_usec=act.duration_usec)
