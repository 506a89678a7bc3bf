"""Determines which pins a stream of bytes may change on a Firmata board.

Written from Firmata's protocol and firmware/PROTOCOL.md alone, and independent of the firmware's
parser, so that the two can be compared.
"""

from mlink_hil.uno import PIN_COUNT, USER_PINS

LONGEST_SYSEX = 64
_ALL = frozenset(USER_PINS)
_TWO_BYTES = (0x90, 0xE0, 0xF4, 0xF5)
_ONE_BYTE = (0xC0, 0xD0)
_PWM, _SERVO = 3, 4
_SOFT_PWM = (9, 10)
_I2C_PINS = frozenset((18, 19))


class PinOracle:
    """`pins_moved_by` returns the pins that bytes may change.

    `moving` contains those that may change by themselves from then on: trains, servos, reflexes.
    """

    def __init__(self) -> None:
        self.moving: set[int] = set()
        self._modes: dict[int, int] = {}
        self._command = 0
        self._data = bytearray()
        self._wanted = 0
        self._in_sysex = False

    def pins_moved_by(self, data: bytes) -> set[int]:
        """Parse bytes sent to the board; return the pins that well-formed messages may change."""
        before = set(self.moving)
        pins: set[int] = set()
        for byte in data:
            pins |= self._take(byte)
        return pins | before | self.moving

    def _take(self, byte: int) -> frozenset[int] | set[int]:
        if byte & 0x80:
            ended = self._in_sysex and byte == 0xF7
            body = bytes(self._data)
            self._command = byte if byte >= 0xF0 else byte & 0xF0
            self._first = byte & 0x0F
            self._in_sysex = byte == 0xF0
            self._data.clear()
            self._wanted = 2 if self._command in _TWO_BYTES else self._command in _ONE_BYTE
            if ended:
                return self._sysex(body)
            if byte == 0xFF:
                self._modes.clear()
                self.moving.clear()
                return _ALL
            return set()
        if self._in_sysex:
            self._data.append(byte)
        elif self._wanted:
            self._data.append(byte)
            self._wanted -= 1
            if not self._wanted and self._command in _TWO_BYTES:
                return self._two(self._data[0], self._data[1])
        return set()

    def _two(self, low: int, high: int) -> set[int]:
        data, self._data = bytes((low, high)), bytearray()
        self._command, command = 0, self._command
        if command == 0x90:
            return {pin for pin in range(self._first * 8, self._first * 8 + 8) if pin in _ALL}
        if command == 0xE0:
            return self._analog(self._first)
        pin, value = data
        if pin not in _ALL:
            return set()
        if command == 0xF4:
            # What moves the pin by an earlier command may continue: a reflex, a train of an output.
            self._modes[pin] = value
        return {pin}

    def _analog(self, pin: int) -> set[int]:
        if pin not in _ALL:
            return set()
        mode = self._modes.get(pin)
        if mode == _SERVO or (mode == _PWM and pin in _SOFT_PWM):
            self.moving.add(pin)
        return {pin} if mode in (_PWM, _SERVO) else set()

    def _sysex(self, message: bytes) -> set[int]:
        if not 1 <= len(message) <= LONGEST_SYSEX + 1:
            return set()
        body = message[1:]
        match message[0]:
            case 0x04:
                return self._pulses(body)
            case 0x06 if len(body) == 18 and body[0] == 0 and body[6] in _ALL:
                self.moving.add(body[6])
                return {body[6]}
            case 0x07 if len(body) >= 4 and len(body) % 2 == 0 and body[0] == 0:
                named = {pin for pin in body[4::2] if pin in _ALL}
                self.moving |= named or _ALL
                return named
            case 0x6F if 2 <= len(body) <= 6:
                return self._analog(body[0])
            case 0x70 if len(body) == 5 and body[0] in _ALL:
                self._modes[body[0]] = _SERVO
                return {body[0]}
            case 0x76 | 0x78:
                return set(_I2C_PINS)
        return set()

    def _pulses(self, body: bytes) -> set[int]:
        lengths = {0: (21,), 1: (2,), 3: range(4, 9)}
        if len(body) < 2 or len(body) not in lengths.get(body[0], ()) or body[1] not in _ALL:
            return set()
        self.moving.add(body[1])
        return {body[1]}


assert max(USER_PINS) == PIN_COUNT - 1
