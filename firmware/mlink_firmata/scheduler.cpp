#include "scheduler.h"

#include "analog.h"
#include "events.h"
#include "pins.h"
#include "stepper.h"
#include "time_base.h"

namespace scheduler {

volatile uint16_t late;

// Optimised for speed: the least time between two edges depends on these functions.
#define FAST __attribute__((optimize("O2")))

static Slot slots[kSlots];
static Pulse pulses[kPulseSlots];  // of the first slots
static uint8_t loads[kSlots - kSampleSlot];  // of the ticks of the last slots, see load_of
static volatile uint8_t armed_count;  // number of armed slots, at which a search ends
static volatile bool serving;  // the interrupt handler is running
static volatile bool search_again;
static volatile bool resting = true;  // no slot is armed, and the interrupt is off
static uint32_t programmed;           // the time in the compare register

// The interrupt comes this many ticks early, finds the slot and waits for its time; other interrupts
// are served meanwhile.
static constexpr uint8_t kLead = 72;
// From the end of the wait to the change of the pin, in ticks (measured on the simulated chip).
static constexpr uint8_t kAdvance = PULSE_ADVANCE_TICKS;
static constexpr uint8_t kNear = kLead + 10;   // wait in the handler for an edge this near
static constexpr uint8_t kSoonest = 8;
static constexpr uint16_t kFarthest = 0x7000;  // farther edges: wake up before and search again
// The wait before such a search; enough time is left after it for the edge.
static constexpr uint16_t kStage = kFarthest - 2000;
static constexpr uint8_t kMostEdges = 12;      // per interrupt, so that others are served
static constexpr uint8_t kInPlaceOverhead = 6;
static constexpr uint8_t kEdgeTicks = 120;
static constexpr uint8_t kBreather = 60;
static constexpr uint8_t kLateTicks = 16;
static constexpr uint8_t kTicks = 0x80;  // added to the number of a slot without a pin

static inline void arm_locked(Slot& slot) {
  if (!slot.armed) armed_count = armed_count + 1;
  slot.armed = 1;
}

static inline void disarm_locked(Slot& slot) {
  if (slot.armed) armed_count = armed_count - 1;
  slot.armed = 0;
}

// Call it with interrupts off. Programs the interrupt for `target`, at most kFarthest away, or for now
// when `target` is near or past.
static inline void program_locked(uint32_t target) {
  programmed = target;
  time_base::let_overflow_pass_locked();
  const uint16_t now = BASE_TCNT;
  uint16_t compare = (uint16_t)target;
  if ((int16_t)(compare - now) < kSoonest) compare = now + kSoonest;
  BASE_OCRA = compare;
  // A value that the timer has passed meanwhile would match only after 33 ms.
  while (!(BASE_TIFR & _BV(OCF1A)) && (int16_t)(BASE_TCNT - BASE_OCRA) >= 0) {
    BASE_OCRA = BASE_TCNT + kSoonest;
  }
}

// Call it with interrupts off, after a slot was armed for `time`.
static void wake_for_locked(uint32_t time) {
  if (serving) {
    search_again = true;
    return;
  }
  uint32_t target = time - kLead;
  if (!resting && (int32_t)(target - programmed) >= 0) return;
  const uint32_t now = time_base::now_locked();
  const int32_t left = (int32_t)(target - now);
  if (left > kFarthest) target = now + kStage;
  if (left < 0) target = now;
  if (resting) {
    resting = false;
    program_locked(target);
    BASE_TIFR = _BV(OCF1A);  // clear an old match; the new one is a few µs away
    BASE_TIMSK |= _BV(OCIE1A);
    return;
  }
  program_locked(target);
}

// Queues the report of an end. The slot holds the report's data and is free once that is sent.
static void report_locked(Slot& slot, uint32_t time, End how) {
  if (!(slot.flags & kReport)) return;
  const uint8_t index = slot.pulse - pulses;
  if (events::push_locked(time, events::kPulseEnded | index, how, 0)) slot.pulse->reported = 0;
}

// Makes the edge that is due. Returns without it when the slot was changed meanwhile.
static FAST void make_edge(Slot& slot, uint32_t due, bool in_time) {
  // A reflex's slot only ends its one pulse.
  Pulse* const pulse = slot.pulse;
  const bool begins = pulse && !pulse->active;
  const bool level = begins != (bool)(slot.flags & kActiveLow);
  const uint8_t mask = slot.mask;
  volatile uint8_t* const output = slot.output;
  const bool last =
      !pulse || (!begins && pulse->remaining && pulse->done + 1 >= pulse->remaining);
  const uint16_t moment = (uint16_t)due - kAdvance;
  cli();
  // Interrupts are off for each reading of the timer: its two bytes use a shared register.
  while (in_time && (int16_t)(BASE_TCNT - moment) < 0) {
    sei();
    if (search_again) return;  // a reflex's pulse may end sooner
    __asm__ volatile("nop");
    cli();
  }
  if (!slot.armed || slot.next != due) {  // a reflex has restarted its pulse
    sei();
    return;
  }
  if (&slot == &slots[kSampleSlot]) {
    sei();
    const uint32_t wait = analog::tick(due);
    cli();
    slot.next = due + wait;
    sei();
    return;
  }
#if BOARD_STEPPERS
  if (&slot > &slots[kSampleSlot]) {
    sei();
    const uint32_t wait = stepper::tick(&slot - &slots[kStepSlot], due);
    cli();
    if (!wait) disarm_locked(slot);
    slot.next = due + wait;
    sei();
    return;
  }
#endif
  *output = level ? *output | mask : *output & ~mask;
  const uint32_t now = time_base::now_locked();
  if (last) disarm_locked(slot);
  sei();
  // From here on no interrupt changes the slot: a reflex's slot has one pulse and is not armed now.
  if ((int32_t)(now - due) > kLateTicks) late = late + 1;
  if (!pulse) return;
  if (last) {
    ++pulse->done;
    cli();
    report_locked(slot, now, kComplete);
    sei();
    return;
  }
  pulse->active = begins;
  if (begins) {
    if (pulse->done == 0) pulse->first = now;
    // A single pulse that began late keeps its width.
    slot.next = (pulse->remaining == 1 && !in_time ? now : due) + pulse->active_ticks;
  } else {
    ++pulse->done;
    slot.next = due + pulse->rest_ticks;
  }
}

// The slot whose edge is due next; nullptr when none is armed.
static FAST Slot* find_next() {
  cli();
  const uint32_t now = time_base::now_locked();
  uint8_t to_see = armed_count;
  sei();
  Slot* found = nullptr;
  int32_t least = INT32_MAX;
  for (Slot* slot = slots; to_see && slot != slots + kSlots; ++slot) {
    if (!slot->armed) continue;
    --to_see;
    cli();
    const int32_t until = (int32_t)(slot->next - now);
    sei();
    if (until >= least) continue;
    least = until;
    found = slot;
  }
  return found;
}

// The work of the interrupt, with interrupts on. Returns whether it has to be repeated at once,
// because a slot was armed meanwhile.
static FAST bool serve() {
  Slot* slot = nullptr;
  for (uint8_t made = 0;;) {
    search_again = false;
    // Usually one slot is in use: the last one due is the next one due.
    if (!slot || armed_count != 1 || !slot->armed) slot = find_next();
    uint32_t next = 0;
    int32_t left = INT32_MAX;
    if (slot) {
      cli();
      next = slot->next;
      left = (int32_t)(next - time_base::now_locked());
      sei();
    }
    if (slot && left <= kNear && made < kMostEdges) {
      make_edge(*slot, next, left > 0);
      ++made;
      continue;
    }
    uint32_t target = next - kLead;
    if (left <= kNear) {
      target = time_base::now() + kBreather;
    } else if (left >= kFarthest) {
      target = time_base::now() + kStage;
    }
    time_base::let_overflow_pass();
    if (slot) {
      program_locked(target);
    } else {
      resting = true;
    }
    sei();
    return made < kMostEdges;
  }
}

void reset() {
  for (Slot& slot : slots) {
    Critical critical;
    disarm_locked(slot);
  }
  for (uint8_t index = 0; index < kPulseSlots; ++index) {
    pulses[index].reported = 1;
    slots[index].pulse = &pulses[index];
  }
}

static Slot* slot_of(uint8_t pin) {
  for (uint8_t index = 0; index < kPulseSlots; ++index) {
    if (slots[index].armed && pulses[index].pin == pin) return &slots[index];
  }
  return nullptr;
}

static Slot* free_slot() {
  for (uint8_t index = 0; index < kPulseSlots; ++index) {
    if (!slots[index].armed && pulses[index].reported) return &slots[index];
  }
  return nullptr;
}

static void fill(Slot& slot, uint8_t pin, uint8_t flags, uint32_t active, uint32_t rest,
                 uint32_t count) {
  const uint8_t port = pins::port_of(pin);
  slot.flags = flags;
  slot.output = pins::output_register(port);
  slot.mask = pins::mask_of(pin);
  Pulse& pulse = *slot.pulse;
  pulse.pin = pin;
  pulse.active_ticks = active;
  pulse.rest_ticks = rest;
  pulse.remaining = count;
  pulse.done = 0;
  pulse.active = 0;
}

static void stop_slot(Slot& slot) {
  Critical critical;
  if (!slot.armed) return;
  disarm_locked(slot);
  const bool rest = slot.flags & kActiveLow;
  *slot.output = rest ? *slot.output | slot.mask : *slot.output & ~slot.mask;
  report_locked(slot, time_base::now_locked(), kStopped);
}

void stop_pin(uint8_t pin) {
  stepper::halt(pin);
  if (Slot* slot = slot_of(pin)) stop_slot(*slot);
  for (uint8_t index = kPulseSlots; index < kSampleSlot; ++index) {
    if (slots[index].armed && slots[index].output == pins::output_register(pins::port_of(pin)) &&
        slots[index].mask == pins::mask_of(pin)) {
      stop_slot(slots[index]);
    }
  }
}

static void switch_locked(const Slot& slot, bool active) {
  const bool level = active != (bool)(slot.flags & kActiveLow);
  *slot.output = level ? *slot.output | slot.mask : *slot.output & ~slot.mask;
}

// A pulse too short to be scheduled. Up to 15 µs interrupts are off during the pulse, above that only
// at its edges.
static void pulse_in_place(Slot& slot) {
  Pulse& pulse = *slot.pulse;
  // The time of the two pin changes and of the loop itself is part of the width.
  const uint8_t wait = pulse.active_ticks > kInPlaceOverhead ? pulse.active_ticks - kInPlaceOverhead : 0;
  const bool long_enough = wait > 30;
  Critical critical;
  switch_locked(slot, true);
  const uint16_t since = BASE_TCNT;
  pulse.first = time_base::now_locked();
  while ((uint16_t)(BASE_TCNT - since) < wait) {
    if (!long_enough) continue;
    sei();
    __asm__ volatile("nop");
    cli();
  }
  switch_locked(slot, false);
  pulse.done = 1;
  report_locked(slot, time_base::now_locked(), kComplete);
}

// The load of a train, in percent of the edges that the interrupt can make. Each edge counts as 60 µs,
// of which it needs about 45; the rest is for the main loop.
static uint8_t load_of(uint32_t period) { return (uint8_t)(2 * 100 * kEdgeTicks / period); }

static bool has_room_for(uint8_t pin, uint32_t period) {
  if (period < kShortestPeriod) return false;
  uint16_t load = load_of(period);
  for (uint8_t index = kSampleSlot; index < kSlots; ++index) {
    if (slots[index].armed && pin != kTicks + index) load += loads[index - kSampleSlot];
  }
  for (uint8_t index = 0; index < kPulseSlots; ++index) {
    const Pulse& pulse = pulses[index];
    if (!slots[index].armed || pulse.pin == pin || pulse.remaining == 1) continue;
    load += load_of(pulse.active_ticks + pulse.rest_ticks);
  }
  return load <= 100;
}

bool has_room_for_samples(uint32_t spacing) { return has_room_for(kTicks + kSampleSlot, 2 * spacing); }

#if BOARD_STEPPERS
bool has_room_for_steps(uint8_t index, uint32_t least) {
  return least >= kShortestStep && has_room_for(kTicks + kStepSlot + index, least);
}

bool is_stepping(uint8_t index) { return slots[kStepSlot + index].armed; }

bool change_steps_locked(uint8_t index, uint32_t least) {
  loads[1 + index] = load_of(least);
  return slots[kStepSlot + index].armed;
}

bool stop_steps_locked(uint8_t index) {
  Slot& slot = slots[kStepSlot + index];
  const bool steps = slot.armed;
  disarm_locked(slot);
  return steps;
}

void start_steps(uint8_t index, uint32_t first, uint32_t least) {
  Critical critical;
  Slot& slot = slots[kStepSlot + index];
  loads[1 + index] = load_of(least);
  slot.next = first;
  arm_locked(slot);
  wake_for_locked(first);
}
#endif

static PGM_P start(uint8_t pin, uint8_t flags, uint32_t at, uint32_t active, uint32_t rest,
                   uint32_t count) {
  stepper::halt(pin);
  Slot* slot = slot_of(pin);
  if (slot && count == 1 && slot->pulse->remaining == 1 && !(flags & kAtTime)) {
    // A single pulse on a pin with one in progress: its end may be postponed, not brought forward.
    Critical critical;
    if (slot->armed && slot->pulse->active && ((slot->flags ^ flags) & kActiveLow) == 0) {
      const uint32_t until = time_base::now_locked() + active;
      if ((int32_t)(until - slot->next) > 0) slot->next = until;
      slot->flags |= flags & kReport;
      return nullptr;
    }
  }
  if (slot) stop_slot(*slot);
  slot = free_slot();
  if (!slot) return PSTR("pulses: no slot is free");
  pins::make_output(pin, flags & kActiveLow);
  fill(*slot, pin, flags, active, rest, count);
  // A train whose time has passed begins now: its first pulses would follow without pauses.
  if (flags & kAtTime && !is_due(at, time_base::now())) {
    Critical critical;
    slot->next = at;
    arm_locked(*slot);
    wake_for_locked(at);
  } else if (count == 1 && active < kShortestTimed) {
    pulse_in_place(*slot);
  } else {
    Critical critical;
    switch_locked(*slot, true);
    const uint32_t now = time_base::now_locked();
    slot->pulse->first = now;
    slot->pulse->active = 1;
    slot->next = now + active;
    arm_locked(*slot);
    wake_for_locked(slot->next);
  }
  return nullptr;
}

static bool can_output(uint8_t pin) { return pins::supports(pin, kOutput); }

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  const uint8_t pin = reader.take7();
  if (!reader.ok() || !can_output(pin)) return PSTR("pulses: no such output");
  if (sub == kStop) {
    if (!reader.done()) return PSTR("pulses: wrong length");
    stop_pin(pin);
    return nullptr;
  }
  const uint8_t flags = reader.take7();
  if (flags > (kActiveLow | kAtTime | kReport)) return PSTR("pulses: unknown flags");
  uint32_t at = 0, active, rest = 0, count = 1;
  if (sub == kPulse) {
    // The short form: the remaining bytes are the width.
    if (reader.left() == 0 || reader.left() > 5 || flags & kAtTime) return PSTR("pulses: wrong length");
    active = reader.take(reader.left());
  } else {
    at = reader.take32();
    active = reader.take32();
    rest = reader.take32();
    count = reader.take21();
    if (sub != kTrain || !reader.done()) return PSTR("pulses: wrong length or kind");
  }
  const bool single = count == 1;
  if (active < (single ? 2 : kShortestPhase) || (int32_t)active < 0) return PSTR("pulses: width");
  if (!single && (rest < kShortestPhase || active + rest < kShortestPeriod || (int32_t)rest < 0)) {
    return PSTR("pulses: period");
  }
  if (!single && !has_room_for(pin, active + rest)) return PSTR("pulses: too many edges");
  return start(pin, flags, at, active, rest, count);
}

