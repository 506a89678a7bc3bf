#include "i2c.h"

#include <avr/io.h>
#include <util/twi.h>

#include "pins.h"
#include "time_base.h"

namespace i2c {

static constexpr uint8_t kMostReads = 8;
static constexpr uint8_t kMostBytes = 32;
static constexpr uint16_t kBusHz = 100;  // kHz
static constexpr uint32_t kPatience = 5 * kTicksPerMs;  // per step: a device may stretch the clock
static constexpr uint16_t kNoRegister = 0xFFFF;

enum Mode : uint8_t { kWrite = 0, kReadOnce = 1, kReadContinuously = 2, kStopReading = 3 };

struct Reading {
  uint8_t address;
  uint8_t count;  // 0: a free entry
  uint16_t reg;
  bool restart;
};

static Reading readings[kMostReads];
static bool enabled;
static uint16_t delay_usec;

// One step of a transfer; returns the status of the bus, or 0 after a timeout.
static uint8_t step(uint8_t control) {
  TWCR = _BV(TWINT) | _BV(TWEN) | control;
  const uint32_t since = time_base::now();
  while (!(TWCR & _BV(TWINT))) {
    if (time_base::now() - since > kPatience) {
      TWCR = 0;  // releases the pins; the next transfer starts anew
      return 0;
    }
  }
  return TW_STATUS;
}

static void stop() {
  TWCR = _BV(TWINT) | _BV(TWEN) | _BV(TWSTO);
  const uint32_t since = time_base::now();
  while ((TWCR & _BV(TWSTO)) && time_base::now() - since < kPatience) {
  }
}

static bool begin(uint8_t address, uint8_t direction) {
  const uint8_t started = step(_BV(TWSTA));
  if (started != TW_START && started != TW_REP_START) return false;
  TWDR = address << 1 | direction;
  const uint8_t answered = step(0);
  return answered == (direction == TW_READ ? TW_MR_SLA_ACK : TW_MT_SLA_ACK);
}

static bool send(uint8_t byte) {
  TWDR = byte;
  return step(0) == TW_MT_DATA_ACK;
}

static void wait_usec(uint16_t usec) {
  const uint32_t since = time_base::now();
  while (time_base::now() - since < 2ul * usec) {
  }
}

static void read(const Reading& reading) {
  uint8_t data[kMostBytes];
  uint8_t got = 0;
  bool there = true;
  if (reading.reg != kNoRegister) {
    there = begin(reading.address, TW_WRITE) && send((uint8_t)reading.reg);
    if (!there || !reading.restart) stop();
    if (there) wait_usec(delay_usec);
  }
  if (there && begin(reading.address, TW_READ)) {
    while (got < reading.count) {
      const bool last = got + 1 == reading.count;
      const uint8_t status = step(last ? 0 : _BV(TWEA));
      if (status != (last ? TW_MR_DATA_NACK : TW_MR_DATA_ACK)) break;
      data[got++] = TWDR;
    }
  }
  stop();
  if (got < reading.count) {
    message::text(PSTR("I2C: Too few bytes received"));
    if (got == 0) return;
  }
  message::begin(kI2cReply);
  message::put14(reading.address);
  message::put14(reading.reg == kNoRegister ? 0 : reading.reg);
  for (uint8_t at = 0; at < got; ++at) message::put14(data[at]);
  message::end();
}

PGM_P configure(message::Reader& reader) {
  if (reader.left() == 1) return PSTR("I2C: wrong length");
  // Firmata does not define the bytes after the delay.
  const uint16_t delay = reader.left() >= 2 ? reader.take14() : 0;
  delay_usec = delay;
  if (enabled) return nullptr;
  enabled = true;
  pins::set_mode(kSdaPin, kI2c);
  pins::set_mode(kSclPin, kI2c);
  {
    Critical critical;  // pull-ups, as in the Wire library
    *pins::output_register(pins::port_of(kSdaPin)) |= pins::mask_of(kSdaPin);
    *pins::output_register(pins::port_of(kSclPin)) |= pins::mask_of(kSclPin);
  }
  TWSR = 0;
  TWBR = (F_CPU / 1000 / kBusHz - 16) / 2;
  TWCR = _BV(TWEN);
  return nullptr;
}

static void stop_reading(uint8_t address, uint16_t reg) {
  for (Reading& reading : readings) {
    if (reading.address == address && (reg == kNoRegister || reading.reg == reg)) reading.count = 0;
  }
}

static PGM_P add(const Reading& wanted) {
  stop_reading(wanted.address, wanted.reg);
  for (Reading& reading : readings) {
    if (reading.count) continue;
    reading = wanted;
    return nullptr;
  }
  return PSTR("I2C: too many queries");
}

PGM_P request(message::Reader& reader) {
  const uint8_t address = reader.take7(), flags = reader.take7();
  if (!reader.ok() || reader.left() % 2) return PSTR("I2C: wrong length");
  if (flags & 0x20) return PSTR("I2C: 10-bit addressing not supported");
  if (!enabled) return PSTR("I2C: not configured");
  const uint8_t mode = flags >> 3 & 3;
  if (mode == kWrite) {
    bool taken = begin(address, TW_WRITE);
    while (taken && reader.left()) taken = send((uint8_t)reader.take14());
    stop();
    return nullptr;
  }
  if (mode == kStopReading) {
    if (reader.left() > 4) return PSTR("I2C: wrong length");
    stop_reading(address, reader.left() ? reader.take14() : kNoRegister);
    return nullptr;
  }
  Reading reading{address, 0, kNoRegister, (flags & 0x40) != 0};
  if (reader.left() > 2) reading.reg = reader.take14() & 0xFF;
  const uint16_t count = reader.take14();
  if (!reader.done() || count == 0 || count > kMostBytes) return PSTR("I2C: wrong length");
  reading.count = (uint8_t)count;
  if (mode == kReadContinuously) return add(reading);
  read(reading);
  return nullptr;
}

void read_continuous() {
  if (!enabled) return;
  for (const Reading& reading : readings) {
    if (reading.count) read(reading);
  }
}

void reset() {
  for (Reading& reading : readings) reading.count = 0;
  delay_usec = 0;
  if (enabled) TWCR = 0;
  enabled = false;
}

}  // namespace i2c
