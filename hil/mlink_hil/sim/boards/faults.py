"""Faults of a simulated board: in its serial line, its clock, its supply and its pins."""

from __future__ import annotations

import random
from collections.abc import Callable

from mlink.errors import DeviceError
from mlink_hil.control import messages
from mlink_hil.sim.boards.board import Board

MAX_SKEW_PPM = 100_000
_NO_NOISE = messages.Noise()


class LineNoise:
    """Drops and corrupts bytes of a serial line at random.

    The same seed and the same bytes give the same faults.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.corrupted = 0
        self._set = _NO_NOISE
        self._random = random.Random(0)  # noqa: S311 - not for secrets

    def start(self, noise: messages.Noise) -> None:
        """Set the rates and restart the random numbers from the seed.

        Raises:
            DeviceError: A rate is not 0 to 1.
        """
        for name, rate in (("drop", noise.drop), ("corrupt", noise.corrupt)):
            if not 0 <= rate <= 1:
                raise DeviceError(f"{name} = {rate} is not a share of the bytes (valid: 0 to 1)")
        self._set = noise
        self._random = random.Random(noise.seed)  # noqa: S311

    def to_board(self, data: bytes) -> bytes:
        """Return what reaches the board of the bytes that the host sent."""
        return self._pass(data) if self._set.to_board else data

    def from_board(self, data: bytes) -> bytes:
        """Return what reaches the host of the bytes that the board sent."""
        return self._pass(data) if self._set.from_board else data

    def _pass(self, data: bytes) -> bytes:
        drop, corrupt = self._set.drop, self._set.corrupt
        if not drop and not corrupt:
            return data
        passed = bytearray()
        for byte in data:
            if drop and self._random.random() < drop:
                self.dropped += 1
            elif corrupt and self._random.random() < corrupt:
                self.corrupted += 1
                passed.append(byte ^ (1 << self._random.randrange(8)))
            else:
                passed.append(byte)
        return bytes(passed)


class BoardFaults:
    """The faults of one board, which requests of its control socket begin and end.

    Args:
        board: The board.
        skew: Called with (cycle, ppm): from that cycle on the board's clock runs fast.
    """

    def __init__(self, board: Board, skew: Callable[[int, float], None]) -> None:
        self._board = board
        self._skew = skew
        self._stuck: set[int] = set()
        self._wanted: dict[int, bool | None] = {}
        """What drives each pin from outside; applied again when a stuck pin is freed."""
        self.line = LineNoise()
        self.browned_out = False
        """Whether the supply is too low for the processor to run."""

    def carry_out(self, request: messages.Request) -> bool:
        """Carry out a request that begins or ends a fault; return whether it is one.

        Raises:
            DeviceError: A value is out of range.
        """
        match request:
            case messages.Noise():
                self.line.start(request)
            case messages.Skew(ppm=ppm):
                if not -MAX_SKEW_PPM <= ppm <= MAX_SKEW_PPM:
                    raise DeviceError(
                        f"a skew of {ppm} ppm is out of range (valid: ±{MAX_SKEW_PPM})"
                    )
                self._skew(self._board.cycle, ppm)
            case messages.Brownout(on=on):
                if on and not self.browned_out:
                    self._board.reset()  # the brown-out detector holds the processor in reset
                self.browned_out = on
            case messages.Stick(pin=pin, level=level):
                self._stick(pin, level)
            case _:
                return False
        return True

    def drive(self, pin: int, level: bool | None) -> None:
        """Drive a pin from outside; a stuck one follows when it is freed.

        Args:
            pin: Its number.
            level: True for 5 V, False for ground, None to release it.
        """
        self._wanted[pin] = level
        if pin not in self._stuck:
            self._board.drive(pin, level)

    def _stick(self, pin: int, level: bool | None) -> None:
        if level is None:
            self._stuck.discard(pin)
            self._board.drive(pin, self._wanted.get(pin))
        else:
            self._stuck.add(pin)
            self._board.drive(pin, level)
