#include "baud.h"

#include "time_base.h"

namespace baud {

static constexpr uint32_t kConfirmTime = 500 * kTicksPerMs;
static constexpr uint32_t kLongestSilence = 5000 * kTicksPerMs;
static constexpr uint8_t kMostFramingErrors = 8;

enum State : uint8_t { kSteady, kDraining, kWaiting, kRaised };
static State state;
static uint32_t wanted;
static uint32_t since;  // begin of the state, or time of the last message

static void report(uint8_t sub, uint8_t status, uint32_t rate) {
  message::begin(kBaud);
  message::put7(sub);
  message::put7(status);
  message::put32(rate);
  message::end();
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  if (sub == kChange) {
    const uint32_t rate = reader.take32();
    if (!reader.done()) return PSTR("baud: wrong length");
    if (!link::can_baud(rate)) {
      report(kChange, 1, rate);
      return nullptr;
    }
    report(kChange, 0, rate);
    wanted = rate;
    state = kDraining;
    return nullptr;
  }
  if (sub != kConfirm || !reader.done()) return PSTR("baud: wrong kind");
  if (state == kWaiting) state = link::baud() == link::kDefaultBaud ? kSteady : kRaised;
  since = time_base::now();
  report(kConfirm, 0, link::baud());
  return nullptr;
}

void heard() {
  if (state == kRaised) since = time_base::now();
}

static void fall_back() {
  link::set_baud(link::kDefaultBaud);
  state = kSteady;
  report(kFellBack, 0, link::kDefaultBaud);
}

void run() {
  if (state == kSteady) return;
  const uint32_t now = time_base::now();
  if (state == kDraining) {
    if (!link::is_idle()) return;
    link::set_baud(wanted);
    state = kWaiting;
    since = now;
  } else if (now - since > (state == kWaiting ? kConfirmTime : kLongestSilence) ||
             link::framing_errors_in_a_row() >= kMostFramingErrors) {
    fall_back();
  }
}

void reset() {
  if (link::baud() == link::kDefaultBaud) {
    state = kSteady;
    return;
  }
  wanted = link::kDefaultBaud;
  state = kDraining;
}

}  // namespace baud
