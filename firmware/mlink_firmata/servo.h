// Servos: a pulse each per 20 ms, in groups of which each begins when the one before has ended. They use
// the second compare unit of the time base.
#pragma once

#include <stdint.h>

namespace servo {

// The pin can be a servo.
void attach(uint8_t pin);
void write(uint8_t pin, uint16_t value);  // up to 180: degrees; from 544: µs
void configure(uint8_t pin, uint16_t shortest, uint16_t longest);  // pulse widths in µs

void detach(uint8_t pin);  // any pin
void reset();

}  // namespace servo
