#include "extension.h"

#include "analog.h"
#include "baud.h"
#include "counters.h"
#include "edges.h"
#include "events.h"
#include "i2c.h"
#include "parser.h"
#include "pins.h"
#include "reflexes.h"
#include "safe_state.h"
#include "scheduler.h"
#include "stepper.h"
#include "time_base.h"

namespace extension {

uint16_t malformed;

static constexpr uint8_t kVersion = 2;  // the highest that is spoken
// Bit n: sysex 0x02 + n. Bit 13: lines that switch together carry one time.
static constexpr uint16_t kHas = 0x01FF | (BOARD_STEPPERS ? 0x0200 : 0) |
                                 (BOARD_I2C_TRANSFERS ? 0x0400 : 0) | 0x2000;
static const char kWrongCheck[] PROGMEM = "wrong check value";
static const uint8_t kMagic[] PROGMEM = {'m', 'l', 'n', 'k'};

static PGM_P report_features(message::Reader& reader) {
  // A query without a version asks for version 1. An answer in version 2 has a check value already.
  const bool asks_version = reader.left() > sizeof kMagic;
  if (asks_version && !reader.check(kFeatures)) return kWrongCheck;
  for (uint8_t at = 0; at < sizeof kMagic; ++at) {
    if (reader.take7() != pgm_read_byte(&kMagic[at])) return PSTR("features: not ours");
  }
  if (asks_version && reader.take7() != kVersion) return PSTR("features: unknown version");
  if (!reader.done()) return PSTR("features: wrong length");
  message::checked = asks_version;
  message::begin(kFeatures);
  for (uint8_t at = 0; at < sizeof kMagic; ++at) message::put7(pgm_read_byte(&kMagic[at]));
  message::put7(kVersion);
  message::put32(kTickHz);
  message::put14(kHas);
  message::put14(kEventQueue - 1);
  message::put7(scheduler::kPulseSlots);
  message::put7(reflexes::kCount);
  message::put14(parser::kLongestSysex);
  message::put14(kReceiveBuffer - 1);
  message::put32(BOARD_USB ? 0 : 1000000);
  message::put7(kPinCount);
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    const bool usable = pins::is_usable(pin);
    message::put7((usable && edges::has(pin) ? 1 : 0) | (usable ? 2 : 0));
  }
  message::end();
  return nullptr;
}

static PGM_P report_clock(message::Reader& reader) {
  const uint8_t id = reader.take7();
  if (!reader.done()) return PSTR("clock: wrong length");
  uint32_t received;
  const bool exact = link::end_of_sysex(received);
  if (!exact) received = time_base::now();
  uint32_t sent;
  {
    Critical critical;
    sent = time_base::now_locked();
    // Bytes queued before the answer, and the one in the UART.
    const uint8_t before = link::pending();
    if (!link::is_idle()) sent += (uint32_t)(before + 1) * link::byte_ticks();
  }
  message::begin(kClock);
  message::put7(id);
  message::put7(exact);
  message::put32(received);
  message::put32(sent);
  message::end();
  return nullptr;
}

// Not inlined: its counts would be on the stack of every handler.
static __attribute__((noinline)) PGM_P report_status(message::Reader& reader) {
  if (!reader.done()) return PSTR("status: wrong length");
  const uint16_t counts[] = {events::lost,
                             edges::glitches,
                             link::counters.receive_lost,
                             link::counters.framing_errors,
                             link::counters.send_lost,
                             malformed,
                             message::texts_lost,
                             scheduler::late,
                             analog::missed,
                             safe_state::trips};
  message::begin(kStatus);
  message::put32(time_base::now());
  for (const uint16_t count : counts) message::put21(count);
  if (message::checked) message::put_sequence(events::blocks_sent());
  message::end();
  return nullptr;
}

PGM_P handle(uint8_t id, message::Reader& reader, bool& known) {
  known = true;
  if (message::checked && is_extension(id) && id != kFeatures && !reader.check(id)) return kWrongCheck;
  switch (id) {
    case kFeatures:
      return report_features(reader);
    case kEdges:
      return edges::handle(reader);
    case kClock:
      return report_clock(reader);
    case kPulses:
      return scheduler::handle(reader);
    case kAnalogBlocks:
      return analog::handle(reader);
    case kReflexes:
      return reflexes::handle(reader);
    case kSafeState:
      return safe_state::handle(reader);
    case kBaud:
      return baud::handle(reader);
    case kStatus:
      return report_status(reader);
    case kCounters:
      return counters::handle(reader);
#if BOARD_STEPPERS
    case kSteppers:
      return stepper::handle(reader);
#endif
#if BOARD_I2C_TRANSFERS
    case kI2cTransfers:
      return i2c::handle(reader);
#endif
  }
  known = false;
  return nullptr;
}

}  // namespace extension
