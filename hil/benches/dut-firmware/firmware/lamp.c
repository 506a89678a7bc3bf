// The device under test: a lamp with a push button. Each press toggles the lamp.
//
//   pin 2 (PD2)  button to ground, with the chip's pull-up
//   pin 8 (PB0)  lamp
//   pin 13 (PB5) LED, on while a change of the button is being debounced
//
// ATmega328P at 16 MHz, no library. The contact bounces, so a press counts when the button's pin has
// kept its level for DEBOUNCE_USEC, measured by a timer with ticks of 64 µs.
//
//   make                builds lamp-good.hex and lamp-buggy.hex (the bug: -DBUGGY)

#include <avr/io.h>
#include <stdint.h>

#define DEBOUNCE_USEC 20000u
#define TICK_USEC 64u

#ifdef BUGGY
// 20,000 µs are 312 ticks, which does not fit into 8 bits: 56 remain, which are 3.6 ms.
typedef uint8_t ticks_t;
#else
typedef uint16_t ticks_t;
#endif

static const ticks_t quiet_ticks = (ticks_t)(DEBOUNCE_USEC / TICK_USEC);

static uint8_t is_pressed(void) { return !(PIND & _BV(PD2)); }

int main(void) {
    PORTD |= _BV(PD2);
    DDRB |= _BV(PB0) | _BV(PB5);
    TCCR1B = _BV(CS12) | _BV(CS10); // 16 MHz / 1024: 64 µs per tick

    uint8_t pressed = 0;   // the state after debouncing
    uint8_t candidate = 0; // the state of the pin
    uint16_t since = TCNT1;
    for (;;) {
        uint8_t now = is_pressed();
        if (now != candidate) {
            candidate = now;
            since = TCNT1;
        }
        if (candidate == pressed) {
            PORTB &= ~_BV(PB5);
            continue;
        }
        PORTB |= _BV(PB5);
        if ((uint16_t)(TCNT1 - since) < quiet_ticks)
            continue;
        pressed = candidate;
        if (pressed)
            PINB = _BV(PB0); // toggles
    }
}
