// The types of a board's table: one row per Firmata pin, kept in flash.
#pragma once

#include <avr/io.h>
#include <avr/pgmspace.h>
#include <stdint.h>

// Ports by letter; the data sheets skip I.
enum Port : uint8_t {
  kPortA, kPortB, kPortC, kPortD, kPortE, kPortF, kPortG, kPortH, kPortJ, kPortK, kPortL,
  kNoPort = 0xFF,
};

// The interrupt of a pin's edges: high nibble the source, low nibble its bit or number.
enum EdgeSource : uint8_t {
  kNoEdges = 0x00,
  kPinChange0 = 0x10,
  kPinChange1 = 0x20,
  kPinChange2 = 0x30,
  kExternal = 0x40,
};

constexpr uint8_t kNone = 0xFF;

struct PinRow {
  constexpr PinRow(uint8_t port, uint8_t bit, uint8_t analog, uint8_t pwm, uint8_t edges)
      : port(port), mask((uint8_t)(1 << bit)), analog(analog), pwm(pwm), edges(edges) {}
  uint8_t port;
  uint8_t mask;    // of its bit: this processor shifts by one bit at a time
  uint8_t analog;  // channel, or kNone
  uint8_t pwm;     // index into kPwmOutputs, kSoftPwm or kNone
  uint8_t edges;   // EdgeSource | bit
};

// PWM made by the scheduler on pins whose timer is the time base.
constexpr uint8_t kSoftPwm = 0xFE;

// A hardware PWM output: registers by address, and the bit that connects the pin.
struct PwmOutput {
  uint16_t control;
  uint8_t connect;
  uint16_t compare;
  uint8_t wide;  // 16-bit compare register
};
