// Arduino Mega 2560: ATmega2560 at 16 MHz, serial line over UART 0.
#pragma once

#include "pin_table.h"

#define BOARD_NAME "mega"
#define BOARD_I2C_TRANSFERS 1

// Time base: 16-bit timer 5. The scheduler makes the PWM of its pins 44 to 46.
#define BASE_TCCRA TCCR5A
#define BASE_TCCRB TCCR5B
#define BASE_TCNT TCNT5
#define BASE_OCRA OCR5A
#define BASE_OCRB OCR5B
#define BASE_TIMSK TIMSK5
#define BASE_TIFR TIFR5
#define BASE_OVF_vect TIMER5_OVF_vect
#define BASE_COMPA_vect TIMER5_COMPA_vect
#define BASE_COMPB_vect TIMER5_COMPB_vect

#define BOARD_RX_vect USART0_RX_vect
#define BOARD_UDRE_vect USART0_UDRE_vect

constexpr uint8_t kPortCount = 11;  // up to the last port in use
constexpr uint8_t kPinCount = 70;
constexpr uint8_t kFirstServoPin = 2;
constexpr uint8_t kLastServoPin = 53;
constexpr uint8_t kSdaPin = 20;
constexpr uint8_t kSclPin = 21;
constexpr uint8_t kAnalogCount = 16;
#define BOARD_STEPPERS 2
#define BOARD_CAN_SLEEP 0  // most pins have no interrupt: they are polled

constexpr uint8_t kEventQueue = 128;
constexpr uint16_t kReceiveBuffer = 256;
constexpr uint16_t kSendBuffer = 256;

static const PwmOutput kPwmOutputs[] PROGMEM = {
    {(uint16_t)&TCCR3A, _BV(COM3B1), (uint16_t)&OCR3B, 1},  // 0: pin 2
    {(uint16_t)&TCCR3A, _BV(COM3C1), (uint16_t)&OCR3C, 1},  // 1: pin 3
    {(uint16_t)&TCCR0A, _BV(COM0B1), (uint16_t)&OCR0B, 0},  // 2: pin 4
    {(uint16_t)&TCCR3A, _BV(COM3A1), (uint16_t)&OCR3A, 1},  // 3: pin 5
    {(uint16_t)&TCCR4A, _BV(COM4A1), (uint16_t)&OCR4A, 1},  // 4: pin 6
    {(uint16_t)&TCCR4A, _BV(COM4B1), (uint16_t)&OCR4B, 1},  // 5: pin 7
    {(uint16_t)&TCCR4A, _BV(COM4C1), (uint16_t)&OCR4C, 1},  // 6: pin 8
    {(uint16_t)&TCCR2A, _BV(COM2B1), (uint16_t)&OCR2B, 0},  // 7: pin 9
    {(uint16_t)&TCCR2A, _BV(COM2A1), (uint16_t)&OCR2A, 0},  // 8: pin 10
    {(uint16_t)&TCCR1A, _BV(COM1A1), (uint16_t)&OCR1A, 1},  // 9: pin 11
    {(uint16_t)&TCCR1A, _BV(COM1B1), (uint16_t)&OCR1B, 1},  // 10: pin 12
    {(uint16_t)&TCCR0A, _BV(COM0A1), (uint16_t)&OCR0A, 0},  // 11: pin 13
};