void report_end(uint8_t index, uint32_t time, uint8_t how) {
  Pulse& pulse = pulses[index];
  pulse.reported = 1;
  message::begin(kPulses);
  message::put7(kEnded);
  message::put7(pulse.pin);
  message::put7(how);
  message::put32(pulse.first);
  message::put32(time);
  message::put21(pulse.done);
  message::end();
}

bool run_pwm(uint8_t pin, uint16_t active_ticks, uint16_t rest_ticks) {
  Slot* slot = slot_of(pin);
  if (slot) {
    Critical critical;
    slot->pulse->active_ticks = active_ticks;
    slot->pulse->rest_ticks = rest_ticks;
    return true;
  }
  slot = free_slot();
  if (!slot) return false;
  fill(*slot, pin, 0, active_ticks, rest_ticks, 0);
  Critical critical;
  slot->next = time_base::now_locked() + kShortestPeriod;
  arm_locked(*slot);
  wake_for_locked(slot->next);
  return true;
}

void end_reflex_locked(uint8_t reflex, volatile uint8_t* output, uint8_t mask, bool active_low,
                       uint32_t time) {
  Slot& slot = slots[kPulseSlots + reflex];
  slot.flags = active_low ? kActiveLow : 0;
  slot.output = output;
  slot.mask = mask;
  slot.next = time;
  arm_locked(slot);
  wake_for_locked(time);
}

void drop_reflex(uint8_t reflex) { stop_slot(slots[kPulseSlots + reflex]); }

void start_samples(uint32_t first, uint32_t spacing) {
  Critical critical;
  Slot& slot = slots[kSampleSlot];
  loads[0] = load_of(spacing) / 2;
  slot.next = first;
  arm_locked(slot);
  wake_for_locked(first);
}

void stop_samples() {
  Critical critical;
  disarm_locked(slots[kSampleSlot]);
}

// Runs with all other interrupts enabled: a search takes longer than an edge may wait, and at
// 1,000,000 baud the next byte arrives after 10 µs.
static inline __attribute__((always_inline)) void compare_interrupt() {
  BASE_TIMSK &= ~_BV(OCIE1A);
  serving = true;
  sei();
  while (serve()) {
    cli();
    if (!search_again) break;
    sei();
  }
  cli();
  serving = false;
  if (!resting) BASE_TIMSK |= _BV(OCIE1A);
}

}  // namespace scheduler

ISR(BASE_COMPA_vect) { scheduler::compare_interrupt(); }
