"""Descriptions of the boards' processors for yasimavr; imported by the simulator's programs only.

yasimavr has the ATmega328, but neither the 2560 nor the 32U4, although its core knows all that they
need. They are described here by the library's own peripherals at the addresses of the data sheets.
What those lack is in `avr_parts.py` and `avr_usb.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from yasimavr.device_library.builders._builders_arch_avr import (
    AVR_BaseDevice,
    AVR_DeviceBuilder,
)
from yasimavr.device_library.descriptors import (
    ConfigRepositories,
    DeviceDescriptor,
    RegisterDescriptor,
)

_INTERFACES = "mega48-88-168-328_interfaces.yml"
_CONTROLLERS = "mega48-88-168-328_controllers.yml"
_TIMERS = "mega48-88-168-328_timers.yml"
_IO = 0x20
"""Where yasimavr's addresses begin: those of the data sheet less the 32 CPU registers."""
EIMSK, EIFR, EICRA, EICRB = 0x3D, 0x3C, 0x69, 0x6A

_ADC_FACTORS = [1, 1, 2, 4, 8, 16, 32, 64]
"""CPU cycles per clock of the analog-digital converter, by its prescaler bits ADPS.

A workaround for two faults of yasimavr 0.1.6. (1) Its own list has seven entries, so that ADPS = 7,
which every Arduino firmware uses, reads past the end of it: the duration of a conversion is then
whatever the memory there holds, different in each process. (2) A conversion takes 26 clocks of the
converter in place of 13, so these factors are half of those in the data sheet.
"""

_VECTORS = {
    "atmega2560": """
        RESET INT0 INT1 INT2 INT3 INT4 INT5 INT6 INT7 PCINT0 PCINT1 PCINT2 WDT
        TIMER2_COMPA TIMER2_COMPB TIMER2_OVF
        TIMER1_CAPT TIMER1_COMPA TIMER1_COMPB TIMER1_COMPC TIMER1_OVF
        TIMER0_COMPA TIMER0_COMPB TIMER0_OVF SPI_STC USART0_RX USART0_UDRE USART0_TX
        ANALOG_COMP ADC EE_READY TIMER3_CAPT TIMER3_COMPA TIMER3_COMPB TIMER3_COMPC TIMER3_OVF
        USART1_RX USART1_UDRE USART1_TX TWI SPM_READY
        TIMER4_CAPT TIMER4_COMPA TIMER4_COMPB TIMER4_COMPC TIMER4_OVF
        TIMER5_CAPT TIMER5_COMPA TIMER5_COMPB TIMER5_COMPC TIMER5_OVF
        USART2_RX USART2_UDRE USART2_TX USART3_RX USART3_UDRE USART3_TX""",
    "atmega32u4": """
        RESET INT0 INT1 INT2 INT3 INT4 INT5 INT6 INT7 PCINT0 USB_GEN USB_COM WDT
        NONE13 NONE14 NONE15 TIMER1_CAPT TIMER1_COMPA TIMER1_COMPB TIMER1_COMPC TIMER1_OVF
        TIMER0_COMPA TIMER0_COMPB TIMER0_OVF SPI_STC USART1_RX USART1_UDRE USART1_TX
        ANALOG_COMP ADC EE_READY TIMER3_CAPT TIMER3_COMPA TIMER3_COMPB TIMER3_COMPC TIMER3_OVF
        TWI SPM_READY TIMER4_COMPA TIMER4_COMPB TIMER4_COMPD TIMER4_OVF TIMER4_FPF""",
}
_PORTS = {
    "atmega2560": {
        "A": 0x20, "B": 0x23, "C": 0x26, "D": 0x29, "E": 0x2C, "F": 0x2F,
        "G": 0x32, "H": 0x100, "J": 0x103, "K": 0x106, "L": 0x109,
    },
    "atmega32u4": {"B": 0x23, "C": 0x26, "D": 0x29, "E": 0x2C, "F": 0x2F},
}  # fmt: skip
_WIDE_TIMERS = {
    "atmega2560": ((1, 0x80), (3, 0x90), (4, 0xA0), (5, 0x120)),
    "atmega32u4": ((1, 0x80), (3, 0x90)),
}
_UARTS = {
    "atmega2560": ((0, 0xC0), (1, 0xC8), (2, 0xD0), (3, 0x130)),
    "atmega32u4": ((1, 0xC8),),
}
_MEMORY = {  # RAM, flash, page of the flash, EEPROM in bytes; signature; last I/O register
    "atmega2560": (8 << 10, 256 << 10, 256, 4096, (0x1E, 0x98, 0x01), 0x1FF),
    "atmega32u4": (2560, 32 << 10, 128, 1024, (0x1E, 0x95, 0x87), 0xFF),
}
_BUSES = {  # SPI: clock, MISO, MOSI, select; TWI: clock, data
    "atmega2560": (("PB1", "PB3", "PB2", "PB0"), ("PD0", "PD1")),
    "atmega32u4": (("PB1", "PB3", "PB2", "PB0"), ("PD0", "PD1")),
}
_UART_PINS = {
    "atmega2560": (
        ("PE1", "PE0", "PE2"), ("PD3", "PD2", "PD5"), ("PH1", "PH0", "PH2"), ("PJ1", "PJ0", "PJ2"),
    ),
    "atmega32u4": (("PD3", "PD2", "PD5"),),
}  # fmt: skip
ADC_PINS = {
    "atmega2560": tuple(f"P{port}{bit}" for port in "FK" for bit in range(8)),
    "atmega32u4": (
        "PF0", "PF1", "", "", "PF4", "PF5", "PF6", "PF7", "PD4", "PD6", "PD7", "PB4", "PB5", "PB6",
    ),
}  # fmt: skip
"""The pin of each input of the converter; "" where a processor has none."""
ADC_LINE = "AIN"
"""A pin of the description alone: the input that the converter's multiplexer has chosen."""
_PIN_CHANGE = {
    "atmega2560": ("B", ("PE0", *(f"PJ{bit}" for bit in range(7))), "K"),
    "atmega32u4": ("B",),
}


