#include "counters.h"

#include "edges.h"
#include "pins.h"
#include "time_base.h"

namespace counters {

volatile uint8_t on_port[kPortCount];

// What the interrupt counts.
struct Totals {
  uint32_t position;  // of an encoder, in steps; else the number of counted edges
  uint32_t count;
  uint32_t last;   // when the last one was counted
  uint32_t high;   // ticks for which the pin had been high at that time
  uint16_t errors;  // interrupts in which both pins of an encoder had changed
};

struct Counter {
  bool on;
  uint8_t pin, second_pin;  // kNoPin: an edge counter
  uint8_t port, mask, second_mask;
  uint8_t edges;  // 1 rising, 2 falling, 3 both
  volatile uint8_t version;  // counts changes of the totals
  Totals totals;
  uint32_t rose, high;
  uint32_t period, due;
  uint8_t tag, sequence;
};

static Counter table[kCount];
static constexpr uint8_t kNoPin = 0x7F;
static constexpr uint8_t kReportBytes = 40;
static constexpr uint8_t kMostPending = 40;  // beyond it the line is busy: a later report is newer

void count_locked(uint8_t port, uint8_t levels, uint8_t changed, uint32_t time) {
  for (Counter& counter : table) {
    const uint8_t mine = changed & (counter.mask | counter.second_mask);
    if (counter.port != port || !mine || !counter.on) continue;
    Totals& totals = counter.totals;
    const bool high = levels & counter.mask;
    if (counter.second_mask) {
      const bool first_changed = mine & counter.mask;
      if (first_changed && (mine & counter.second_mask)) {
        ++totals.errors;
        ++counter.version;
        continue;
      }
      const bool same = high == (bool)(levels & counter.second_mask);
      totals.position += same != first_changed ? 1 : -1;
    } else {
      if (high) {
        counter.rose = time;
      } else {
        counter.high += time - counter.rose;
      }
      if (!(counter.edges & (high ? 1 : 2))) continue;
      totals.high = counter.high;
      ++totals.position;
    }
    ++totals.count;
    totals.last = time;
    ++counter.version;
  }
}

static void update_ports() {
  for (uint8_t port = 0; port < kPortCount; ++port) {
    uint8_t mask = 0;
    for (const Counter& counter : table) {
      if (counter.on && counter.port == port) mask |= counter.mask | counter.second_mask;
    }
    on_port[port] = mask;
  }
}

static bool uses(uint8_t pin) {
  for (const Counter& counter : table) {
    if (counter.on && (counter.pin == pin || counter.second_pin == pin)) return true;
  }
  return false;
}

static void remove(Counter& counter) {
  if (!counter.on) return;
  counter.on = false;
  if (!uses(counter.pin)) edges::watch_for_counter(counter.pin, false);
  if (!uses(counter.second_pin)) edges::watch_for_counter(counter.second_pin, false);
  update_ports();
}

static PGM_P set(Counter& counter, message::Reader& reader) {
  const uint8_t pin = reader.take7(), second = reader.take7(), which = reader.take7();
  const uint16_t msec = reader.take14();
  const uint8_t tag = reader.take7();
  if (!reader.done()) return PSTR("counters: wrong length");
  if (which == 0) {
    remove(counter);
    return nullptr;
  }
  const bool is_encoder = second != kNoPin;
  if (!edges::has(pin) || which > 3 || msec == 0 || second == pin) return PSTR("counters: pin or period");
  // One interrupt has to see both pins, or their order is lost.
  if (is_encoder && (!edges::has(second) || pins::port_of(pin) != pins::port_of(second))) {
    return PSTR("counters: pins not on one port");
  }
  remove(counter);
  counter.pin = pin;
  counter.second_pin = second;
  counter.port = pins::port_of(pin);
  counter.mask = pins::mask_of(pin);
  counter.second_mask = is_encoder ? pins::mask_of(second) : 0;
  counter.edges = which;
  counter.totals = Totals{};
  counter.high = 0;
  counter.tag = tag;
  counter.sequence = 0;
  counter.period = msec * kTicksPerMs;
  counter.rose = time_base::now();
  counter.due = counter.rose;
  counter.on = true;
  update_ports();
  edges::watch_for_counter(pin, true);
  if (is_encoder) edges::watch_for_counter(second, true);
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7(), index = reader.take7();
  if (sub != kSet || index >= kCount) return PSTR("counters: no such counter");
  Counter& counter = table[index];
  if (PGM_P wrong = set(counter, reader)) return wrong;
  message::begin(kCounters);
  message::put7(kIsSet);
  message::put7(index);
  message::put7(counter.on);
  message::end();
  return nullptr;
}

void send() {
  for (uint8_t index = 0; index < kCount; ++index) {
    Counter& counter = table[index];
    if (!counter.on || link::room() < kReportBytes || link::pending() > kMostPending) continue;
    uint32_t now = time_base::now();
    if (!is_due(counter.due, now)) continue;
    counter.due += counter.period;
    if (is_due(counter.due, now)) counter.due = now + counter.period;
    // Copied with interrupts on, so that no edge's time is late, and again if an edge came between.
    Totals totals;
    uint8_t version;
    do {
      version = counter.version;
      read_after();
      totals = counter.totals;
      now = time_base::now();
      read_after();
    } while (version != counter.version);
    message::begin(kCounters);
    message::put7(kReport);
    message::put7(index);
    message::put7(counter.tag);
    message::put7(counter.sequence++);
    message::put32(now);
    message::put32(totals.position);
    message::put32(totals.count);
    message::put32(totals.last);
    message::put32(totals.high);
    message::put14(totals.errors);
    message::put14(edges::glitches);
    message::end();
  }
}

void reset() {
  for (Counter& counter : table) remove(counter);
}

}  // namespace counters
