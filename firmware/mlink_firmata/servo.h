// Servos: one pulse each per 20 ms, one after another, by the second compare unit of the time base.
#pragma once

#include <stdint.h>

namespace servo {

constexpr uint8_t kMost = 12;

bool attach(uint8_t pin);  // false when there are too many
void detach(uint8_t pin);
void write(uint8_t pin, uint16_t value);  // up to 180: degrees; from 544: µs
bool configure(uint8_t pin, uint16_t shortest, uint16_t longest);  // pulse widths in µs
void reset();

}  // namespace servo