def load_chip(model: str) -> Any:
    """Return a simulated processor: "atmega328", "atmega2560" or "atmega32u4"."""
    if model == "atmega328":
        description = DeviceDescriptor.create_from_model(model)
        description.peripherals["ADC"].config["clk_ps_factors"] = _ADC_FACTORS
    else:
        description = DeviceDescriptor()
        description._load_config(_describe(model), ConfigRepositories)
        registers = description.peripherals["CPU"].class_descriptor.registers
        for name, address in (("RAMPZ", 0x3B), ("EIND", 0x3C)):
            registers[name] = RegisterDescriptor({"name": name, "address": address})
        registers = description.peripherals["TC1"].class_descriptor.registers
        registers["OCRC"] = RegisterDescriptor({"name": "OCRC", "size": 2})
    return _Builder.build_device(description, _Chip)


class _Builder(AVR_DeviceBuilder):  # type: ignore[misc]  # untyped base
    """Builds a processor from its description."""

    def build_peripheral(self, device: Any, name: str) -> None:
        """Build one peripheral; PWM of 9 and 10 bits has its top, which the library leaves out."""
        described = self.dev_descriptor.peripherals[name]
        if described.per_class == "TC1" and name not in self._per_configs:
            config = self._get_peripheral_builder("TC1").config_builder(described)
            tops = described.class_descriptor.config["modes"]
            modes = list(config.modes)
            for mode in modes:
                mode.fixed_top_exp = tops[mode.reg_value].get("top_fixed_exp", 0)
            config.modes = modes
            self._per_configs[name] = config
        super().build_peripheral(device, name)


class _Chip(AVR_BaseDevice):  # type: ignore[misc]  # untyped base
    """A processor with all peripherals of its description."""

    def __init__(self, description: Any, builder: Any) -> None:
        super().__init__(description, builder)
        builder.build_peripherals(self, [name for name in description.peripherals if name != "CPU"])

    def arch_init(self) -> bool:
        """Connect the serial interfaces with their pins."""
        for name in self._descriptor_.iomux:
            self._builder_.add_pin_driver_mux_configs(self, name)
        return True


