"""The Uno on the AVR simulator yasimavr. Imported by the program `avr_uno` only.

yasimavr is licensed under the GPL: it runs in that program, behind a pseudo-terminal, and neither
the runtime nor a driver imports this file.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yasimavr.lib.core as core
from yasimavr.device_library import load_device
from yasimavr.device_library.descriptors import DeviceDescriptor

from mlink.errors import DeviceError
from mlink_hil.sim.board import Board, BoardCrashed, Output, PinState
from mlink_hil.sim.elf import make_elf, read_firmware
from mlink_hil.uno import CLOCK_HZ, PIN_COUNT, PORT_PINS, SUPPLY_VOLT, USER_PINS

_MODEL = "atmega328"
_FLASH_BYTES = 32 * 1024
_FRAME_BITS = 10  # start, 8 data, stop
_BAUD = 57_600
_BOOT_SLICE = CLOCK_HZ // 1000
_LONGEST_BOOT = 10 * CLOCK_HZ
_QUIET_AFTER_BOOT = CLOCK_HZ // 50
"""The boot report is over when nothing was sent for so long."""
_DRIVER_ID = "WIRE"
_RECEIVED_ID = "RECV"
_UART_DATA = 0xA6
"""UDR0, counted as yasimavr does, from the first I/O register."""
_ADC_FACTORS = [1, 1, 2, 4, 8, 16, 32, 64]
"""Clock cycles that yasimavr shall count for the converter's, by its prescaler bits ADPS.

Two faults of yasimavr 0.1.6 are mended by them. Its own list has seven entries, so that ADPS = 7,
which every Arduino firmware uses, reads past its end: a conversion then takes what the memory
behind it says, another time in each process. And a conversion takes 26 of the converter's clocks
and not 13, so these are half of what the data sheet has.
"""


class _Wiring(core.PinDriver):  # type: ignore[misc]  # untyped base
    """Wires to the pins. They override what the port does with a pin.

    yasimavr stops when a pin that is an output is also driven from outside, and StandardFirmata
    starts with its pins as outputs. As overrides, wires never short anything: a wired pin shows
    what it is wired to.
    """

    def __init__(self, on_port: Callable[[int, Output, bool], None]) -> None:
        super().__init__(_DRIVER_ID, PIN_COUNT)
        self._on_port = on_port
        self._port: dict[int, tuple[Output, bool]] = {}
        self.levels: dict[int, bool] = {}
        self.weak: set[int] = set()
        """Pins whose level comes over a resistor: an output wins against it."""
        self.floating: set[int] = set()
        """Pins with a voltage: neither pull-up nor output may act against it."""

    def override_gpio(self, index: int, controls: Any) -> Any:
        """Return what acts on the pin: the wire if there is one, else the port's controls."""
        what, high = Output.NOTHING, bool(controls.drive)
        if controls.dir:
            what = Output.DRIVES
        elif controls.pull_up:
            what, high = Output.PULL_UP, True
        if self._port.get(index) != (what, high):
            self._port[index] = (what, high)
            self._on_port(index, what, high)
        level = self.levels.get(index)
        if level is not None and not (controls.dir and index in self.weak):
            return core.Pin.controls_t(1, int(level), False, False)
        if index in self.floating:
            return core.Pin.controls_t(0, 0, False, False)
        return controls


class _ReceivedByte(core.Peripheral):  # type: ignore[misc]  # untyped base
    """Gives the processor the byte that was received when it reads the UART's data register.

    yasimavr 0.1.6 keeps one value for both directions of that register: a byte that is sent between
    the end of a received one and its reading is read in its place, and of two received bytes that
    wait the first is read twice. At a million baud that hits one byte in ten.
    """

    def __init__(self, device: Any) -> None:
        super().__init__(_RECEIVED_ID)
        self.waiting: deque[int] = deque()
        self.init(device)
        self.add_ioreg(_UART_DATA)

    def ioreg_read_handler(self, _address: int, value: int) -> int:
        """Return what the processor reads."""
        return self.waiting.popleft() if self.waiting else value

    def ioreg_peek_handler(self, _address: int, value: int) -> int:
        """Return what a debugger reads."""
        return self.waiting[0] if self.waiting else value

    def ioreg_write_handler(self, _address: int, _data: Any) -> None:
        """Do nothing: the UART sends what is written."""


