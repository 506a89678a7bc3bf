// Pins as the host sees them: modes, levels, and the reports of digital inputs.
#pragma once

#include <stdint.h>

#include "board.h"
#include "critical.h"
#include "protocol.h"

namespace pins {

constexpr uint8_t kPorts = (kPinCount + 7) / 8;  // Firmata's ports: eight pins each

// The registers of an AVR port are adjacent: input, direction, output.
inline volatile uint8_t* input_register(uint8_t port) {
  return (volatile uint8_t*)(uint16_t)(port < kPortH ? 0x20 + 3 * port : 0x100 + 3 * (port - kPortH));
}
inline volatile uint8_t* direction_register(uint8_t port) { return input_register(port) + 1; }
inline volatile uint8_t* output_register(uint8_t port) { return input_register(port) + 2; }

inline uint8_t port_of(uint8_t pin) { return pgm_read_byte(&kPins[pin].port); }
inline uint8_t mask_of(uint8_t pin) { return pgm_read_byte(&kPins[pin].mask); }
inline uint8_t channel_of(uint8_t pin) { return pgm_read_byte(&kPins[pin].analog); }
inline uint8_t pwm_of(uint8_t pin) { return pgm_read_byte(&kPins[pin].pwm); }
inline uint8_t edges_of(uint8_t pin) { return pgm_read_byte(&kPins[pin].edges); }
inline bool is_usable(uint8_t pin) { return pin < kPinCount && port_of(pin) != kNoPort; }
inline bool has_servo(uint8_t pin) {
  return (int8_t)pin >= (int8_t)kFirstServoPin && pin <= kLastServoPin && is_usable(pin);
}
uint8_t pin_of_channel(uint8_t channel);  // kNone when there is none

void reset();

bool supports(uint8_t pin, uint8_t mode);
bool set_mode(uint8_t pin, uint8_t mode);  // false when the pin cannot
uint8_t mode(uint8_t pin);
uint16_t value(uint8_t pin);  // last written
void remember(uint8_t pin, uint16_t value);

bool read(uint8_t pin);
inline bool drives(uint8_t pin) { return *direction_register(port_of(pin)) & mask_of(pin); }
void write(uint8_t pin, bool level);          // a pin in mode OUTPUT; of inputs: the pull-up
void write_port(uint8_t port, uint8_t levels);  // all pins of a port in mode OUTPUT
void write_analog(uint8_t pin, uint16_t value);  // of a pin in mode PWM or SERVO
void make_output(uint8_t pin, bool level);    // for pulses and reflexes; stops PWM and servo

void report_port(uint8_t port, bool on);
bool report_changes();  // sends changed ports; false when the line had no room

}  // namespace pins
