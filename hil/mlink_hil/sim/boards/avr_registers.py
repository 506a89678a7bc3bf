"""The I/O registers of the boards' processors by the names of their data sheets, with addresses."""

from __future__ import annotations

_ALL = """
    DDRB 24  PORTB 25  PINC 26  DDRC 27  PORTC 28  PIND 29  DDRD 2A  PORTD 2B
    TIFR0 35  TIFR1 36  PCIFR 3B  EIFR 3C  EIMSK 3D  GPIOR0 3E  EECR 3F
    EEARL 41  GTCCR 43  TCCR0A 44  TCCR0B 45  GPIOR1 4A  GPIOR2 4B  SPCR 4C  SPSR 4D
    ACSR 50  SMCR 53  MCUSR 54  SPMCSR 57  WDTCSR 60  CLKPR 61  OSCCAL 66  PCICR 68  EICRA 69
    PCMSK0 6B  TIMSK0 6E  TIMSK1 6F  ADCL 78  ADCH 79  ADCSRA 7A
    ADCSRB 7B  ADMUX 7C  DIDR0 7E  DIDR1 7F  TCCR1A 80  TCCR1B 81  TCCR1C 82
    TWBR B8  TWSR B9  TWAR BA  TWDR BB  TWCR BC  TWAMR BD
    PINB 23  EEDR 40  EEARH 42  TCNT0 46  OCR0A 47  OCR0B 48  SPDR 4E  MCUCR 55
"""
_TIMER_2_AND_UART_0 = """
    TIFR2 37  PCMSK1 6C  PCMSK2 6D  TIMSK2 70  TCCR2A B0  TCCR2B B1  TCNT2 B2  OCR2A B3  OCR2B B4
    ASSR B6  UCSR0A C0  UCSR0B C1  UCSR0C C2  UDR0 C6
"""
_MORE_PORTS = """
    PINE 2C  DDRE 2D  PORTE 2E  PINF 2F  DDRF 30  PORTF 31  TIFR3 38  TIFR4 39  PRR0 64  PRR1 65
    EICRB 6A  TIMSK3 71  TIMSK4 72  DIDR2 7D  TCCR3A 90  TCCR3B 91  TCCR3C 92
    UCSR1A C8  UCSR1B C9  UCSR1C CA  UDR1 CE
"""
_BYTES = {
    "atmega328": _ALL + _TIMER_2_AND_UART_0 + "PRR 64",
    "atmega2560": _ALL
    + _TIMER_2_AND_UART_0
    + _MORE_PORTS
    + """
    PINA 20  DDRA 21  PORTA 22  PING 32  DDRG 33  PORTG 34  TIFR5 3A  RAMPZ 5B  EIND 5C  TIMSK5 73
    TCCR4A A0  TCCR4B A1  TCCR4C A2  PINH 100  DDRH 101  PORTH 102  PINJ 103  DDRJ 104  PORTJ 105
    PINK 106  DDRK 107  PORTK 108  PINL 109  DDRL 10A  PORTL 10B  TCCR5A 120  TCCR5B 121  TCCR5C 122
    """,
    "atmega32u4": _ALL
    + _MORE_PORTS
    + """
    PLLCSR 49  PLLFRQ 52  TC4H BF  TCCR4A C0  TCCR4B C1  TCCR4C C2  TCCR4D C3  OCR4A CF  OCR4B D0
    OCR4C D1  OCR4D D2  UHWCON D7  USBCON D8  USBSTA D9  USBINT DA  UDCON E0  UDINT E1  UDIEN E2
    UDADDR E3  UEINTX E8  UENUM E9  UERST EA  UECONX EB  UECFG0X EC  UECFG1X ED  UESTA0X EE
    UESTA1X EF  UEIENX F0  UEBCLX F2  UEBCHX F3  UEINT F4
    """,
}
_ALL_WORDS = "EEAR 41  ADC 78  TCNT1 84  ICR1 86  OCR1A 88  OCR1B 8A  "
_TIMER_3 = "OCR1C 8C  TCNT3 94  ICR3 96  OCR3A 98  OCR3B 9A  OCR3C 9C  UBRR1 CC  "
_WORDS = {
    "atmega328": _ALL_WORDS + "UBRR0 C4",
    "atmega2560": _ALL_WORDS
    + _TIMER_3
    + "UBRR0 C4  TCNT4 A4  ICR4 A6  OCR4A A8  OCR4B AA  OCR4C AC  "
    + "TCNT5 124  ICR5 126  OCR5A 128  OCR5B 12A  OCR5C 12C",
    "atmega32u4": _ALL_WORDS + _TIMER_3 + "UDFNUM E4",
}


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(at, 16) for name, at in zip(words[::2], words[1::2], strict=True)}


def registers_of(model: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the addresses of a processor's registers in its data space, by name.

    Args:
        model: "atmega328", "atmega2560" or "atmega32u4".

    Returns:
        Registers of one byte, and those of two, the low byte first.
    """
    return _table(_BYTES[model]), _table(_WORDS[model])
