// Arduino Uno and Nano: ATmega328P at 16 MHz, serial line over UART 0.
#pragma once

#include "pin_table.h"

#ifdef BOARD_NANO
#define BOARD_NAME "nano"
#else
#define BOARD_NAME "uno"
#endif
#define BOARD_I2C_TRANSFERS 1

// Time base: 16-bit timer 1. The scheduler makes the PWM of its pins 9 and 10.
#define BASE_TCCRA TCCR1A
#define BASE_TCCRB TCCR1B
#define BASE_TCNT TCNT1
#define BASE_OCRA OCR1A
#define BASE_OCRB OCR1B
#define BASE_TIMSK TIMSK1
#define BASE_TIFR TIFR1
#define BASE_OVF_vect TIMER1_OVF_vect
#define BASE_COMPA_vect TIMER1_COMPA_vect
#define BASE_COMPB_vect TIMER1_COMPB_vect

#define BOARD_RX_vect USART_RX_vect
#define BOARD_UDRE_vect USART_UDRE_vect

constexpr uint8_t kPortCount = 4;  // up to the last port in use
#ifdef BOARD_NANO
constexpr uint8_t kPinCount = 22, kAnalogCount = 8;
#else
constexpr uint8_t kPinCount = 20, kAnalogCount = 6;
#endif
constexpr uint8_t kFirstServoPin = 2;
constexpr uint8_t kLastServoPin = 13;
constexpr uint8_t kSdaPin = 18;
constexpr uint8_t kSclPin = 19;
#define BOARD_STEPPERS 1
#define BOARD_CAN_SLEEP 1  // every pin wakes the processor, so that sleeping misses nothing

constexpr uint8_t kEventQueue = 64;  // powers of two
constexpr uint16_t kReceiveBuffer = 128;
constexpr uint16_t kSendBuffer = 128;

static const PwmOutput kPwmOutputs[] PROGMEM = {
    {(uint16_t)&TCCR2A, _BV(COM2B1), (uint16_t)&OCR2B, 0},  // 0: pin 3
    {(uint16_t)&TCCR0A, _BV(COM0B1), (uint16_t)&OCR0B, 0},  // 1: pin 5
    {(uint16_t)&TCCR0A, _BV(COM0A1), (uint16_t)&OCR0A, 0},  // 2: pin 6
    {(uint16_t)&TCCR2A, _BV(COM2A1), (uint16_t)&OCR2A, 0},  // 3: pin 11
};

static const PinRow kPins[kPinCount] PROGMEM = {
    {kNoPort, 0, kNone, kNone, kNoEdges},  // 0 and 1: the serial line
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kPortD, 2, kNone, kNone, kExternal | 0},
    {kPortD, 3, kNone, 0, kExternal | 1},
    {kPortD, 4, kNone, kNone, kPinChange2 | 4},
    {kPortD, 5, kNone, 1, kPinChange2 | 5},
    {kPortD, 6, kNone, 2, kPinChange2 | 6},
    {kPortD, 7, kNone, kNone, kPinChange2 | 7},
    {kPortB, 0, kNone, kNone, kPinChange0 | 0},
    {kPortB, 1, kNone, kSoftPwm, kPinChange0 | 1},
    {kPortB, 2, kNone, kSoftPwm, kPinChange0 | 2},
    {kPortB, 3, kNone, 3, kPinChange0 | 3},
    {kPortB, 4, kNone, kNone, kPinChange0 | 4},
    {kPortB, 5, kNone, kNone, kPinChange0 | 5},
    {kPortC, 0, 0, kNone, kPinChange1 | 0},
    {kPortC, 1, 1, kNone, kPinChange1 | 1},
    {kPortC, 2, 2, kNone, kPinChange1 | 2},
    {kPortC, 3, 3, kNone, kPinChange1 | 3},
    {kPortC, 4, 4, kNone, kPinChange1 | 4},
    {kPortC, 5, 5, kNone, kPinChange1 | 5},
#ifdef BOARD_NANO
    {kNoPort, 0, 6, kNone, kNoEdges},  // 20 and 21: inputs of the converter only
    {kNoPort, 0, 7, kNone, kNoEdges},
#endif
};

static inline void board_start_pwm_timers() {
  TCCR0A = _BV(WGM01) | _BV(WGM00);  // fast PWM, 976 Hz
  TCCR0B = _BV(CS01) | _BV(CS00);
  TCCR2A = _BV(WGM20);  // phase-correct PWM, 490 Hz
  TCCR2B = _BV(CS22);
}

// Ports with edges: a number each, and the waiting interrupts that are theirs. All vectors lead to one
// handler; each of the others has the number of its port.
#define BOARD_EDGE_PORTS(X)                 \
  X(kPortB, 0, pin_change & _BV(PCIF0))     \
  X(kPortC, 1, pin_change & _BV(PCIF1))     \
  X(kPortD, 2, (pin_change & _BV(PCIF2)) | external)
#define BOARD_EDGE_VECTOR PCINT0_vect
#define BOARD_EDGE_VECTOR_PORT _BV(0)
#define BOARD_OTHER_EDGE_VECTORS(X) \
  X(PCINT1_vect, 1)                 \
  X(PCINT2_vect, 2)                 \
  X(INT0_vect, 2)                   \
  X(INT1_vect, 2)

// Analog channel n is input kMux[n] of the converter.
static const uint8_t kMux[] PROGMEM = {0, 1, 2, 3, 4, 5, 6, 7};
