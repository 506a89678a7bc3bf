// PWM: by the timers where a pin has one, by the scheduler on the time base's own pins.
#pragma once

#include <stdint.h>

namespace pwm {

void begin();
void write(uint8_t pin, uint8_t duty);  // 0 to 255
void detach(uint8_t pin);               // the pin is a plain one again

}  // namespace pwm
