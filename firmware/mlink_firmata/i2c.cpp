#include "i2c.h"

#include <avr/io.h>
#include <util/twi.h>

#include "pins.h"
#include "time_base.h"

namespace i2c {

static constexpr uint8_t kMostReads = 8;
static constexpr uint8_t kMostBytes = 32;
static constexpr uint8_t kMostRegisterBytes = 2;  // of a read that is repeated
static constexpr uint16_t kUsualKhz = 100, kLeastKhz = 31, kMostKhz = 400;
static constexpr uint32_t kPatience = 5 * kTicksPerMs;  // per step: a device may stretch the clock
static constexpr uint8_t kAllTags = 0x7F;

enum Mode : uint8_t { kWrite = 0, kReadOnce = 1, kReadContinuously = 2, kStopReading = 3 };

// Of a transfer. The first two are those of message 0C.
enum Flags : uint8_t { kStopBetween = 1, kRepeat = 2, kStandard = 4, kInUse = 8 };

// Of an answer of message 0C.
enum Status : uint8_t { kDone = 0, kNoDevice = 1, kRefused = 2, kSdaLow = 3, kSclLow = 4, kBusError = 5 };

// What is written, and how many bytes are read then.
struct Transfer {
  uint8_t flags, tag, address, count, written;
  uint8_t reg[kMostRegisterBytes];  // of a repeated one, what it writes
};

static Transfer repeated[kMostReads];
static bool enabled;
static uint16_t delay_usec;

static bool is_low(uint8_t pin) { return !(*pins::input_register(pins::port_of(pin)) & pins::mask_of(pin)); }

static void wait_usec(uint16_t usec) {
  const uint32_t since = time_base::now();
  while (time_base::now() - since < 2ul * usec) {
  }
}

// Gives the bus up: the next transfer starts anew.
static void restart() {
  TWCR = 0;
  TWCR = _BV(TWEN);
}

// One step of a transfer; returns the status of the bus, or 0 after a timeout.
static uint8_t step(uint8_t control) {
  TWCR = _BV(TWINT) | _BV(TWEN) | control;
  const uint32_t since = time_base::now();
  while (!(TWCR & _BV(TWINT))) {
    if (time_base::now() - since > kPatience) {
      restart();
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

// What holds the bus after a step that has failed.
static Status fault() {
  if (!BOARD_I2C_TRANSFERS) return kBusError;
  if (is_low(kSclPin)) return kSclLow;
  return is_low(kSdaPin) ? kSdaLow : kBusError;
}

// Releases a bus on which a device holds SDA, because it was cut off while it sent a byte: clocks
// until it lets go.
static void clear_bus() {
  volatile uint8_t* direction = pins::direction_register(pins::port_of(kSclPin));
  volatile uint8_t* output = pins::output_register(pins::port_of(kSclPin));
  const uint8_t mask = pins::mask_of(kSclPin);
  TWCR = 0;
  for (uint8_t clocks = 0; clocks < 9 && is_low(kSdaPin) && !is_low(kSclPin); ++clocks) {
    {
      Critical critical;
      *output &= ~mask;
      *direction |= mask;
    }
    wait_usec(10);
    {
      Critical critical;
      *direction &= ~mask;
      *output |= mask;
    }
    wait_usec(10);
  }
  restart();
}

static Status begin(uint8_t address, uint8_t direction) {
  const uint8_t started = step(_BV(TWSTA));
  if (started != TW_START && started != TW_REP_START) return fault();
  TWDR = address << 1 | direction;
  const uint8_t answered = step(0);
  if (answered == (direction == TW_READ ? TW_MR_SLA_ACK : TW_MT_SLA_ACK)) return kDone;
  return answered == TW_MT_SLA_NACK || answered == TW_MR_SLA_NACK ? kNoDevice : fault();
}

// Writes `written` bytes of `data`, then reads `count` into it; `got` is how many it has read.
static Status transfer(const Transfer& wanted, uint8_t* data, uint8_t& got) {
  got = 0;
  if (BOARD_I2C_TRANSFERS) {
    if (is_low(kSdaPin)) clear_bus();
    if (is_low(kSclPin) || is_low(kSdaPin)) return fault();
  }
  Status status = kDone;
  if (wanted.written || wanted.count == 0) {
    status = begin(wanted.address, TW_WRITE);
    for (uint8_t at = 0; status == kDone && at < wanted.written; ++at) {
      TWDR = data[at];
      const uint8_t answered = step(0);
      if (answered != TW_MT_DATA_ACK) status = answered == TW_MT_DATA_NACK ? kRefused : fault();
    }
    if (status == kDone && wanted.count) {
      if (wanted.flags & kStopBetween) stop();
      wait_usec(delay_usec);
    }
  }
  if (status == kDone && wanted.count) {
    status = begin(wanted.address, TW_READ);
    while (status == kDone && got < wanted.count) {
      const bool last = got + 1 == wanted.count;
      if (step(last ? 0 : _BV(TWEA)) == (last ? TW_MR_DATA_NACK : TW_MR_DATA_ACK)) {
        data[got++] = TWDR;
      } else {
        status = fault();
      }
    }
  }
  stop();
  return status;
}

static void run(const Transfer& wanted, uint8_t* data) {
  uint8_t got;
  const uint8_t first = data[0];
  const uint32_t time = time_base::now();
  const Status status = transfer(wanted, data, got);
  if (!BOARD_I2C_TRANSFERS || wanted.flags & kStandard) {
    if (got < wanted.count) message::text(PSTR("I2C: Too few bytes received"));
    if (got == 0) return;
    message::begin(kI2cReply);
    message::put14(wanted.address);
    message::put14(wanted.written ? first : 0);
  } else {
    message::begin(kI2cTransfers);
    message::put7(1);
    message::put7(wanted.tag);
    message::put7(status);
    message::put32(time);
  }
  for (uint8_t at = 0; at < got; ++at) message::put14(data[at]);
  message::end();
}

static void set_speed(uint16_t khz) { TWBR = (F_CPU / 1000 / khz - 16) / 2; }

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
  set_speed(kUsualKhz);
  TWCR = _BV(TWEN);
  return nullptr;
}

static PGM_P add(const Transfer& wanted) {
  for (Transfer& entry : repeated) {
    if (entry.flags) continue;
    entry = wanted;
    return nullptr;
  }
  return PSTR("I2C: too many queries");
}

// Ends the repeated reads of a device, or those of one of its registers.
static void end_standard(uint8_t address, bool of_all, uint8_t reg) {
  for (Transfer& entry : repeated) {
    if (!(entry.flags & kStandard) || entry.address != address) continue;
    if (of_all || (entry.written && entry.reg[0] == reg)) entry.flags = 0;
  }
}

PGM_P request(message::Reader& reader) {
  const uint8_t address = reader.take7(), flags = reader.take7();
  if (!reader.ok() || reader.left() % 2) return PSTR("I2C: wrong length");
  if (flags & 0x20) return PSTR("I2C: 10-bit addressing not supported");
  if (!enabled) return PSTR("I2C: not configured");
  const uint8_t mode = flags >> 3 & 3;
  uint8_t data[kMostBytes + 4];  // a message has at most 35 of them
  if (mode == kWrite) {
    Transfer writing{0, 0, address, 0, 0, {}};
    while (reader.left() && writing.written < sizeof data) data[writing.written++] = (uint8_t)reader.take14();
    uint8_t got;
    transfer(writing, data, got);
    return nullptr;
  }
  if (mode == kStopReading) {
    if (reader.left() > 4) return PSTR("I2C: wrong length");
    const bool of_all = !reader.left();
    end_standard(address, of_all, of_all ? 0 : (uint8_t)reader.take14());
    return nullptr;
  }
  Transfer wanted{kStandard | kInUse, 0, address, 0, 0, {}};
  if (!(flags & 0x40)) wanted.flags |= kStopBetween;
  if (reader.left() > 2) {
    wanted.written = 1;
    wanted.reg[0] = data[0] = (uint8_t)reader.take14();
  }
  const uint16_t count = reader.take14();
  if (!reader.done() || count == 0 || count > kMostBytes) return PSTR("I2C: wrong length");
  wanted.count = (uint8_t)count;
  if (mode == kReadContinuously) {
    end_standard(address, wanted.written == 0, wanted.reg[0]);
    return add(wanted);
  }
  run(wanted, data);
  return nullptr;
}

static PGM_P change_speed(message::Reader& reader) {
  const uint16_t khz = reader.take14();
  if (!reader.done() || khz < kLeastKhz || khz > kMostKhz) return PSTR("I2C: no such speed");
  set_speed(khz);
  message::begin(kI2cTransfers);
  message::put7(0);
  message::put14((uint16_t)(F_CPU / 1000 / (16 + 2u * TWBR)));
  message::end();
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  if (!enabled) return PSTR("I2C: not configured");
  if (sub == 0) return change_speed(reader);
  const uint8_t tag = reader.take7();
  if (sub == 2 && reader.done()) {
    for (Transfer& entry : repeated) {
      if (entry.flags && !(entry.flags & kStandard) && (entry.tag == tag || tag == kAllTags)) entry.flags = 0;
    }
    return nullptr;
  }
  Transfer wanted{0, tag, reader.take7(), 0, 0, {}};
  wanted.flags = kInUse | (reader.take7() & (kStopBetween | kRepeat));
  wanted.count = reader.take7();
  uint8_t data[kMostBytes];
  const uint8_t written = reader.left() / 2;
  const bool repeats = wanted.flags & kRepeat;
  if (sub != 1 || !reader.ok() || reader.left() % 2 || wanted.count > kMostBytes ||
      written > (repeats ? kMostRegisterBytes : kMostBytes)) {
    return PSTR("I2C: wrong length");
  }
  while (wanted.written < written) data[wanted.written++] = (uint8_t)reader.take14();
  if (!repeats) {
    run(wanted, data);
    return nullptr;
  }
  for (uint8_t at = 0; at < written; ++at) wanted.reg[at] = data[at];
  return add(wanted);
}

void read_continuous() {
  if (!enabled) return;
  for (const Transfer& entry : repeated) {
    if (!entry.flags) continue;
    uint8_t data[kMostBytes];
    for (uint8_t at = 0; at < kMostRegisterBytes; ++at) data[at] = entry.reg[at];
    run(entry, data);
  }
}

void reset() {
  for (Transfer& entry : repeated) entry.flags = 0;
  delay_usec = 0;
  if (enabled) TWCR = 0;
  enabled = false;
}

}  // namespace i2c
