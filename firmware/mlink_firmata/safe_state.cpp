#include "safe_state.h"

#include "pins.h"
#include "reflexes.h"
#include "scheduler.h"
#include "stepper.h"
#include "time_base.h"

namespace safe_state {

uint16_t trips;

static constexpr uint32_t kLongest = 600000;  // ms

static uint32_t timeout;  // ticks; 0: off
static uint32_t last_heard;
static bool silent;  // tripped, and no message has arrived since
static bool all_low;
static uint8_t listed[(kPinCount + 7) / 8], high[(kPinCount + 7) / 8];

static bool holds(const uint8_t* bits, uint8_t pin) { return bits[pin / 8] & _BV(pin % 8); }

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  const uint32_t ms = reader.take21();
  if (sub != kSet || !reader.ok() || reader.left() % 2) return PSTR("safe state: wrong length");
  if (ms > kLongest) return PSTR("safe state: time");
  for (message::Reader check = reader; check.left();) {
    if (!pins::supports(check.take7(), kOutput) || check.take7() > 1) {
      return PSTR("safe state: no such output");
    }
  }
  for (uint8_t at = 0; at < sizeof listed; ++at) listed[at] = high[at] = 0;
  all_low = reader.left() == 0;
  while (reader.left()) {
    const uint8_t pin = reader.take7();
    listed[pin / 8] |= _BV(pin % 8);
    if (reader.take7()) high[pin / 8] |= _BV(pin % 8);
  }
  timeout = ms * kTicksPerMs;
  message::begin(kSafeState);
  message::put7(kIsSet);
  message::put21(ms);
  message::end();
  return nullptr;
}

void heard() {
  last_heard = time_base::now();
  silent = false;
}

static bool is_output(uint8_t pin) {
  const uint8_t mode = pins::mode(pin);
  // The pins in mode OUTPUT (all, after a reset) that are driven.
  return (mode == kOutput && pins::drives(pin)) || mode == kPwm || mode == kServo;
}

static void trip(uint32_t now) {
  silent = true;
  ++trips;
  reflexes::reset();  // so that none switches an output on again
  stepper::halt(kNone);
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    if (!pins::is_usable(pin)) continue;
    const bool is_listed = holds(listed, pin);
    if (is_listed || is_output(pin)) scheduler::stop_pin(pin);
    if (is_listed) {
      if (pins::mode(pin) != kOutput) pins::set_mode(pin, kOutput);
      pins::write(pin, holds(high, pin));
    } else if (all_low && is_output(pin)) {
      pins::set_mode(pin, kOutput);
      pins::write(pin, false);
    }
  }
  if (link::room() < 14) return;
  message::begin(kSafeState);
  message::put7(kTripped);
  message::put32(now);
  message::end();
}

void run() {
  if (!timeout || silent) return;
  const uint32_t now = time_base::now();
  if (now - last_heard >= timeout) trip(now);
}

void reset() {
  timeout = 0;
  silent = false;
}

}  // namespace safe_state
