#include "pins.h"

#include "edges.h"
#include "i2c.h"
#include "message.h"
#include "pwm.h"
#include "scheduler.h"
#include "servo.h"

namespace pins {

static uint8_t modes[kPinCount];
static uint16_t values[kPinCount];
static uint8_t reporting;  // a bit for each of the ports 0 to 7, _high: 8 to 15
static uint8_t reporting_high;
static uint8_t reported[kPorts];
static uint8_t force, force_high;  // ports to report even if nothing has changed

static_assert(kPorts <= 16, "two bytes of flags");

static bool flag(uint8_t low, uint8_t high, uint8_t port) {
  return port < 8 ? low & _BV(port) : high & _BV(port - 8);
}

static void set_flag(uint8_t& low, uint8_t& high, uint8_t port, bool on) {
  uint8_t& flags = port < 8 ? low : high;
  const uint8_t bit = _BV(port & 7);
  flags = on ? flags | bit : flags & ~bit;
}

uint8_t pin_of_channel(uint8_t channel) {
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    if (channel_of(pin) == channel) return pin;
  }
  return kNone;
}

// Sets the two bits of a pin: its direction, and its level (for an input, its pull-up).
static void set_pin(uint8_t pin, bool drives, bool level) {
  const uint8_t port = port_of(pin), mask = mask_of(pin);
  Critical critical;
  volatile uint8_t* output = output_register(port);
  volatile uint8_t* direction = direction_register(port);
  // Set the level first, so that a pin that begins to drive has no glitch.
  *output = level ? *output | mask : *output & ~mask;
  *direction = drives ? *direction | mask : *direction & ~mask;
}

bool supports(uint8_t pin, uint8_t mode) {
  if (!is_usable(pin)) {  // may be an input of the converter without a port
    return mode == kAnalog && pin < kPinCount && channel_of(pin) != kNone;
  }
  switch (mode) {
    case kInput:
    case kOutput:
    case kPullup:
      return true;
    case kAnalog:
      return channel_of(pin) != kNone;
    case kPwm:
      return pwm_of(pin) != kNone;
    case kServo:
      return has_servo(pin);
    case kI2c:
      return pin == kSdaPin || pin == kSclPin;
  }
  return false;
}

// Stops pulses, PWM, servo and I2C on a pin.
static void release(uint8_t pin) {
  scheduler::stop_pin(pin);
  // The other I2C pin stays an input; requests are then answered by "not configured".
  if (modes[pin] == kI2c) i2c::reset();
  pwm::detach(pin);
  servo::detach(pin);
}

bool set_mode(uint8_t pin, uint8_t mode) {
  if (!supports(pin, mode)) return false;
  if (!is_usable(pin)) return true;  // it is always analog
  if (modes[pin] == mode && mode != kOutput && mode != kInput) return true;
  const bool was_output = modes[pin] == kOutput;
  if (!(was_output && mode == kOutput)) {
    release(pin);
    values[pin] = 0;
  }
  modes[pin] = mode;
  switch (mode) {
    case kOutput:
      if (!drives(pin)) set_pin(pin, true, values[pin]);
      break;
    case kPullup:
      set_pin(pin, false, true);
      values[pin] = 1;
      break;
    case kPwm:
      set_pin(pin, true, false);
      break;
    case kServo:
      set_pin(pin, true, false);
      servo::attach(pin);
      break;
    default:
      set_pin(pin, false, false);
  }
  edges::watch_for_reports(pin, mode == kInput || mode == kPullup);
  return true;
}

uint8_t mode(uint8_t pin) { return modes[pin]; }
uint16_t value(uint8_t pin) { return values[pin]; }
void remember(uint8_t pin, uint16_t value) { values[pin] = value; }

bool read(uint8_t pin) { return *input_register(port_of(pin)) & mask_of(pin); }

void write(uint8_t pin, bool level) {
  if (!is_usable(pin)) return;
  if (modes[pin] == kOutput) {
    scheduler::stop_pin(pin);
    values[pin] = level;
    set_pin(pin, true, level);
  } else if (modes[pin] == kInput || modes[pin] == kPullup) {
    // How older clients switch a pull-up.
    modes[pin] = level ? kPullup : kInput;
    values[pin] = level;
    set_pin(pin, false, level);
  }
}

void write_port(uint8_t port, uint8_t levels) {
  for (uint8_t bit = 0; bit < 8; ++bit, levels >>= 1) {
    const uint8_t pin = port * 8 + bit;
    if (!is_usable(pin) || (modes[pin] != kOutput && modes[pin] != kInput)) continue;
    const bool level = levels & 1;
    // A port message contains all eight pins. Only those whose value differs are written, so that
    // it drives no pin that was not set up, and ends no pulse on another pin.
    if (level == (values[pin] != 0)) continue;
    write(pin, level);
  }
}

void write_analog(uint8_t pin, uint16_t value) {
  if (!is_usable(pin)) return;
  if (modes[pin] == kPwm) {
    values[pin] = value;
    pwm::write(pin, value > 255 ? 255 : (uint8_t)value);
  } else if (modes[pin] == kServo) {
    values[pin] = value;
    servo::write(pin, value);
  }
}

void make_output(uint8_t pin, bool level) {
  if (modes[pin] != kOutput) {
    release(pin);
    modes[pin] = kOutput;
    edges::watch_for_reports(pin, false);
  }
  values[pin] = level;
  set_pin(pin, true, level);
}

static uint8_t levels_of(uint8_t port) {
  uint8_t levels = 0;
  for (uint8_t bit = 0; bit < 8; ++bit) {
    const uint8_t pin = port * 8 + bit;
    if (!is_usable(pin)) continue;
    if (modes[pin] != kInput && modes[pin] != kPullup) continue;
    if (read(pin)) levels |= _BV(bit);
  }
  return levels;
}

void report_port(uint8_t port, bool on) {
  set_flag(reporting, reporting_high, port, on);
  if (on) set_flag(force, force_high, port, true);
}

bool report_changes() {
  for (uint8_t port = 0; port < kPorts; ++port) {
    if (!flag(reporting, reporting_high, port)) continue;
    const uint8_t levels = levels_of(port);
    if (levels == reported[port] && !flag(force, force_high, port)) continue;
    if (link::room() < 3) return false;
    message::three(kDigitalMessage | port, levels);
    reported[port] = levels;
    set_flag(force, force_high, port, false);
  }
  return true;
}

void reset() {
  reporting = reporting_high = force = force_high = 0;
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    if (!is_usable(pin)) {
      modes[pin] = channel_of(pin) == kNone ? kUnused : kAnalog;
      continue;
    }
    release(pin);
    // As StandardFirmata: analog inputs and outputs. But an output is driven only from its first
    // write on, so that a reset does not short what is wired to it.
    modes[pin] = channel_of(pin) == kNone ? kOutput : kAnalog;
    values[pin] = 0;
    set_pin(pin, false, false);
    edges::watch_for_reports(pin, false);
  }
}

}  // namespace pins