def vectors_of(model: str) -> list[str]:
    """Return the names of a processor's interrupts, in the order of its vectors."""
    return _VECTORS[model].split()


def _describe(model: str) -> dict[str, Any]:
    """Return the description of a processor in the form of the library's YAML files."""
    ram, flash, page, eeprom, signature, last_io = _MEMORY[model]
    vectors = vectors_of(model)
    wakes = [name for name in vectors if name.startswith(("INT", "PCINT", "WDT", "TWI", "USB_GEN"))]
    spi, twi = _BUSES[model]
    uarts = _UARTS[model]
    return {
        "name": model,
        "architecture": "AVR",
        "memory": {
            "data": {
                "regfile": [0, _IO - 1],
                "io": [_IO, last_io],
                "ram": [last_io + 1, last_io + ram],
            },
            "ram": {"size": ram},
            "flash": {"size": flash, "page_size": page},
            "eeprom": {"size": eeprom},
        },
        "core": {"extended_addressing": flash > 128 << 10, "clear_GIE_on_int": True},
        "fuses": {"size": 3, "factory_values": [0x62, 0xD9, 0xFF], "lock_byte": 0xFF},
        "device_signature": list(signature),
        "access": {"lsb_first_on_write": True, "lsb_first_on_read": False},
        "pins": [f"P{port}{bit}" for port in _PORTS[model] for bit in range(8)] + [ADC_LINE],
        "interrupts": {
            "vector_size": 4,
            "vectors": vectors,
            "sleep_mask": {mode: _mask(vectors, vectors) for mode in ("Idle", "ADC")}
            | {
                mode: _mask(vectors, wakes)
                for mode in ("PowerDown", "PowerSave", "Standby", "ExtStandby")
            },
        },
        "peripherals": _peripherals(model, flash // page),
        "iomux": {"SPI": {"DFLT": list(spi)}, "TWI": {"DFLT": list(twi)}}
        | {
            f"USART{number}": {"DFLT": list(pins)}
            for (number, _), pins in zip(uarts, _UART_PINS[model], strict=True)
        },
    }


def _mask(vectors: list[str], names: Iterable[str]) -> list[int]:
    mask = [0] * 8
    for name in names:
        number = vectors.index(name)
        mask[number // 8] |= 1 << number % 8
    return mask


def _peripherals(model: str, pages: int) -> dict[str, Any]:
    controllers = {"file": _CONTROLLERS}
    common = {"file": "avr_controllers.yml"}
    analog = {"file": "avr_analog.yml"}
    found: dict[str, Any] = {
        "CPU": common | {"register_map": {"GPIOR0": 0x1E, "GPIOR1": 0x2A, "GPIOR2": 0x2B}},
        "CPUINT": controllers,
        "RSTCTRL": common,
        "SLPCTRL": controllers,
        "FUSES": controllers
        | {
            "class": "FUSES_328",
            "config": {"nrww_start": pages * 31 // 32, "boot_sizes": [32, 16, 8, 4]},
        },
        "NVMCTRL": controllers
        | {"config": {"iv_spm_ready": "SPM_READY", "iv_ee_ready": "EE_READY"}},
        "MISC": common,
        "WDT": {"file": "avr_timers.yml", "register_map": {"WDTCSR": 0x40}},
        "VREF": analog,
        "TC0": {
            "file": "avr_timers.yml",
            "ctl_id": "TC_0",
            "register_map": {
                "TCCRA": 0x24, "TCCRB": 0x25, "TCNT": 0x26, "OCRA": 0x27, "OCRB": 0x28,
                "TIMSK": 0x4E, "TIFR": 0x15,
            },
        },
        "SPI": {"file": _INTERFACES, "ctl_id": "SPI0"},
        "TWI": {"file": _INTERFACES, "ctl_id": "TWI0"},
        "ADC": {
            "file": "mega48-88-168-328_analog.yml",
            "ctl_id": "ADC0",
            "config": {
                "channels": {number: ["SingleEnded", ADC_LINE] for number in range(8)},
                "clk_ps_factors": _ADC_FACTORS,
                "references": {0: "AREF", 1: "AVCC", 2: "Internal", 3: "Internal"},
            },
        },
        "EXTINT": _external(0, EICRA, _pin_changes(model)),
        "EXTINT2": _external(4, EICRB, []),
    }  # fmt: skip
    if model == "atmega2560":
        found["TC2"] = {"file": _TIMERS, "ctl_id": "TC_2"}
    for port, base in _PORTS[model].items():
        found[f"PORT{port}"] = {"class": "PORT", "file": _INTERFACES, "base": base - _IO}
    for number, base in _WIDE_TIMERS[model]:
        found[f"TC{number}"] = _wide_timer(number, base - _IO)
    for number, base in _UARTS[model]:
        found[f"USART{number}"] = _uart(number, base - _IO)
    return found


def _wide_timer(number: int, base: int) -> dict[str, Any]:
    """Return a timer of 16 bits with three outputs; the library's has two."""
    registers = {"TCCRA": 0, "TCCRB": 1, "TCCRC": 2, "TCNT": 4, "ICR": 6}
    registers |= {"OCRA": 8, "OCRB": 10, "OCRC": 12}
    return {
        "class": "TC1",
        "file": _TIMERS,
        "ctl_id": f"TC_{number}",
        "register_map": {name: base + at for name, at in registers.items()}
        | {"TIMSK": 0x4E + number, "TIFR": 0x15 + number},
        "config": {
            "vect_ovf": [f"TIMER{number}_OVF", 0],
            "vect_icr": [f"TIMER{number}_CAPT", 5],
            "oc_channels": [
                {
                    "reg_oc": f"OCR{letter}",
                    "vector": [f"TIMER{number}_COMP{letter}", at + 1],
                    "rb_mode": f"TCCRA/{6 - 2 * at}-{7 - 2 * at}",
                    "rb_force": f"TCCRC/{7 - at}",
                }
                for at, letter in enumerate("ABC")
            ],
        },
    }


def _uart(number: int, base: int) -> dict[str, Any]:
    registers = {"UCSRA": 0, "UCSRB": 1, "UCSRC": 2, "UBRR": 4, "UDR": 6}
    interrupts = {"iv_rxc": "RX", "iv_txc": "TX", "iv_txe": "UDRE"}
    return {
        "class": "USART",
        "file": _INTERFACES,
        "ctl_id": f"USART{number}",
        "register_map": {name: base + at for name, at in registers.items()},
        "config": {key: f"USART{number}_{name}" for key, name in interrupts.items()},
    }


def _external(first: int, control: int, changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return four external interrupts: a peripheral of the library has one control register."""
    pins = ("PD0", "PD1", "PD2", "PD3", "PE4", "PE5", "PE6", "PE7")
    bits = f"{first}-{first + 3}"
    config: dict[str, Any] = {
        "ext_ints": [
            {"vector": f"INT{number}", "pin": pins[number]} for number in range(first, first + 4)
        ],
        "pc_ints": changes,
        "rb_extint_ctrl": f"{control - _IO:#x}/0-7",
        "rb_extint_mask": f"{EIMSK - _IO:#x}/{bits}",
        "rb_extint_flag": f"{EIFR - _IO:#x}/{bits}",
    }
    if not changes:
        config |= {"rb_pcint_ctrl": "", "rb_pcint_flag": ""}
    return {"class": "EXTINT", "file": _INTERFACES, "config": config}


def _pin_changes(model: str) -> list[dict[str, Any]]:
    return [
        {
            "vector": f"PCINT{number}",
            "reg_mask": f"PCMSK{number}",
            "pins": [f"P{pins}{bit}" for bit in range(8)] if isinstance(pins, str) else list(pins),
        }
        for number, pins in enumerate(_PIN_CHANGE[model])
    ]
