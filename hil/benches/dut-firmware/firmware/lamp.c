// The device under test: a lamp with a push button. Each press toggles the lamp.
//
//   pin 2 (PD2)  button to ground, with the chip's pull-up
//   pin 8 (PB0)  lamp
//   pin 13 (PB5) LED, on while a change of the button is being debounced
//
// ATmega328P at 16 MHz, no library. The contact bounces, so a press counts when the button's pin has
// kept its level for DEBOUNCE_USEC, measured by a timer with ticks of 64 µs.
//
//   make                builds all of:
//   lamp-good.hex       the lamp
//   lamp-buggy.hex      -DBUGGY: a debounce time that overflows; each press shows it
//   lamp-racy.hex       -DBY_INTERRUPT -DRACY: an interrupt counts the ticks, and may come while
//                       they are read; one press in some hundred shows it
//   lamp-atomic.hex     -DBY_INTERRUPT: the same without that race

#include <avr/interrupt.h>
#include <avr/io.h>
#include <stdint.h>
#include <util/atomic.h>

#define DEBOUNCE_USEC 20000u
#define TICK_USEC 64u

#ifdef BUGGY
// 20,000 µs are 312 ticks, which does not fit into 8 bits: 56 remain, which are 3.6 ms.
typedef uint8_t ticks_t;
#else
typedef uint16_t ticks_t;
#endif

static const ticks_t quiet_ticks = (ticks_t)(DEBOUNCE_USEC / TICK_USEC);

#ifdef BY_INTERRUPT
static volatile uint16_t ticks;

ISR(TIMER1_COMPA_vect) { ticks++; }

static void start_ticks(void) {
    OCR1A = TICK_USEC * 2 - 1;
    TIMSK1 = _BV(OCIE1A);
    TCCR1B = _BV(WGM12) | _BV(CS11); // 16 MHz / 8: half a µs
    sei();
}

static uint16_t now_ticks(void) {
#ifdef RACY
    // Reads the low byte, then the high one. When the interrupt comes between the two and carries,
    // 0x00FF is read as 0x01FF: 16 ms too much.
    return ticks;
#else
    uint16_t now;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { now = ticks; }
    return now;
#endif
}
#else
static void start_ticks(void) { TCCR1B = _BV(CS12) | _BV(CS10); } // 16 MHz / 1024: 64 µs per tick

static uint16_t now_ticks(void) { return TCNT1; }
#endif

static uint8_t is_pressed(void) { return !(PIND & _BV(PD2)); }

int main(void) {
    PORTD |= _BV(PD2);
    DDRB |= _BV(PB0) | _BV(PB5);
    start_ticks();

    uint8_t pressed = 0;   // the state after debouncing
    uint8_t candidate = 0; // the state of the pin
    uint16_t since = now_ticks();
    for (;;) {
        uint8_t now = is_pressed();
        if (now != candidate) {
            candidate = now;
            since = now_ticks();
        }
        if (candidate == pressed) {
            PORTB &= ~_BV(PB5);
            continue;
        }
        PORTB |= _BV(PB5);
        if ((uint16_t)(now_ticks() - since) < quiet_ticks)
            continue;
        pressed = candidate;
        if (pressed)
            PINB = _BV(PB0); // toggles
    }
}
