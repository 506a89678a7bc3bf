"""The I/O registers of the ATmega328P by the names of its data sheet, with their addresses."""

from __future__ import annotations

_BYTES = """
    PINB 23  DDRB 24  PORTB 25  PINC 26  DDRC 27  PORTC 28  PIND 29  DDRD 2A  PORTD 2B
    TIFR0 35  TIFR1 36  TIFR2 37  PCIFR 3B  EIFR 3C  EIMSK 3D  GPIOR0 3E  EECR 3F  EEDR 40
    EEARL 41  EEARH 42  GTCCR 43  TCCR0A 44  TCCR0B 45  TCNT0 46  OCR0A 47  OCR0B 48
    GPIOR1 4A  GPIOR2 4B  SPCR 4C  SPSR 4D  SPDR 4E  ACSR 50  SMCR 53  MCUSR 54  MCUCR 55
    SPMCSR 57  WDTCSR 60  CLKPR 61  PRR 64  OSCCAL 66  PCICR 68  EICRA 69  PCMSK0 6B
    PCMSK1 6C  PCMSK2 6D  TIMSK0 6E  TIMSK1 6F  TIMSK2 70  ADCL 78  ADCH 79  ADCSRA 7A
    ADCSRB 7B  ADMUX 7C  DIDR0 7E  DIDR1 7F  TCCR1A 80  TCCR1B 81  TCCR1C 82  TCCR2A B0
    TCCR2B B1  TCNT2 B2  OCR2A B3  OCR2B B4  ASSR B6  TWBR B8  TWSR B9  TWAR BA  TWDR BB
    TWCR BC  TWAMR BD  UCSR0A C0  UCSR0B C1  UCSR0C C2  UDR0 C6
"""
_WORDS = "EEAR 41  ADC 78  TCNT1 84  ICR1 86  OCR1A 88  OCR1B 8A  UBRR0 C4"


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(at, 16) for name, at in zip(words[::2], words[1::2], strict=True)}


BYTES = _table(_BYTES)
"""Register of one byte → its address in the data space."""
WORDS = _table(_WORDS)
"""Register of two bytes, the low one first → its address."""
