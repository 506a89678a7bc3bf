#include "firmata.h"

#include "analog.h"
#include "baud.h"
#include "counters.h"
#include "edges.h"
#include "events.h"
#include "extension.h"
#include "i2c.h"
#include "parser.h"
#include "pins.h"
#include "reflexes.h"
#include "safe_state.h"
#include "scheduler.h"
#include "servo.h"
#include "stepper.h"

namespace firmata {

static const char kName[] PROGMEM = "mlink_firmata " BOARD_NAME;

static void heard() {
  safe_state::heard();
  baud::heard();
}

void reset() {
  heard();
  reflexes::reset();
  counters::reset();
  stepper::reset();
  analog::reset();
  i2c::reset();
  pins::reset();
  servo::reset();
  scheduler::reset();
  edges::reset();
  events::reset();
  safe_state::reset();
  parser::reset();
  baud::reset();
}

void report_version() {
  heard();
  link::write(kProtocolVersion);
  link::write(kProtocolMajor);
  link::write(kProtocolMinor);
}

void report_firmware() {
  message::begin(kReportFirmware);
  message::put7(kFirmwareMajor);
  message::put7(kFirmwareMinor);
  for (PGM_P letter = kName; pgm_read_byte(letter); ++letter) message::put14(pgm_read_byte(letter));
  message::end();
}

static void put_mode(uint8_t pin, uint8_t mode, uint8_t bits) {
  if (!pins::supports(pin, mode)) return;
  message::put7(mode);
  message::put7(bits);
}

static void report_capabilities() {
  message::begin(kCapabilityResponse);
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    put_mode(pin, kInput, 1);
    put_mode(pin, kPullup, 1);
    put_mode(pin, kOutput, 1);
    put_mode(pin, kAnalog, 10);
    put_mode(pin, kPwm, 8);
    put_mode(pin, kServo, 14);
    put_mode(pin, kI2c, 1);
    message::put7(0x7F);
  }
  message::end();
}

static void report_analog_mapping() {
  message::begin(kAnalogMappingResponse);
  for (uint8_t pin = 0; pin < kPinCount; ++pin) message::put7(pins::channel_of(pin));
  message::end();
}

static PGM_P report_pin_state(message::Reader& reader) {
  const uint8_t pin = reader.take7();
  if (!reader.done() || pin >= kPinCount) return PSTR("pin state: no such pin");
  message::begin(kPinStateResponse);
  message::put7(pin);
  message::put7(pins::mode(pin));
  const uint16_t value = pins::value(pin);
  message::put7((uint8_t)value);
  if (value >> 7) message::put7((uint8_t)(value >> 7));
  if (value >> 14) message::put7((uint8_t)(value >> 14));
  message::end();
  return nullptr;
}

void one(uint8_t command, uint8_t number, uint8_t data) {
  heard();
  if (command == kReportAnalog) {
    if (number < kAnalogCount) analog::report(number, data);
  } else if (number < pins::kPorts) {
    pins::report_port(number, data);
  }
}

static void set_mode(uint8_t pin, uint8_t mode) {
  if (!pins::set_mode(pin, mode)) {
    message::text(PSTR("mlink: "), PSTR("Unknown pin mode"));
    return;
  }
  // As in StandardFirmata, and as some clients expect, mode ANALOG also enables reports.
  const uint8_t channel = pins::channel_of(pin);
  if (channel != kNone) analog::report(channel, mode == kAnalog);
}

void two(uint8_t command, uint8_t number, uint8_t low, uint8_t high) {
  heard();
  switch (command) {
    case kDigitalMessage:
      if (number < pins::kPorts) pins::write_port(number, low | high << 7);
      break;
    case kAnalogMessage:
      pins::write_analog(number, low | (uint16_t)high << 7);
      break;
    case kSetPinMode:
      set_mode(low, high);
      break;
    case kSetDigitalPin:
      pins::write(low, high);
      break;
  }
}

static PGM_P write_extended(message::Reader& reader) {
  const uint8_t pin = reader.take7();
  if (!reader.ok() || reader.left() == 0 || reader.left() > 5 || pin >= kPinCount) {
    return PSTR("extended analog: wrong length or pin");
  }
  const uint32_t value = reader.take(reader.left());
  pins::write_analog(pin, value > 0xFFFF ? 0xFFFF : (uint16_t)value);
  return nullptr;
}

static PGM_P configure_servo(message::Reader& reader) {
  const uint8_t pin = reader.take7();
  const uint16_t shortest = reader.take14(), longest = reader.take14();
  if (!reader.done() || !pins::supports(pin, kServo) || shortest >= longest || longest > 9000) {
    return PSTR("servo: no such pin or pulse");
  }
  servo::configure(pin, shortest, longest);
  pins::set_mode(pin, kServo);
  return nullptr;
}

static PGM_P report_extended(message::Reader& reader) {
  const uint8_t channel = reader.take7(), on = reader.take7();
  if (!reader.done() || channel >= kAnalogCount) return PSTR("analog: no such channel");
  analog::report(channel, on);
  return nullptr;
}

static PGM_P standard(uint8_t id, message::Reader& reader) {
  switch (id) {
    case kReportFirmware:
      if (!reader.done()) return PSTR("firmware: wrong length");
      report_firmware();
      return nullptr;
    case kCapabilityQuery:
      if (!reader.done()) return PSTR("capabilities: wrong length");
      report_capabilities();
      return nullptr;
    case kAnalogMappingQuery:
      if (!reader.done()) return PSTR("analog mapping: wrong length");
      report_analog_mapping();
      return nullptr;
    case kPinStateQuery:
      return report_pin_state(reader);
    case kExtendedAnalog:
      return write_extended(reader);
    case kExtendedReportAnalog:
      return report_extended(reader);
    case kServoConfig:
      return configure_servo(reader);
    case kSamplingInterval: {
      const uint16_t ms = reader.take14();
      if (!reader.done() || ms == 0) return PSTR("sampling interval: wrong");
      analog::set_interval(ms);
      return nullptr;
    }
    case kI2cConfig:
      return i2c::configure(reader);
    case kI2cRequest:
      return i2c::request(reader);
  }
  return nullptr;  // messages of other firmwares are not errors
}

PGM_P sysex(uint8_t id, const uint8_t* data, uint8_t size) {
  message::Reader reader(data, size);
  bool known;
  PGM_P wrong = extension::handle(id, reader, known);
  if (!known) wrong = standard(id, reader);
  if (!wrong) heard();
  return wrong;
}

}  // namespace firmata