def _load_device() -> Any:
    """Return the processor, its converter mended."""
    # The library shares one description per model while somebody holds it.
    description = DeviceDescriptor.create_from_model(_MODEL)
    config = description.peripherals["ADC"].class_descriptor.config
    config["clk_ps_factors"] = _ADC_FACTORS
    return load_device(_MODEL)


class AvrBoard(Board):
    """StandardFirmata, or another firmware for the Uno, on a simulated ATmega328 at 16 MHz."""

    simulator = "yasimavr"

    def __init__(self, hex_file: Path) -> None:
        super().__init__()
        self.firmware = hex_file.name
        core.global_logger().set_level(core.Logger.Level.Silent)
        self._device = _load_device()
        self._device.logger().set_level(core.Logger.Level.Silent)
        self._loop = core.SimLoop(self._device)
        self._loop.set_fast_mode(True)
        self._load(read_firmware(hex_file, largest=_FLASH_BYTES))
        self._wait_to_receive: deque[int] = deque()
        self._receiving = False
        self._byte_leaves: int | None = None
        self._frame_cycles = _FRAME_BITS * CLOCK_HZ // _BAUD
        self._sending_since = 0
        self._hooks: list[Any] = []  # the simulator keeps no reference to them
        self._connect_serial()
        self._connect_pins()

    def _load(self, image: bytes) -> None:
        """Put an image into the flash."""
        with tempfile.NamedTemporaryFile(prefix="mlink-", suffix=".elf") as file:
            file.write(make_elf(image))
            file.flush()
            firmware = core.Firmware.read_elf(file.name)
        if firmware is None or not firmware.has_memory(core.Firmware.Area.Flash):
            raise DeviceError(
                "yasimavr did not accept the firmware",
                remedy="Reinstall it: pip install --force-reinstall 'mlink-hil[sim]'",
            )
        firmware.frequency = CLOCK_HZ
        firmware.vcc = SUPPLY_VOLT
        firmware.aref = 1.0
        self._device.load_firmware(firmware)

    def _connect_serial(self) -> None:
        self._uart = core.IOCTL_UART("0")
        self._device.find_pin(PORT_PINS[0]).set_external_state("H")  # an idle line is high
        _, request = self._device.ctlreq(self._uart, core.CTLREQ_GET_SIGNAL)
        ids = core.UART.SignalId
        self._tx_start, self._tx_data = ids.TX_Start, ids.TX_Data
        self._tx_complete, self._rx_complete = ids.TX_Complete, ids.RX_Complete
        self._rx_overflow = ids.RX_Overflow
        self._received = _ReceivedByte(self._device)
        self._on_wire: deque[int] = deque()
        hook = core.CallableSignalHook(self._serial_signal)
        request.data.value(core.Signal).connect(hook)
        self._hooks.append(hook)

    def _connect_pins(self) -> None:
        self._pins = [self._device.find_pin(name) for name in PORT_PINS]
        self._wiring = _Wiring(self._port_changed)
        manager = self._device.pin_manager()
        manager.register_driver(self._wiring)
        manager.add_mux_config(_DRIVER_ID, list(PORT_PINS), 1)
        self._digital_change = core.Wire.SignalId.DigitalChange
        for pin in USER_PINS:
            self._wiring.set_enabled(pin, True)
            hook = core.CallableSignalHook(self._pin_signal)
            self._pins[pin].signal().connect(hook, pin)
            self._hooks.append(hook)

    # ------------------------------------------------------------------ what the simulator calls

    def _serial_signal(self, signal: Any, _tag: int) -> None:
        kind = signal.sigid
        if kind == self._tx_start:
            self._sending_since = self._loop.cycle()
            self._byte_leaves = self._sending_since + self._frame_cycles
        elif kind == self._tx_data:
            self.bytes_out += 1
            self._byte_leaves = None
            # The firmware chose the baud rate: learn a frame's length from the first ones.
            self._frame_cycles = self._loop.cycle() - self._sending_since
            self.on_byte(signal.data.as_uint() & 0xFF)
        elif kind == self._tx_complete:
            if not signal.data.as_uint():  # cut off by a reset
                self._byte_leaves = None
        elif kind == self._rx_complete:
            self._receiving = False
            if self._on_wire:
                byte = self._on_wire.popleft()
                if signal.data.as_uint():  # else cut off by a reset
                    self._received.waiting.append(byte)
            self._receive_next()
        elif kind == self._rx_overflow:
            self.overruns += 1
            if self._received.waiting:
                self._received.waiting.pop()  # the last byte makes room for the one that begins

    def _pin_signal(self, signal: Any, pin: int) -> None:
        if signal.sigid == self._digital_change:
            self.on_edge(pin, bool(signal.data.as_uint()), self._loop.cycle())

    def _port_changed(self, pin: int, what: Output, level: bool) -> None:
        if self.on_output is not None:
            self.on_output(pin, what, level, self._loop.cycle())

    # ------------------------------------------------------------------ the board

    @property
    def cycle(self) -> int:
        """Cycles of the clock since the start."""
        return int(self._loop.cycle())

    @property
    def next_event(self) -> int | None:
        """The cycle at which the byte that is being sent will have left."""
        return self._byte_leaves

    @property
    def backlog(self) -> int:
        """Bytes fed that the board has not received yet."""
        return len(self._wait_to_receive) + self._receiving

    def run_until(self, cycle: int) -> None:
        """Simulate up to `cycle`; BoardCrashed when the processor stopped."""
        count = cycle - self._loop.cycle()
        if count <= 0:
            return
        self._loop.run(count)
        if self._device.state() != core.Device.State.Running:
            self._check_state()

    def _check_state(self) -> None:
        """Raise BoardCrashed unless the processor only sleeps or resets."""
        state = self._device.state()
        ended = (core.Device.State.Crashed, core.Device.State.Done, core.Device.State.Break)
        if state in ended:
            raise BoardCrashed(
                f"the simulated processor stopped ({state.name}) after "
                f"{self.cycle / CLOCK_HZ:.3f} s of simulated time"
            )

    def boot(self) -> None:
        """Run until the firmware has sent its report, or for ten simulated seconds."""
        last_sent: int | None = None
        end = self.cycle + _LONGEST_BOOT
        while self.cycle < end:
            sent = self.bytes_out
            self.run_until(self.cycle + _BOOT_SLICE)
            if self.bytes_out != sent:
                last_sent = self.cycle
            elif last_sent is not None and self.cycle - last_sent > _QUIET_AFTER_BOOT:
                return

    def feed(self, data: bytes) -> None:
        """Put bytes on the serial line."""
        self.bytes_in += len(data)
        self._wait_to_receive.extend(data)
        if not self._receiving:
            self._receive_next()

    def _receive_next(self) -> None:
        """Hand the next byte to the simulated line, which takes its time for it."""
        if not self._wait_to_receive:
            return
        self._receiving = True
        request = core.ctlreq_data_t()
        byte = self._wait_to_receive.popleft()
        self._on_wire.append(byte)
        request.data = core.vardata_t(bytes((byte,)))
        self._device.ctlreq(self._uart, core.CTLREQ_USART_BYTES, request)

    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Wire a pin to 5 V, to ground or to nothing; weakly, as by a pull-up's resistor."""
        wiring = self._wiring
        if pin in wiring.floating:
            self._pins[pin].set_external_state("Z")
            wiring.floating.discard(pin)
        wiring.weak.discard(pin)
        if level is None:
            wiring.levels.pop(pin, None)
        else:
            wiring.levels[pin] = level
            if weak:
                wiring.weak.add(pin)
        wiring.update_pin_state(pin)

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin, or nothing."""
        if volts is None:
            self.drive(pin, None)
            return
        self._wiring.levels.pop(pin, None)
        self._wiring.floating.add(pin)
        self._wiring.update_pin_state(pin)
        self._pins[pin].set_external_state("A", volts / SUPPLY_VOLT)

    def read(self, pin: int) -> PinState:
        """Return a pin's state."""
        line = self._pins[pin]
        driven = pin in self._wiring.levels or pin in self._wiring.floating
        return PinState(bool(line.digital_state()), bool(line.gpio_controls().dir), driven)

    def reset(self) -> None:
        """Reset the processor; wires from outside stay."""
        self._wait_to_receive.clear()
        self._device.reset(core.Device.ResetFlag.Ext)
        self._received.waiting.clear()
        self._on_wire.clear()
        self._receiving = False
        self._byte_leaves = None
