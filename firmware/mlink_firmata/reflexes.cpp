#include "reflexes.h"

#include "edges.h"
#include "events.h"
#include "pins.h"
#include "scheduler.h"
#include "time_base.h"

namespace reflexes {

volatile uint8_t on_port[kPortCount];

struct Reflex {
  bool on;
  volatile bool has_fired;  // and its refractory time is not over
  uint8_t trigger_pin, trigger_port, trigger_mask;
  uint8_t edges;  // 1 rising, 2 falling, 3 both
  volatile uint8_t* condition;  // nullptr: none
  uint8_t condition_mask;
  bool condition_level;
  volatile uint8_t* output;
  uint8_t output_mask;
  uint8_t action;
  uint32_t width;
  uint32_t refractory;
  uint32_t last;  // when it fired
};

static Reflex table[kCount];

static void act_locked(Reflex& reflex, uint8_t index, uint32_t time) {
  const uint8_t mask = reflex.output_mask, before = *reflex.output;
  switch (reflex.action) {
    case kLow:
    case kPulseLow:
      *reflex.output = before & ~mask;
      break;
    case kToggle:
      *reflex.output = before ^ mask;
      break;
    default:
      *reflex.output = before | mask;
  }
  const uint32_t now = time_base::now_locked();
  reflex.last = time;
  reflex.has_fired = true;
  if (reflex.action >= kPulseHigh) {
    scheduler::end_reflex_locked(index, reflex.output, mask, reflex.action == kPulseLow,
                                 now + reflex.width);
  }
  const uint16_t delay = (uint16_t)(now - time);
  events::push_locked(time, events::kReflexFired | index, (uint8_t)delay, delay >> 8);
}

void run_locked(uint8_t port, uint8_t levels, uint8_t changed, uint32_t time) {
  for (uint8_t index = 0; index < kCount; ++index) {
    Reflex& reflex = table[index];
    if (!reflex.on || reflex.trigger_port != port || !(reflex.trigger_mask & changed)) continue;
    if (!(reflex.edges & (levels & reflex.trigger_mask ? 1 : 2))) continue;
    if (reflex.condition &&
        (bool)(*reflex.condition & reflex.condition_mask) != reflex.condition_level) {
      continue;
    }
    if (reflex.has_fired && time - reflex.last < reflex.refractory) continue;
    act_locked(reflex, index, time);
  }
}

// Computes from the table which pins are triggers.
static void update_ports() {
  for (uint8_t port = 0; port < kPortCount; ++port) {
    uint8_t mask = 0;
    for (const Reflex& reflex : table) {
      if (reflex.on && reflex.trigger_port == port) mask |= reflex.trigger_mask;
    }
    on_port[port] = mask;
  }
}

static void remove(uint8_t index) {
  Reflex& reflex = table[index];
  if (!reflex.on) return;
  {
    Critical critical;
    reflex.on = false;
  }
  scheduler::drop_reflex(index);
  bool shared = false;
  for (const Reflex& other : table) shared |= other.on && other.trigger_pin == reflex.trigger_pin;
  if (!shared) edges::watch_for_reflex(reflex.trigger_pin, false);
  update_ports();
}

static void report_state(uint8_t index) {
  message::begin(kReflexes);
  message::put7(kState);
  message::put7(index);
  message::put7(table[index].on);
  message::end();
}

static PGM_P set(uint8_t index, message::Reader& reader) {
  const uint8_t trigger = reader.take7(), which = reader.take7();
  const uint8_t condition = reader.take7(), level = reader.take7();
  const uint8_t output = reader.take7(), action = reader.take7();
  const uint32_t width = reader.take32(), refractory = reader.take32();
  if (!reader.done()) return PSTR("reflexes: wrong length");
  if (!edges::has(trigger) || which == 0 || which > 3) return PSTR("reflexes: no such trigger");
  if (condition != kNoCondition && (!pins::is_usable(condition) || level > 1)) {
    return PSTR("reflexes: no such condition");
  }
  if (!pins::supports(output, kOutput) || action >= kActions || output == trigger) {
    return PSTR("reflexes: no such action");
  }
  if (action >= kPulseHigh && (width < scheduler::kShortestReflex || (int32_t)width < 0)) {
    return PSTR("reflexes: width");
  }
  remove(index);
  // Set the resting level before the first event: a low pulse starts from high.
  pins::make_output(output, action == kPulseLow || (action != kPulseHigh && pins::value(output)));
  Reflex& reflex = table[index];
  reflex.has_fired = false;
  reflex.trigger_pin = trigger;
  reflex.trigger_port = pins::port_of(trigger);
  reflex.trigger_mask = pins::mask_of(trigger);
  reflex.edges = which;
  reflex.condition = nullptr;
  if (condition != kNoCondition) {
    reflex.condition = pins::input_register(pins::port_of(condition));
    reflex.condition_mask = pins::mask_of(condition);
    reflex.condition_level = level;
  }
  reflex.output = pins::output_register(pins::port_of(output));
  reflex.output_mask = pins::mask_of(output);
  reflex.action = action;
  reflex.width = width;
  reflex.refractory = refractory;
  {
    Critical critical;
    reflex.on = true;
  }
  update_ports();
  edges::watch_for_reflex(trigger, true);
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7(), index = reader.take7();
  if (!reader.ok()) return PSTR("reflexes: wrong length");
  if (sub == kSet && index < kCount) {
    if (PGM_P wrong = set(index, reader)) return wrong;
    report_state(index);
    return nullptr;
  }
  if (sub != kRemove || !reader.done() || (index >= kCount && index != kAll)) {
    return PSTR("reflexes: no such reflex");
  }
  for (uint8_t one = 0; one < kCount; ++one) {
    if (index != kAll && index != one) continue;
    remove(one);
    report_state(one);
  }
  return nullptr;
}

void report(uint8_t index, uint32_t time, uint16_t delay) {
  message::begin(kReflexes);
  message::put7(kFired);
  message::put7(index);
  message::put32(time);
  message::put32(time + delay);
  message::end();
}

void run() {
  static uint8_t index;
  Reflex& reflex = table[index];
  index = (index + 1) % kCount;
  // Looked at with interrupts on, and again when it seems to be over.
  if (!reflex.has_fired || time_base::now() - reflex.last < reflex.refractory) return;
  Critical critical;
  if (time_base::now_locked() - reflex.last >= reflex.refractory) reflex.has_fired = false;
}

void reset() {
  for (uint8_t index = 0; index < kCount; ++index) remove(index);
}

}  // namespace reflexes
