"""Our firmware on the simulated chip, in this process: bytes in and out, pins, and true times.

The chip moves only when it is asked to, so a test runs as fast as it can. Its cycle counter is the
truth: a tick of the firmware's clock is eight cycles, and the first edge of a probe pulse shows
which cycle was tick 0.
"""

from pathlib import Path

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.check import opened, seal
from mlink_drivers.firmata.chip.decode import decode_extension
from mlink_drivers.firmata.chip.messages import (
    ExtensionMessage,
    Features,
    PulseEnd,
)
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.protocol import Message, Sysex
from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.uno import CLOCK_HZ
from tests.support import ROOT

HEX = ROOT / "firmware/prebuilt/mlink_firmata-uno.hex"
CYCLES_PER_USEC = CLOCK_HZ // 1_000_000
CYCLES_PER_TICK = 8
TICKS_PER_USEC = 2
WRAP = 1 << 32


class Chip:
    """A simulated board with our firmware; `messages` holds what it sent and no test has taken."""

    def __init__(self, hex_file: Path = HEX, kind: BoardKind = UNO) -> None:
        from mlink_hil.sim.boards.avr_board import AvrBoard

        self.board = AvrBoard(hex_file, kind)
        self.decoder = Decoder()
        self.messages: list[Message | ExtensionMessage] = []
        self.arrivals: list[int] = []
        """For each message the cycle at which its last byte had left the chip."""
        self.edges: list[tuple[int, bool, int]] = []
        """Pin, level and cycle of every change of any pin."""
        self.checked = False
        """Whether messages have a check value: version 2 of the extension."""
        self.tick_zero = 0
        self.board.on_byte = self._on_byte
        self.board.on_edge = lambda pin, level, cycle: self.edges.append((pin, level, cycle))
        self.board.boot()

    @property
    def cycle(self) -> int:
        return self.board.cycle

    def _on_byte(self, byte: int) -> None:
        for message in self.decoder.feed(bytes((byte,))):
            self.messages.append(self._decoded(message))
            self.arrivals.append(self.cycle)

    def _decoded(self, message: Message) -> Message | ExtensionMessage:
        if not isinstance(message, Sysex):
            return message
        if not self.checked:
            return decode_extension(message) or message
        data = opened(message.id, message.data)
        assert data is not None
        return decode_extension(Sysex(message.id, data), 2) or message

    def use_check_values(self) -> None:
        self.send(chip_encode.feature_query(checked=True))
        self.checked = True
        self.run_usec(60_000)
        features = self.take()[-1]
        assert isinstance(features, Features)

    def run_usec(self, usec: float) -> None:
        self.board.run_until(self.cycle + round(usec * CYCLES_PER_USEC))

    def send(self, data: bytes, *, run_usec: float = 0) -> None:
        """Put bytes on the line and wait until the chip has them, and some more."""
        data = seal(data) if self.checked else data
        for at in range(0, len(data), 32):
            self.board.feed(data[at : at + 32])
            while self.board.backlog:
                self.run_usec(100)
        self.run_usec(run_usec)

    def take(self) -> list[Message | ExtensionMessage]:
        taken, self.messages = self.messages, []
        self.arrivals = []
        return taken

    def ask(self, data: bytes, *, run_usec: float = 20_000) -> list[Message | ExtensionMessage]:
        """Send and return what the chip sends within `run_usec`."""
        self.take()
        self.send(data, run_usec=run_usec)
        return self.take()

    def take_edges(self, pin: int) -> list[tuple[bool, int]]:
        taken, self.edges = self.edges, []
        return [(level, cycle) for which, level, cycle in taken if which == pin]

    def calibrate(self, pin: int = 13) -> None:
        """Find out which cycle was tick 0, by a pulse of the chip and the moment its pin rose.

        The firmware reads its clock some cycles after it has set the pin: good to 1 µs.
        """
        self.take_edges(pin)
        answer = self.ask(chip_encode.pulse(pin, 2000, report=True))
        (end,) = [message for message in answer if isinstance(message, PulseEnd)]
        (_, rise), _ = self.take_edges(pin)
        self.tick_zero = rise - end.first_ticks * CYCLES_PER_TICK

    def cycle_of(self, ticks: int) -> int:
        """The cycle of a chip's time; the nearest to the present."""
        cycle = self.tick_zero + ticks * CYCLES_PER_TICK
        span = WRAP * CYCLES_PER_TICK
        return cycle + round((self.cycle - cycle) / span) * span