static const PinRow kPins[kPinCount] PROGMEM = {
    {kNoPort, 0, kNone, kNone, kNoEdges},  // 0 and 1: the serial line
    {kNoPort, 0, kNone, kNone, kNoEdges},
    {kPortE, 4, kNone, 0, kExternal | 4},
    {kPortE, 5, kNone, 1, kExternal | 5},
    {kPortG, 5, kNone, 2, kNoEdges},
    {kPortE, 3, kNone, 3, kNoEdges},
    {kPortH, 3, kNone, 4, kNoEdges},
    {kPortH, 4, kNone, 5, kNoEdges},
    {kPortH, 5, kNone, 6, kNoEdges},
    {kPortH, 6, kNone, 7, kNoEdges},
    {kPortB, 4, kNone, 8, kPinChange0 | 4},
    {kPortB, 5, kNone, 9, kPinChange0 | 5},
    {kPortB, 6, kNone, 10, kPinChange0 | 6},
    {kPortB, 7, kNone, 11, kPinChange0 | 7},
    {kPortJ, 1, kNone, kNone, kPinChange1 | 2},
    {kPortJ, 0, kNone, kNone, kPinChange1 | 1},
    {kPortH, 1, kNone, kNone, kNoEdges},
    {kPortH, 0, kNone, kNone, kNoEdges},
    {kPortD, 3, kNone, kNone, kExternal | 3},
    {kPortD, 2, kNone, kNone, kExternal | 2},
    {kPortD, 1, kNone, kNone, kExternal | 1},
    {kPortD, 0, kNone, kNone, kExternal | 0},
    {kPortA, 0, kNone, kNone, kNoEdges},
    {kPortA, 1, kNone, kNone, kNoEdges},
    {kPortA, 2, kNone, kNone, kNoEdges},
    {kPortA, 3, kNone, kNone, kNoEdges},
    {kPortA, 4, kNone, kNone, kNoEdges},
    {kPortA, 5, kNone, kNone, kNoEdges},
    {kPortA, 6, kNone, kNone, kNoEdges},
    {kPortA, 7, kNone, kNone, kNoEdges},
    {kPortC, 7, kNone, kNone, kNoEdges},
    {kPortC, 6, kNone, kNone, kNoEdges},
    {kPortC, 5, kNone, kNone, kNoEdges},
    {kPortC, 4, kNone, kNone, kNoEdges},
    {kPortC, 3, kNone, kNone, kNoEdges},
    {kPortC, 2, kNone, kNone, kNoEdges},
    {kPortC, 1, kNone, kNone, kNoEdges},
    {kPortC, 0, kNone, kNone, kNoEdges},
    {kPortD, 7, kNone, kNone, kNoEdges},
    {kPortG, 2, kNone, kNone, kNoEdges},
    {kPortG, 1, kNone, kNone, kNoEdges},
    {kPortG, 0, kNone, kNone, kNoEdges},
    {kPortL, 7, kNone, kNone, kNoEdges},
    {kPortL, 6, kNone, kNone, kNoEdges},
    {kPortL, 5, kNone, kSoftPwm, kNoEdges},
    {kPortL, 4, kNone, kSoftPwm, kNoEdges},
    {kPortL, 3, kNone, kSoftPwm, kNoEdges},
    {kPortL, 2, kNone, kNone, kNoEdges},
    {kPortL, 1, kNone, kNone, kNoEdges},
    {kPortL, 0, kNone, kNone, kNoEdges},
    {kPortB, 3, kNone, kNone, kPinChange0 | 3},
    {kPortB, 2, kNone, kNone, kPinChange0 | 2},
    {kPortB, 1, kNone, kNone, kPinChange0 | 1},
    {kPortB, 0, kNone, kNone, kPinChange0 | 0},
    {kPortF, 0, 0, kNone, kNoEdges},
    {kPortF, 1, 1, kNone, kNoEdges},
    {kPortF, 2, 2, kNone, kNoEdges},
    {kPortF, 3, 3, kNone, kNoEdges},
    {kPortF, 4, 4, kNone, kNoEdges},
    {kPortF, 5, 5, kNone, kNoEdges},
    {kPortF, 6, 6, kNone, kNoEdges},
    {kPortF, 7, 7, kNone, kNoEdges},
    {kPortK, 0, 8, kNone, kPinChange2 | 0},
    {kPortK, 1, 9, kNone, kPinChange2 | 1},
    {kPortK, 2, 10, kNone, kPinChange2 | 2},
    {kPortK, 3, 11, kNone, kPinChange2 | 3},
    {kPortK, 4, 12, kNone, kPinChange2 | 4},
    {kPortK, 5, 13, kNone, kPinChange2 | 5},
    {kPortK, 6, 14, kNone, kPinChange2 | 6},
    {kPortK, 7, 15, kNone, kPinChange2 | 7},
};

static inline void board_start_pwm_timers() {
  TCCR0A = _BV(WGM01) | _BV(WGM00);  // fast PWM, 976 Hz
  TCCR0B = _BV(CS01) | _BV(CS00);
  TCCR2A = _BV(WGM20);  // phase-correct PWM, 490 Hz
  TCCR2B = _BV(CS22);
  TCCR1A = TCCR3A = TCCR4A = _BV(WGM10);  // phase-correct PWM, 8 bits, 490 Hz
  TCCR1B = TCCR3B = TCCR4B = _BV(CS11) | _BV(CS10);
}

#define BOARD_EDGE_PORTS(X)             \
  X(kPortB, 0, pin_change & _BV(PCIF0)) \
  X(kPortJ, 1, pin_change & _BV(PCIF1)) \
  X(kPortK, 2, pin_change & _BV(PCIF2)) \
  X(kPortD, 3, external & 0x0F)         \
  X(kPortE, 4, external & 0x30)
#define BOARD_EDGE_VECTOR PCINT0_vect
#define BOARD_EDGE_VECTOR_PORT _BV(0)
#define BOARD_OTHER_EDGE_VECTORS(X) \
  X(PCINT1_vect, 1)                 \
  X(PCINT2_vect, 2)                 \
  X(INT0_vect, 3)                   \
  X(INT1_vect, 3)                   \
  X(INT2_vect, 3)                   \
  X(INT3_vect, 3)                   \
  X(INT4_vect, 4)                   \
  X(INT5_vect, 4)

// Analog channel n is input kMux[n] of the converter.
static const uint8_t kMux[kAnalogCount] PROGMEM = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
