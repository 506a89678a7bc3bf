#include "pwm.h"

#include "message.h"
#include "pins.h"
#include "scheduler.h"

namespace pwm {

static constexpr uint8_t kSoftStep = 16;  // ticks per step of duty: a period of 2.04 ms

void begin() { board_start_pwm_timers(); }

static void connect(uint8_t output, bool on) {
  volatile uint8_t* control = (volatile uint8_t*)pgm_read_word(&kPwmOutputs[output].control);
  const uint8_t bit = pgm_read_byte(&kPwmOutputs[output].connect);
  Critical critical;
  *control = on ? *control | bit : *control & ~bit;
}

static void set_level(uint8_t pin, bool level) {
  volatile uint8_t* output = pins::output_register(pins::port_of(pin));
  const uint8_t mask = pins::mask_of(pin);
  Critical critical;
  *output = level ? *output | mask : *output & ~mask;
}

void write(uint8_t pin, uint8_t duty) {
  const uint8_t output = pins::pwm_of(pin);
  if (output == kNone) return;
  if (duty == 0 || duty == 255) {  // a timer cannot produce a constant level
    detach(pin);
    scheduler::stop_pin(pin);
    set_level(pin, duty != 0);
  } else if (output == kSoftPwm) {
    if (!scheduler::run_pwm(pin, duty * kSoftStep, (255 - duty) * kSoftStep)) {
      message::text(PSTR("pwm: no slot is free"));
    }
  } else {
    const uint16_t compare = pgm_read_word(&kPwmOutputs[output].compare);
    {
      Critical critical;
      if (pgm_read_byte(&kPwmOutputs[output].wide)) {
        *(volatile uint16_t*)compare = duty;
      } else {
        *(volatile uint8_t*)compare = duty;
      }
    }
    connect(output, true);
  }
}

void detach(uint8_t pin) {
  const uint8_t output = pins::pwm_of(pin);
  if (output != kNone && output != kSoftPwm) connect(output, false);
}

}  // namespace pwm
