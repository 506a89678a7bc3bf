"""`mlink board`: an interactive console for the pins of one board.

It sends the same commands as a script in a run, so a command that works here works there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlink.cli.terminal.output import table_console
from mlink.cli.terminal.typed import execute_typed, typed_lines
from mlink.clock import MasterClock
from mlink.closing import ClosesOnExit
from mlink.errors import DeviceError
from mlink.storage.failures import printable
from mlink.types import LineCommand, LineCommandKind, LineModeFlags
from mlink_drivers.firmata import extra
from mlink_drivers.firmata.console_values import LatestValues
from mlink_drivers.firmata.lines.output.commands import LineCommands
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.i2c_scan import ANSWER_S, in_words, scan_i2c
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.probe import FirmwareQueries
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.budget import ByteBudget
from mlink_drivers.firmata.wire.pin_layout import mode_name
from mlink_drivers.firmata.wire.protocol import I2CReply, Message, PinMode, PinState, StringData
from mlink_drivers.identity import resolve

SAMPLING_MSEC: Final = 50
_ANSWER_S: Final = 1.0
_MOST_I2C_BYTES: Final = 32
_NO_DEVICE: Final = "I2C: Too few bytes received"
"""What firmwares send for an I2C device that is absent."""
_FRAMES_PER_S: Final = 10
_log = logging.getLogger(__name__)
_MODES: Final = {
    "input": PinMode.INPUT,
    "pullup": PinMode.PULLUP,
    "output": PinMode.OUTPUT,
    "analog": PinMode.ANALOG,
    "pwm": PinMode.PWM,
    "servo": PinMode.SERVO,
}
HELP: Final = """\
pins                  list the pins with mode, value and possible modes
mode PIN MODE         input, pullup, output, analog, pwm or servo
read PIN              the last value of an input, or the value written to an output
write PIN VALUE       0 or 1; on a pwm or servo pin a level or degrees
pulse PIN MSEC        switch a pin on for this number of milliseconds
i2c [ADDRESS COUNT [REGISTER] | ADDRESS = BYTE…]
                      find I2C devices, read or write one; numbers as 72 or 0x48
watch [SECONDS]       show the inputs live until Ctrl-C
info                  the firmware, its protocol and the line
quit                  reset the board and leave (also: end of input)
PIN is a number, or A0 for the first analog channel."""


def run_console(
    spec: str,
    *,
    name: str = "",
    baud_rate: int = 0,
    commands: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Open a board and run a console on it.

    Args:
        spec: The device: a port, a URL or `usb:…`.
        name: The board's name in messages; by default its address.
        baud_rate: Bits per second; 0 for the default of 57600.
        commands: Commands to execute instead of reading them from the terminal.
        console: Where to print; by default standard output.

    Raises:
        DeviceError: The board cannot be opened or was lost, or one of `commands` failed.
    """
    shown = console or table_console()
    with BoardConsole(spec, shown, name=name, baud_rate=baud_rate or DEFAULT_BAUD_RATE) as board:
        if commands:
            for line in commands:
                board.execute(line)
            return
        board.execute("info")
        for line in typed_lines("board> "):
            try:
                if not board.execute(line):
                    return
            except DeviceError as error:
                if board.is_lost:
                    raise
                shown.print(Text(str(error), style="red"))


