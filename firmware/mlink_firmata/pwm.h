// PWM: by the pin's timer, or by the scheduler on pins whose timer is the time base.
#pragma once

#include <stdint.h>

namespace pwm {

void begin();
void write(uint8_t pin, uint8_t duty);  // 0 to 255
void detach(uint8_t pin);               // ends PWM on the pin

}  // namespace pwm
