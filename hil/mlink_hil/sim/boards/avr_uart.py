"""The serial line over an AVR's UART 0; imported by the simulator's programs only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import yasimavr.lib.core as core

from mlink_hil.uno import CLOCK_HZ

_FRAME_BITS = 10  # start, 8 data, stop
_BAUD = 57_600
_RECEIVED_ID = "RECV"
_UART_DATA = 0xA6
"""Address of UDR0 as yasimavr counts: 0xC6 of the data sheet less the 32 CPU registers."""


class _ReceivedByte(core.Peripheral):  # type: ignore[misc]  # untyped base
    """Returns the received byte when the processor reads the UART's data register.

    A workaround for a fault of yasimavr 0.1.6, which keeps one value for both directions of that
    register. A byte sent between the arrival of another and its reading is read in place of it, and
    of two waiting bytes the first is read twice. At 1 Mbaud that affects one byte in ten.
    """

    def __init__(self, device: Any) -> None:
        super().__init__(_RECEIVED_ID)
        self.waiting: deque[int] = deque()
        self.init(device)
        self.add_ioreg(_UART_DATA)

    def ioreg_read_handler(self, _address: int, value: int) -> int:
        """Return the oldest received byte; called when the processor reads the register."""
        return self.waiting.popleft() if self.waiting else value

    def ioreg_peek_handler(self, _address: int, value: int) -> int:
        """Return the oldest received byte without removing it, for a debugger."""
        return self.waiting[0] if self.waiting else value

    def ioreg_write_handler(self, _address: int, _data: Any) -> None:
        """Do nothing: yasimavr's UART sends what is written."""


class UartLine:
    """Bytes in and out at the rate that the firmware has set.

    Args:
        device: The simulated processor.
        loop: Its simulation loop.
        receive_pin: The processor's name of the pin that receives.
        on_byte: Called with each byte when its stop bit has left.
        on_lost: Called when a byte is lost because the firmware has read too late.
    """

    def __init__(
        self,
        device: Any,
        loop: Any,
        receive_pin: str,
        on_byte: Callable[[int], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._device, self._loop = device, loop
        self._on_byte, self._on_lost = on_byte, on_lost
        self._uart = core.IOCTL_UART("0")
        device.find_pin(receive_pin).set_external_state("H")  # an idle line is high
        _, request = device.ctlreq(self._uart, core.CTLREQ_GET_SIGNAL)
        ids = core.UART.SignalId
        self._tx_start, self._tx_data = ids.TX_Start, ids.TX_Data
        self._tx_complete, self._rx_complete = ids.TX_Complete, ids.RX_Complete
        self._rx_overflow = ids.RX_Overflow
        self._received = _ReceivedByte(device)
        self._wait_to_receive: deque[int] = deque()
        self._on_wire: deque[int] = deque()
        self._receiving = False
        self._frame_cycles = _FRAME_BITS * CLOCK_HZ // _BAUD
        self._sending_since = 0
        self.next_event: int | None = None
        """When the byte that is being sent will have left; None when none is."""
        self._hook = core.CallableSignalHook(self._signal)
        request.data.value(core.Signal).connect(self._hook)

    @property
    def is_open(self) -> bool:
        """Whether a program has the other end open; True, since a UART cannot know."""
        return True

    @property
    def backlog(self) -> int:
        """Number of bytes fed that have not been received; the one that is on its way counts."""
        return len(self._wait_to_receive) + self._receiving

    def feed(self, data: bytes) -> None:
        """Send bytes to the board.

        A byte is given to the simulated UART when the one before has arrived.
        """
        self._wait_to_receive.extend(data)
        if not self._receiving:
            self._receive_next()

    def reset(self) -> None:
        """Forget what is on its way; the processor has been reset."""
        self._wait_to_receive.clear()
        self._received.waiting.clear()
        self._on_wire.clear()
        self._receiving = False
        self.next_event = None

    def _signal(self, signal: Any, _tag: int) -> None:
        kind = signal.sigid
        if kind == self._tx_start:
            self._sending_since = self._loop.cycle()
            self.next_event = self._sending_since + self._frame_cycles
        elif kind == self._tx_data:
            self.next_event = None
            # The firmware sets the baud rate: measure the duration of a byte.
            self._frame_cycles = self._loop.cycle() - self._sending_since
            self._on_byte(signal.data.as_uint() & 0xFF)
        elif kind == self._tx_complete:
            if not signal.data.as_uint():  # cut off by a reset
                self.next_event = None
        elif kind == self._rx_complete:
            self._receiving = False
            if self._on_wire:
                byte = self._on_wire.popleft()
                if signal.data.as_uint():  # else cut off by a reset
                    self._received.waiting.append(byte)
            self._receive_next()
        elif kind == self._rx_overflow:
            self._on_lost()
            if self._received.waiting:
                self._received.waiting.pop()  # the byte that begins replaces the last one

    def _receive_next(self) -> None:
        """Give the next byte to the simulated UART, which reports when it has arrived."""
        if not self._wait_to_receive:
            return
        self._receiving = True
        request = core.ctlreq_data_t()
        byte = self._wait_to_receive.popleft()
        self._on_wire.append(byte)
        request.data = core.vardata_t(bytes((byte,)))
        self._device.ctlreq(self._uart, core.CTLREQ_USART_BYTES, request)