class BoardConsole(ClosesOnExit):
    """The commands of the console, on a connected board.

    Args:
        spec: The device: a port, a URL or `usb:…`.
        console: Where to print.
        name: The board's name in messages; by default its address.
        baud_rate: Bits per second.

    Raises:
        DeviceError: The board cannot be opened.
    """

    def __init__(self, spec: str, console: Console, *, name: str, baud_rate: int) -> None:
        self._console = console
        self._values = LatestValues()
        self._states: dict[int, PinState] = {}
        self._others: deque[Message] = deque(maxlen=16)
        """The last answers of I2C devices."""
        self._answered = threading.Condition()
        self._lost: DeviceError | None = None
        clock = MasterClock(time.monotonic_ns())
        self._readings = Readings(
            self._values,
            clock,
            fail=self._on_fault,
            on_lost=self._on_lost,
            on_restarted=self._on_restarted,
            on_other=self._on_other,
        )
        queries = FirmwareQueries(baud_rate)
        address = resolve(spec, ask=queries)
        baud_rate = queries.baud_rate(address)
        self._session = Session(open_transport(address, baud_rate), self._readings, name=name)
        self._session.connect()
        self._session.send(encode.sampling_interval(SAMPLING_MSEC))
        self._lines = LineCommands(
            self._session,
            self._readings,
            ByteBudget(baud_rate, SAMPLING_MSEC),
            on_error=self._on_fault,
            on_warning=self._print,
        )
        self._readings.start()
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "pins": self._pins,
            "mode": self._mode,
            "read": self._read,
            "write": self._write,
            "pulse": self._pulse,
            "i2c": self._i2c,
            "watch": self._watch,
            "info": self._info,
            "help": self._help,
        }

    def close(self) -> None:
        """End the pulses that run, reset the board and close the port."""
        self._lines.pulses.end_all()
        self._lines.pulses.close()
        self._session.close()

    @property
    def is_lost(self) -> bool:
        """Whether the board was lost."""
        return self._lost is not None

    def execute(self, line: str) -> bool:
        """Execute one command.

        Returns:
            False when the command was `quit`.

        Raises:
            DeviceError: The command is unknown or failed, or the board was lost.
        """
        if self._lost is not None:
            raise self._lost
        return execute_typed(line, self._commands, HELP, DeviceError)

    # -- commands ------------------------------------------------------------------------------

    def _pins(self, words: list[str]) -> None:
        del words
        layout = self._session.description.layout
        usable = [pin for pin in range(layout.pin_count) if layout.modes[pin]]
        self._ask_states(usable)
        table = Table(box=None, header_style="dim", pad_edge=False)
        for title in ("pin", "is", "value", "can do"):
            table.add_column(title)
        for pin in usable:
            state = self._states.get(pin)
            channel = layout.channel_of(pin)
            label = f"{pin}" if channel is None else f"{pin} (A{channel})"
            mode = "?" if state is None else _mode_text(state.mode)
            abilities = layout.describe(pin).partition(": ")[2]
            table.add_row(label, mode, self._value_of(pin), abilities)
        self._console.print(table)

    def _mode(self, words: list[str]) -> None:
        line, wanted = self._pin(words[0]), words[1].casefold()
        if wanted not in _MODES:
            raise DeviceError(f"unknown mode '{wanted}'", remedy=f"Known: {', '.join(_MODES)}.")
        mode = _MODES[wanted]
        flags = {
            PinMode.INPUT: LineModeFlags.IS_INPUT,
            PinMode.PULLUP: LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP,
            PinMode.OUTPUT: LineModeFlags.IS_OUTPUT,
        }.get(mode)
        self._values.forget(line)
        if flags is not None:
            self._send(LineCommandKind.SET_MODE, line, flags=flags)
        else:
            self._send(LineCommandKind.DEVICE_SPECIFIC, line, extra=extra.pin_mode(mode))

    def _read(self, words: list[str]) -> None:
        line = self._pin(words[0])
        if not self._values.wait_for(line, 0.1):
            self._ask_states([line])
        self._console.print(f"{line}: {self._value_of(line) or 'no reading yet'}")

    def _write(self, words: list[str]) -> None:
        line, value = self._pin(words[0]), int(words[1])
        is_analog = self._lines.mode_of(line) in (PinMode.PWM, PinMode.SERVO)
        if is_analog or value > 1:
            self._send(LineCommandKind.WRITE_ANALOG, line, value=value)
        else:
            self._send(LineCommandKind.WRITE_DIGITAL, line, value=value)

    def _pulse(self, words: list[str]) -> None:
        line, duration_usec = self._pin(words[0]), round(float(words[1]) * 1000)
        self._send(LineCommandKind.WRITE_DIGITAL_PULSE, line, duration_usec=duration_usec)
        time.sleep(duration_usec / 1e6)  # else the end of a list of commands would cut it short

    def _i2c(self, words: list[str]) -> None:
        if not words:
            self._print(in_words(scan_i2c(self._exchange)))
            return
        address = int(words[0], 0)
        if words[1] == "=":
            data = bytes(int(word, 0) for word in words[2:])
            self._send(LineCommandKind.DEVICE_SPECIFIC, 0, extra=extra.i2c_write(address, data))
            return
        register = int(words[2], 0) if len(words) > 2 else None
        if not 1 <= (count := int(words[1], 0)) <= _MOST_I2C_BYTES:
            raise DeviceError(
                f"{count} bytes cannot be read at once", remedy=f"Read 1 to {_MOST_I2C_BYTES}."
            )
        read = extra.i2c_read(address, count, register)
        self._others.clear()
        self._send(LineCommandKind.DEVICE_SPECIFIC, 0, extra=read)
        messages = self._exchange(encode.pin_state_query(0), keep=True)
        replies = [each for each in messages or () if isinstance(each, I2CReply) and each.data]
        self._print(replies[-1].data.hex(" ") if replies else "no device answers")

    def _exchange(self, data: bytes, *, keep: bool = False) -> list[Message] | None:
        """Send messages that end with a query of pin 0; return what comes until its answer.

        Args:
            data: The messages.
            keep: Whether what came before counts as well.
        """
        with self._answered:
            self._states.pop(0, None)
            if not keep:
                self._others.clear()
        self._session.send(data)
        with self._answered:
            answered = self._answered.wait_for(lambda: 0 in self._states, ANSWER_S)
            return list(self._others) if answered else None

    def _watch(self, words: list[str]) -> None:
        deadline = time.monotonic() + float(words[0]) if words else float("inf")
        try:
            with Live(
                console=self._console, refresh_per_second=_FRAMES_PER_S, get_renderable=self._inputs
            ):
                while self._lost is None and (left := deadline - time.monotonic()) > 0:
                    time.sleep(min(left, 1 / _FRAMES_PER_S))
        except KeyboardInterrupt:
            return
        if self._lost is not None:
            raise self._lost

    def _info(self, words: list[str]) -> None:
        del words
        found, transport = self._session.description, self._session.transport
        protocol = "{}.{}".format(*found.protocol_version)
        self._print(f"{found}, Firmata {protocol}, {transport.baud_rate} baud")
        self._print(transport.latency_report)

    def _help(self, words: list[str]) -> None:
        del words
        self._print(HELP)

    # -- the rest ------------------------------------------------------------------------------

    def _send(
        self,
        kind: LineCommandKind,
        line: int,
        *,
        value: int = 0,
        duration_usec: int = 0,
        flags: LineModeFlags = LineModeFlags.NONE,
        extra: bytes = b"",
    ) -> None:
        self._lines.execute(LineCommand(kind, line, value, duration_usec, flags, extra))

    def _pin(self, word: str) -> int:
        if word[:1] in ("A", "a"):
            pins = self._session.description.layout.analog_pins()
            channel = int(word[1:])
            if channel not in pins:
                raise DeviceError(f"{self._session.description} has no analog input {word}")
            return pins[channel]
        return int(word)

    def _ask_states(self, pins: list[int]) -> None:
        """Query the modes and values of pins, and wait for the answers up to 1 s."""
        for pin in pins:
            self._states.pop(pin, None)
            self._session.send(encode.pin_state_query(pin))
        with self._answered:
            self._answered.wait_for(lambda: all(pin in self._states for pin in pins), _ANSWER_S)

    def _value_of(self, pin: int) -> str:
        latest = self._values.get(pin)
        if latest is not None:
            return str(latest.value)
        state = self._states.get(pin)
        outputs = (PinMode.OUTPUT, PinMode.PWM, PinMode.SERVO)
        return str(state.value) if state is not None and state.mode in outputs else ""

    def _inputs(self) -> Table:
        table = Table(box=None, header_style="dim", pad_edge=False)
        for title in ("input", "value", "changes or samples", "last, s ago"):
            table.add_column(title, justify="right")
        now_usec = self._readings.clock.now_usec()
        for latest in self._values.all():
            age_s = (now_usec - latest.time_usec) / 1e6
            table.add_row(str(latest.line), str(latest.value), str(latest.count), f"{age_s:.1f}")
        if not table.row_count:
            table.add_row("no inputs; set one up with: mode PIN input")
        return table

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _on_other(self, message: Message, arrival_ns: int) -> None:
        del arrival_ns
        if isinstance(message, I2CReply):
            self._others.append(message)
        elif isinstance(message, StringData) and message.text != _NO_DEVICE:
            _log.warning("%s reports: %s", self._session.name, printable(message.text))
        elif isinstance(message, PinState):
            with self._answered:
                self._states[message.pin] = message
                self._answered.notify_all()

    def _on_lost(self, error: DeviceError) -> None:
        self._lost = error

    def _on_restarted(self, _arrival_ns: int) -> None:
        self._print("the board restarted: set the modes of its pins again")

    def _on_fault(self, error: BaseException) -> None:
        self._console.print(Text(str(error), style="red"))


def _mode_text(mode: int) -> str:
    try:
        return mode_name(PinMode(mode))
    except ValueError:
        return f"mode {mode}"
