"""The ATmega32U4's USB device controller; imported by the simulator's programs only.

yasimavr has none. Registers and flags are those of the data sheet, as far as a firmware with a
serial line over USB needs them: control, bulk and interrupt endpoints, resets and starts of frame.
Suspend, wake-up, and the interrupts NAKIN, NAKOUT and STALLED do not occur. What is plugged in at
the other end is in `avr_usb_host.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import yasimavr.lib.core as core

_ENDPOINTS = 7

_PLLCSR, _USBCON, _USBSTA = 0x29, 0xB8, 0xB9  # addresses as yasimavr counts: less 32 CPU registers
_UDCON, _UDINT, _UDIEN, _UDADDR, _UDFNUM = 0xC0, 0xC1, 0xC2, 0xC3, 0xC4
_UEINTX, _UENUM, _UERST, _UECONX, _UECFG0X, _UECFG1X = 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD
_UESTA0X, _UEIENX, _UEDATX, _UEBCLX, _UEBCHX, _UEINT = 0xCE, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4
_UHWCON, _USBINT, _UDFNUMH, _UDMFN, _UESTA1X, _PLLFRQ = 0xB7, 0xBA, 0xC5, 0xC6, 0xCF, 0x32
_PLAIN = (
    _UHWCON, _USBSTA, _USBINT, _UDADDR, _UDFNUM, _UDFNUMH, _UDMFN, _UESTA0X, _UESTA1X,
    _UEBCLX, _UEBCHX, _UEINT, _PLLFRQ,
)  # fmt: skip
"""Registers without an effect of their own."""
_HANDLED = (
    _PLLCSR, _USBCON, _UDCON, _UDINT, _UDIEN, _UENUM, _UEINTX, _UERST,
    _UECONX, _UECFG0X, _UECFG1X, _UEIENX,
)  # fmt: skip
_SET_UP = (_UECONX, _UECFG0X, _UECFG1X, _UEIENX)
_FLAGS, _COUNT = core.reg_addr_t(_UEINTX), core.reg_addr_t(_UEBCLX)
"""The two that are written all the time, as yasimavr has them."""

_PLLE, _PLOCK = 0x02, 0x01
_USBE, _FRZCLK, _DETACH = 0x80, 0x20, 0x01
_SOFI, _EORSTI = 0x04, 0x08
_TXINI, _STALLEDI, _RXOUTI, _RXSTPI, _RWAL, _FIFOCON = 0x01, 0x02, 0x04, 0x08, 0x20, 0x80
_EPEN, _STALLRQ, _STALLRQC = 0x01, 0x20, 0x10
_INTERRUPTS = _TXINI | _STALLEDI | _RXOUTI | _RXSTPI
_CFGOK, _VBUS = 0x80, 0x01


class _Endpoint:
    """An endpoint: what the firmware set up, its flags, and its banks."""

    def __init__(self) -> None:
        self.set_up = [0, 0, 0, 0]
        """Its registers UECONX, UECFG0X, UECFG1X and UEIENX."""
        self.clear()

    def clear(self) -> None:
        """Empty the banks."""
        self.flags = 0
        self.current = bytearray()
        """The bank that the firmware reads or fills."""
        self.waiting: deque[bytes] = deque()
        """Further banks: packets received, or packets that the host has not fetched yet."""
        self.stalled = False
        self.offer()

    @property
    def is_on(self) -> bool:
        """Whether the firmware has switched it on."""
        return bool(self.set_up[0] & _EPEN)

    @property
    def is_control(self) -> bool:
        """Whether it takes requests."""
        return not self.set_up[1] & 0xC0

    @property
    def is_in(self) -> bool:
        """Whether it sends to the host."""
        return bool(self.set_up[1] & 1)

    @property
    def size(self) -> int:
        """Bytes of a bank, which is a packet."""
        return int(8 << (self.set_up[2] >> 4 & 7))

    @property
    def _banks(self) -> int:
        return 2 if self.set_up[2] >> 2 & 3 else 1

    @property
    def has_room(self) -> bool:
        """Whether a packet of the host finds a free bank."""
        held = len(self.waiting) + bool(self.flags & _FIFOCON)
        return self.is_on and held < self._banks

    def offer(self) -> None:
        """Give the firmware the next bank, when it has none and there is one."""
        if self.is_control or not self.is_on or self.flags & _FIFOCON:
            return
        if not self.is_in:
            if self.waiting:
                self.current = bytearray(self.waiting.popleft())
                self.flags = _RXOUTI | _FIFOCON | (_RWAL if self.current else 0)
        elif len(self.waiting) < self._banks:
            self.current = bytearray()
            self.flags = _TXINI | _FIFOCON | _RWAL

    def write(self, byte: int) -> None:
        """Put a byte of the firmware into the bank, unless it is full."""
        if len(self.current) < self.size:
            self.current.append(byte)
        if not self.is_control and len(self.current) >= self.size:
            self.flags &= ~_RWAL

    def read(self) -> int:
        """Take a byte out of the bank; 0 when it is empty."""
        byte = self.current.pop(0) if self.current else 0
        if not self.is_control and not self.current:
            self.flags &= ~_RWAL
        return byte

    def acknowledge(self, written: int) -> None:
        """Clear the flags that the firmware has written as 0; that frees or sends a bank."""
        cleared = self.flags & ~written
        if self.is_control:
            self.flags &= ~(cleared & (_TXINI | _RXOUTI | _RXSTPI | _STALLEDI))
            if cleared & _RXSTPI:  # also clears the other two, which sends nothing
                self.current.clear()
                self.flags |= _TXINI
            elif cleared & _TXINI:
                self.waiting.append(bytes(self.current))
                self.current.clear()
            return
        self.flags &= ~(cleared & (_TXINI | _RXOUTI | _STALLEDI))
        if cleared & _FIFOCON:
            self.flags &= ~(_FIFOCON | _RWAL | _TXINI | _RXOUTI)
            if self.is_in:
                self.waiting.append(bytes(self.current))
            self.offer()


class _Vector(core.InterruptHandler):  # type: ignore[misc]  # untyped base
    """An interrupt that stays as long as its flag does."""

    def interrupt_ack_handler(self, _vector: int) -> bool:
        """Leave it raised: the firmware clears the flag."""
        return False


class _Plain(core.Peripheral):  # type: ignore[misc]  # untyped base
    """Registers that only hold a value."""

    def __init__(self, device: Any) -> None:
        super().__init__("USBR")
        self.init(device)
        for address in _PLAIN:
            self.add_ioreg(address)


class _Data(core.Peripheral):  # type: ignore[misc]  # untyped base
    """The data register: the bytes of the chosen endpoint's bank.

    A peripheral of its own: reading a register of the other calls no Python.
    """

    def __init__(self, device: Any, read: Callable[[], int], write: Callable[[int], None]) -> None:
        super().__init__("USBD")
        self._read, self._write = read, write
        self.init(device)
        self.add_ioreg(_UEDATX)

    def ioreg_read_handler(self, _address: int, _value: int) -> int:
        """Return the next byte of the bank; called when the processor reads the register."""
        return self._read()

    def ioreg_peek_handler(self, _address: int, value: int) -> int:
        """Return what was read last, without an effect, for a debugger."""
        return value

    def ioreg_write_handler(self, _address: int, data: Any) -> None:
        """Put a byte into the bank."""
        self._write(data.value)


class UsbController(core.Peripheral):  # type: ignore[misc]  # untyped base
    """The controller's registers, and what the host does with its endpoints.

    Args:
        device: The simulated processor.
        vectors: Numbers of the interrupts USB_GEN and USB_COM.
        on_attached: Called with whether the firmware holds the pull-up of the bus.
        on_changed: Called when an endpoint may have a packet for the host, or room for one.
    """

    def __init__(
        self,
        device: Any,
        vectors: tuple[int, int],
        on_attached: Callable[[bool], None],
        on_changed: Callable[[], None],
    ) -> None:
        super().__init__("USB")
        self._on_attached, self._on_changed = on_attached, on_changed
        self.attached = False
        self.endpoints = [_Endpoint() for _ in range(_ENDPOINTS)]
        self._number = 0
        """The endpoint whose registers the firmware has chosen."""
        self._shown = [0, 0, 0, 0]
        """Its registers of setting up, as the processor sees them."""
        self._general, self._common = _Vector(), _Vector()
        self._vectors = vectors
        self.init(device)
        for address in _HANDLED:
            self.add_ioreg(address)
        self.register_interrupt(vectors[0], self._general)
        self.register_interrupt(vectors[1], self._common)
        self._parts = (_Plain(device), _Data(device, self._read, self._write))
        device.attach_peripheral(self)  # for its resets
        self.reset(0)

    def reset(self, _flags: int) -> None:
        """Leave the bus, as at a reset of the processor."""
        self._number = 0
        self._clear()
        self.write_ioreg(_UDCON, _DETACH)
        self.write_ioreg(_USBCON, _FRZCLK)
        self.write_ioreg(_USBSTA, _VBUS)
        self.write_ioreg(_UESTA0X, _CFGOK)
        self._attach()

    # ------------------------------------------------------------------ the firmware's side

    def ioreg_write_handler(self, register: Any, data: Any) -> None:
        """Carry out what the firmware writes to a register."""
        address, value = int(register), data.value
        if address == _UENUM:
            number = value & 7
            if number != self._number:
                self._number = min(number, _ENDPOINTS - 1)
                self._choose()
        elif address == _UEINTX:
            self.endpoints[self._number].acknowledge(value)
            self._show()
            self._on_changed()
        elif address == _PLLCSR:
            self.write_ioreg(_PLLCSR, value | _PLOCK if value & _PLLE else value & ~_PLOCK)
        elif address in (_USBCON, _UDCON):
            self._attach()
        elif address == _UDINT:  # a flag can only be cleared
            self.write_ioreg(_UDINT, data.old & value)
            self._raise()
        elif address == _UDIEN:
            self._raise()
        elif address == _UERST:
            for number, endpoint in enumerate(self.endpoints):
                if value >> number & 1:
                    endpoint.clear()
            self._show()
        else:
            self._set_up(address, value)

    def _set_up(self, address: int, value: int) -> None:
        endpoint = self.endpoints[self._number]
        if address == _UECONX:
            endpoint.stalled = bool(value & _STALLRQ) and not value & _STALLRQC
        elif address == _UECFG1X:
            endpoint.set_up[2] = value
            endpoint.clear()
        endpoint.set_up[_SET_UP.index(address)] = value
        self._shown = list(endpoint.set_up)
        self._show()

    def _choose(self) -> None:
        """Show the registers of another endpoint; most firmwares change it many times per ms."""
        endpoint = self.endpoints[self._number]
        shown, self._shown = self._shown, list(endpoint.set_up)
        for register, before, value in zip(_SET_UP, shown, self._shown, strict=True):
            if before != value:
                self.write_ioreg(register, value)
        self._show_bank(endpoint)

    def _show(self) -> None:
        """Show the flags of the chosen endpoint, and raise what they cause."""
        self._show_bank(self.endpoints[self._number])
        self._raise()

    def _show_bank(self, endpoint: _Endpoint) -> None:
        self.write_ioreg(_FLAGS, endpoint.flags)
        self.write_ioreg(_COUNT, len(endpoint.current))

    def _raise(self) -> None:
        general = self.read_ioreg(_UDINT) & self.read_ioreg(_UDIEN)
        causes = sum(
            1 << number
            for number, endpoint in enumerate(self.endpoints)
            if endpoint.flags & endpoint.set_up[3] & _INTERRUPTS
        )
        self.write_ioreg(_UEINT, causes)
        lines = ((self._general, general), (self._common, causes))
        for vector, (handler, raised) in zip(self._vectors, lines, strict=True):
            if raised:
                handler.raise_interrupt(vector)
            else:
                handler.cancel_interrupt(vector)

    def _read(self) -> int:
        endpoint = self.endpoints[self._number]
        byte = endpoint.read()
        self._show_bank(endpoint)
        return byte

    def _write(self, byte: int) -> None:
        endpoint = self.endpoints[self._number]
        endpoint.write(byte)
        self._show_bank(endpoint)

    def _attach(self) -> None:
        runs = self.read_ioreg(_USBCON) & (_USBE | _FRZCLK) == _USBE
        attached = runs and not self.read_ioreg(_UDCON) & _DETACH
        if attached != self.attached:
            self.attached = attached
            self._on_attached(attached)

    def _clear(self) -> None:
        self.endpoints = [_Endpoint() for _ in range(_ENDPOINTS)]

    # ------------------------------------------------------------------ the host's side

    def bus_reset(self) -> None:
        """Reset the bus: all endpoints are off until the firmware sets them up again."""
        self._clear()
        self.write_ioreg(_UDADDR, 0)
        self.write_ioreg(_UDINT, self.read_ioreg(_UDINT) | _EORSTI)
        self._choose()

    def start_of_frame(self, number: int) -> None:
        """Begin a frame of a millisecond."""
        self.write_ioreg(_UDFNUM, number & 0xFF)
        self.write_ioreg(_UDFNUMH, number >> 8 & 7)
        self.write_ioreg(_UDINT, self.read_ioreg(_UDINT) | _SOFI)
        self._raise()

    def setup(self, request: bytes) -> None:
        """Begin a control transfer: what was left of the one before is discarded."""
        endpoint = self.endpoints[0]
        endpoint.clear()
        endpoint.current = bytearray(request)
        endpoint.flags = _RXSTPI
        self._show()

    @property
    def request_taken(self) -> bool:
        """Whether the firmware has read the request, and what the host sent for it."""
        return not self.endpoints[0].flags & (_RXSTPI | _RXOUTI)

    def send(self, number: int, packet: bytes) -> None:
        """Give a packet to an endpoint that has room."""
        endpoint = self.endpoints[number]
        if endpoint.is_control:
            endpoint.current = bytearray(packet)
            endpoint.flags |= _RXOUTI
        else:
            endpoint.waiting.append(packet)
            endpoint.offer()
        self._show()

    def fetch(self, number: int) -> bytes:
        """Take a packet from an endpoint that has one waiting."""
        endpoint = self.endpoints[number]
        packet = endpoint.waiting.popleft()
        if endpoint.is_control:
            endpoint.flags |= _TXINI
        endpoint.offer()
        self._show()
        return packet
