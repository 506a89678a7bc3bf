// Arduino Leonardo and Micro: ATmega32U4 at 16 MHz, serial line over its own USB.
#pragma once

#include "pin_table.h"

#define BOARD_NAME "leonardo"
#define BOARD_I2C_TRANSFERS 0  // no room in its flash
#define BOARD_USB 1

// Time base: 16-bit timer 3. The scheduler makes the PWM of its pin 5.
#define BASE_TCCRA TCCR3A
#define BASE_TCCRB TCCR3B
#define BASE_TCNT TCNT3
#define BASE_OCRA OCR3A
#define BASE_OCRB OCR3B
#define BASE_TIMSK TIMSK3
#define BASE_TIFR TIFR3
#define BASE_OVF_vect TIMER3_OVF_vect
#define BASE_COMPA_vect TIMER3_COMPA_vect
#define BASE_COMPB_vect TIMER3_COMPB_vect

constexpr uint8_t kPortCount = 6;  // up to the last port in use
constexpr uint8_t kPinCount = 30;
constexpr uint8_t kFirstServoPin = 0;
constexpr uint8_t kLastServoPin = 13;
constexpr uint8_t kSdaPin = 2;
constexpr uint8_t kSclPin = 3;
constexpr uint8_t kAnalogCount = 12;
#define BOARD_STEPPERS 0  // no room in its flash
#define BOARD_CAN_SLEEP 0  // most pins have no interrupt: they are polled

constexpr uint8_t kEventQueue = 64;
constexpr uint16_t kReceiveBuffer = 64;  // that of the USB endpoint
constexpr uint16_t kSendBuffer = 64;

static const PwmOutput kPwmOutputs[] PROGMEM = {
    {(uint16_t)&TCCR0A, _BV(COM0B1), (uint16_t)&OCR0B, 0},  // 0: pin 3
    {(uint16_t)&TCCR4C, _BV(COM4D1), (uint16_t)&OCR4D, 0},  // 1: pin 6
    {(uint16_t)&TCCR1A, _BV(COM1A1), (uint16_t)&OCR1A, 1},  // 2: pin 9
    {(uint16_t)&TCCR1A, _BV(COM1B1), (uint16_t)&OCR1B, 1},  // 3: pin 10
    {(uint16_t)&TCCR0A, _BV(COM0A1), (uint16_t)&OCR0A, 0},  // 4: pin 11
    {(uint16_t)&TCCR4A, _BV(COM4A1), (uint16_t)&OCR4A, 0},  // 5: pin 13
};

static const PinRow kPins[kPinCount] PROGMEM = {
    {kPortD, 2, kNone, kNone, kExternal | 2},
    {kPortD, 3, kNone, kNone, kExternal | 3},
    {kPortD, 1, kNone, kNone, kExternal | 1},
    {kPortD, 0, kNone, 0, kExternal | 0},
    {kPortD, 4, 6, kNone, kNoEdges},
    {kPortC, 6, kNone, kSoftPwm, kNoEdges},
    {kPortD, 7, 7, 1, kNoEdges},
    {kPortE, 6, kNone, kNone, kExternal | 6},
    {kPortB, 4, 8, kNone, kPinChange0 | 4},
    {kPortB, 5, 9, 2, kPinChange0 | 5},
    {kPortB, 6, 10, 3, kPinChange0 | 6},
    {kPortB, 7, kNone, 4, kPinChange0 | 7},
    {kPortD, 6, 11, kNone, kNoEdges},
    {kPortC, 7, kNone, 5, kNoEdges},
    {kPortB, 3, kNone, kNone, kPinChange0 | 3},
    {kPortB, 1, kNone, kNone, kPinChange0 | 1},
    {kPortB, 2, kNone, kNone, kPinChange0 | 2},
    {kPortB, 0, kNone, kNone, kPinChange0 | 0},
    {kPortF, 7, 0, kNone, kNoEdges},
    {kPortF, 6, 1, kNone, kNoEdges},
    {kPortF, 5, 2, kNone, kNoEdges},
    {kPortF, 4, 3, kNone, kNoEdges},
    {kPortF, 1, 4, kNone, kNoEdges},
    {kPortF, 0, 5, kNone, kNoEdges},
    // 24 to 29 are A6 to A11: other names of pins 4, 6, 8, 9, 10 and 12, where the channels are.
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kNoPort, 0, kNone, kNone, kNoEdges},
};

static inline void board_start_pwm_timers() {
  TCCR0A = _BV(WGM01) | _BV(WGM00);  // fast PWM, 976 Hz
  TCCR0B = _BV(CS01) | _BV(CS00);
  TCCR1A = _BV(WGM10);  // phase-correct PWM, 8 bits, 490 Hz
  TCCR1B = _BV(CS11) | _BV(CS10);
  TCCR4A = _BV(PWM4A);
  TCCR4B = _BV(CS42) | _BV(CS41) | _BV(CS40);
  TCCR4C = _BV(PWM4D);
  TCCR4D = _BV(WGM40);  // phase-correct PWM, top 255, 490 Hz
  TC4H = 0;
  OCR4C = 255;
}

#define BOARD_EDGE_PORTS(X)             \
  X(kPortB, 0, pin_change & _BV(PCIF0)) \
  X(kPortD, 1, external & 0x0F)         \
  X(kPortE, 2, external & _BV(INTF6))
#define BOARD_EDGE_VECTOR PCINT0_vect
#define BOARD_EDGE_VECTOR_PORT _BV(0)
#define BOARD_OTHER_EDGE_VECTORS(X) \
  X(INT0_vect, 1)                   \
  X(INT1_vect, 1)                   \
  X(INT2_vect, 1)                   \
  X(INT3_vect, 1)                   \
  X(INT6_vect, 2)

// Analog channel n is input kMux[n] of the converter.
static const uint8_t kMux[kAnalogCount] PROGMEM = {7, 6, 5, 4, 1, 0, 8, 10, 11, 12, 13, 9};
