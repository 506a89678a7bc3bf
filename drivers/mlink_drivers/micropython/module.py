"""The `upy-workbench` module: a MicroPython program on a board, with streams in and out."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlink.errors import DeviceError, MlinkError, ModuleError
from mlink.module import Module, OutputPort
from mlink.sync.secondary import SecondaryClockSynchronizer
from mlink.types import DataType, SignalBlockF32, SignalBlockI32
from mlink.waiting import Registration
from mlink_drivers.identity import resolve
from mlink_drivers.micropython.board import Board, Output
from mlink_drivers.micropython.catalog import WorkbenchSettings
from mlink_drivers.micropython.messages import (
    FromBoard,
    Value,
    input_line,
    read_line,
    row_line,
    text_of,
)

_ON_BOARD: Final = Path(__file__).with_name("on_board.py")
_MOST_WAITING: Final = 1000
"""Rows that wait for the program to be there."""
_CONTROL: Final = range(1, 6)
"""Bytes that mean something to a raw REPL."""
_MOST_PORTS: Final = 256
_LINE_OF: Final = re.compile(r'File "<stdin>", line (\d+)')
_BLOCKS: Final = {
    DataType.SignalBlockF32: SignalBlockF32,
    DataType.SignalBlockI32: SignalBlockI32,
}


class WorkbenchModule(Module[WorkbenchSettings]):
    """Loads the program in `prepare`, runs it from the start on, and interrupts it at the stop.

    Values that come with the board's time get that time on the master timer; others get the time
    of their arrival.
    """

    _board: Board | None = None
    _watch: Registration | None = None
    _zero_ms: int | None = None
    _malformed = 0
    _unknown = 0
    _refused = 0

    def prepare(self) -> None:
        """Send the program to the board.

        Raises:
            DeviceError: The board cannot be opened, or does not run MicroPython.
            ModuleError: The program cannot be read.
        """
        device = self.context.device
        address = device.address if device is not None else self.settings.serial_port
        self._output = Output()
        self._outputs: dict[int, OutputPort | None] = {}
        self._waiting_rows: list[bytes] = []
        for output in self.context.outputs.values():
            if output.data_type in _BLOCKS:
                output.metadata.update({"signal_names": ["Data"], "time_unit": "microseconds"})
        for number, port in enumerate(self.context.inputs.values()):
            port.on_item = partial(self._on_row, number)
        glue = _ON_BOARD.read_bytes()
        self._glue_lines = glue.count(b"\n")
        path = self.context.run_info.bench_dir / self.settings.script
        try:
            program = path.read_bytes()
        except OSError as error:
            raise ModuleError(f"{path} cannot be read: {error.strerror}") from error
        if any(code in program for code in _CONTROL):
            text = f"{path} has control characters, which end a program on its way to the board"
            raise ModuleError(text, remedy="Write them as escapes, such as \\x04.")
        self._board = Board(resolve(address), self.settings.baud_rate)
        self._board.load(glue + program)

    def start(self) -> None:
        """Run the program."""
        assert self._board is not None
        self._sync = SecondaryClockSynchronizer(self.context.name)
        self._sync.start()
        self._watch = self.context.waiting.on_readable(self._board.fileno(), self._on_bytes)
        self._board.run()

    def halt(self) -> None:
        """Interrupt the program."""
        if self._board is not None:
            self._board.interrupt()
        self._stop_watching()

    def stop(self) -> None:
        """Report what could not be understood or delivered."""
        self._malformed += self._output.too_long
        for count, what, remedy in (
            (self._malformed, "lines of the board could not be read", "Look at its program."),
            (
                self._unknown,
                "messages of the board were for ports that the bench does not have",
                "Declare them in ports_out.",
            ),
            (
                self._refused + len(self._waiting_rows),
                "rows did not get to the board: its program was not there",
                "Make a SyntalosCommunicator early in the program.",
            ),
        ):
            if count:
                self.context.note_loss(f"{count:,} {what}", remedy)

    def close(self) -> None:
        """Close the line."""
        self.halt()
        if self._board is not None:
            self._board.close()

    def _on_row(self, number: int, cells: list[str]) -> None:
        assert self._board is not None
        line = row_line(number, cells)
        if self._zero_ms is not None and not self._output.ended:
            self._board.write(line)
        elif len(self._waiting_rows) < _MOST_WAITING:
            self._waiting_rows.append(line)
        else:
            self._refused += 1

    def _on_bytes(self, _now_ns: int) -> None:
        assert self._board is not None
        arrival_usec = self.context.clock.now_usec()
        try:
            data = self._board.read()
        except DeviceError as error:
            self._stop_watching()
            self.context.fail(error)
            return
        had_ended = self._output.complete
        for line in self._output.take(data):
            self._take(line, arrival_usec)
        if self._output.complete and not had_ended and self.context.running:
            self._on_end()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _on_end(self) -> None:
        """Report that the program has ended; an exception of it is a failure."""
        if not self._output.traceback:
            self.log.info("the program on the board has ended")
            return

        def in_file(found: re.Match[str]) -> str:
            line = int(found[1]) - self._glue_lines
            return f'File "{self.settings.script}", line {line}' if line > 0 else found[0]

        text = _LINE_OF.sub(in_file, self._output.traceback)
        self.context.fail(ModuleError(f"the program on the board failed:\n{text}"))

    def _take(self, line: bytes, arrival_usec: int) -> None:
        try:
            message = read_line(line)
        except ValueError as error:
            self._malformed += 1
            if self._malformed == 1:
                self.log.warning("a line of the board cannot be read: %s: %r", error, line[:200])
            return
        if message is None:
            if line.strip():
                sys.stdout.write(line.decode("utf-8", "backslashreplace") + "\n")
                sys.stdout.flush()
        elif message.dc:
            self._on_control(message)
        else:
            self._on_data(message, arrival_usec)

    def _on_control(self, message: FromBoard) -> None:
        assert self._board is not None
        if message.dc == "new-out-port" and not 0 <= message.i < _MOST_PORTS:
            self._malformed += 1
        elif message.dc == "new-out-port":
            self._outputs[message.i] = self.context.outputs.get(message.n)
            if self._outputs[message.i] is None:
                self.log.warning("the program has a port '%s', and the bench has none", message.n)
        elif message.dc == "start-time" and self._zero_ms is None:
            lines = [input_line(i, each) for i, each in enumerate(self.context.inputs)]
            try:
                self._board.write(b"".join(lines))
                self._zero_ms = message.t_ms
                while self._waiting_rows:
                    self._board.write(self._waiting_rows.pop(0))
            except MlinkError as error:
                self.context.fail(error)

    def _on_data(self, message: FromBoard, arrival_usec: int) -> None:
        output = self._outputs.get(message.p)
        if output is None:
            self._unknown += 1
            return
        time_usec = arrival_usec
        if message.t is not None and abs(message.t) < 1e12:
            taken_ms = message.t - (self._zero_ms or 0)
            time_usec = self._sync.process_timestamp(arrival_usec, round(taken_ms * 1000))
        if output.data_type is DataType.TableRow:
            output.submit([text_of(value) for value in message.d])
            return
        if not self._submit_block(output, message.d, max(0, time_usec)):
            self._malformed += 1

    @staticmethod
    def _submit_block(output: OutputPort, values: list[Value], time_usec: int) -> bool:
        """Send a block with a row for each value; return False if they are no numbers for it."""
        block: Any = _BLOCKS[output.data_type]()
        if any(isinstance(value, str | None) for value in values):
            return False
        samples = np.array(values, np.float64)
        if block.dtype.kind == "i":
            limits = np.iinfo(block.dtype)
            if not np.all((samples >= limits.min) & (samples <= limits.max)):
                return False
        block.timestamps = np.full(len(values), time_usec, np.uint64)
        block.data = samples
        output.submit(block)
        return True
