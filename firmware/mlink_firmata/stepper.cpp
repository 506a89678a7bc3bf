#include "stepper.h"

#if BOARD_STEPPERS

#include "pins.h"
#include "scheduler.h"
#include "time_base.h"

namespace stepper {

enum Driver : uint8_t { kNoDriver, kStepDirection, kFourWires, kDrivers };
enum Flag : uint8_t { kInvert = 1, kActiveLow = 2, kRelease = 4, kHalfSteps = 8, kLowIsHigh = 16,
                      kHighIsHigh = 32 };
enum How : uint8_t { kMoving, kArrived, kStopped, kAtLow, kAtHigh, kEnded };

// Intervals are in 1/256 tick: without the fraction a speed would be up to 0.2 % off.
struct Stepper {
  uint8_t driver;
  uint8_t flags;
  uint8_t pins[4];    // step and direction, or the coils in their order
  uint8_t limits[2];  // of movement down and up; kNoPin: none
  bool up;
  volatile bool stopping;  // the order to stop has set the target
  volatile bool ended;     // and not reported yet
  bool cruises;            // at the ordered speed: no interval is computed
  bool begins;             // the next tick makes no step, but chooses when the first is
  volatile uint8_t how;
  uint8_t fraction;
  uint8_t tag, sequence;
  int32_t position, target;
  uint32_t first;     // interval of the first step from rest: ticks * sqrt(2 / acceleration)
  uint32_t fastest;   // interval at the ordered speed
  uint32_t ramp;      // steps since rest on the ramp; as many are needed to stop
  uint32_t interval;  // between the last two of these steps
  uint32_t rest;      // remainder of its computation
  uint32_t present;   // interval to the next step
  uint32_t time;      // of the last step
  uint32_t period, due;
};

static Stepper table[BOARD_STEPPERS];
static constexpr uint8_t kNoPin = 0x7F;
static constexpr uint8_t kReportBytes = 26;
static constexpr uint8_t kMostPending = 40;  // beyond it the line is busy: a later report is newer
static constexpr uint8_t kPulseTicks = 8;
static constexpr uint8_t kPrepareTicks = 200;

// Interval n of a ramp from rest is sqrt(n + 1) - sqrt(n) times the first. The recurrence below is too
// coarse for the begin.
static const uint16_t kBegin[] PROGMEM = {65535, 27146, 20830, 17560, 15471, 13987, 12862, 11971,
                                          11243, 10634, 10114, 9664};
static constexpr uint8_t kTabled = sizeof kBegin / sizeof *kBegin;

static uint32_t tabled(const Stepper& stepper, uint8_t n) {
  const uint16_t factor = pgm_read_word(&kBegin[n]);
  const uint16_t high = stepper.first >> 16, low = (uint16_t)stepper.first;
  return (uint32_t)high * factor + (uint16_t)((uint32_t)low * factor >> 16);
}

// The change of the interval from one step of a ramp to the next.
static uint32_t change(Stepper& stepper, uint32_t divisor) {
  const uint32_t twice = 2 * stepper.interval + stepper.rest, change = twice / divisor;
  stepper.rest = twice - change * divisor;
  return change;
}

// How far it is to the target in the present direction, negative behind it.
static int32_t ahead(const Stepper& stepper) {
  return stepper.up ? stepper.target - stepper.position : stepper.position - stepper.target;
}

// Chooses the interval to the next step, of which there is one.
static void choose(Stepper& stepper, int32_t left) {
  const uint32_t n = stepper.ramp;
  const bool too_fast = n && stepper.interval < stepper.fastest;
  if (left > (int32_t)n && !too_fast) {
    stepper.present = stepper.fastest;
    if (stepper.cruises) return;
    const uint32_t rest = stepper.rest;
    const uint32_t next =
        n < kTabled ? tabled(stepper, n) : stepper.interval - change(stepper, 4 * n + 1);
    stepper.cruises = next <= stepper.fastest;
    if (stepper.cruises) {
      stepper.rest = rest;
      return;
    }
    stepper.present = next;
    if (left == (int32_t)n + 1) {  // the top of a ramp without a cruise
      stepper.rest = rest;
      return;
    }
    stepper.interval = next;
    ++stepper.ramp;
    return;
  }
  stepper.cruises = false;
  stepper.present = stepper.interval;
  const uint32_t before = --stepper.ramp;
  if (before > kTabled) {
    stepper.interval += change(stepper, 4 * before - 1);
  } else if (before) {
    stepper.interval = tabled(stepper, before - 1);
  }
}

static void set_level(uint8_t pin, bool level) {
  volatile uint8_t* output = pins::output_register(pins::port_of(pin));
  const uint8_t mask = pins::mask_of(pin);
  Critical critical;
  *output = level ? *output | mask : *output & ~mask;
}

static void set_step(const Stepper& stepper, bool on) {
  set_level(stepper.pins[0], on != (bool)(stepper.flags & kActiveLow));
}

static void set_direction(Stepper& stepper, bool up) {
  stepper.up = up;
  if (stepper.driver == kStepDirection) {
    set_level(stepper.pins[1], up != (bool)(stepper.flags & kInvert));
  }
}

// Half steps: one coil, two coils, and so on; full steps: always two.
static void set_coils(const Stepper& stepper, bool on) {
  static const uint8_t kCoils[] PROGMEM = {1, 3, 2, 6, 4, 12, 8, 9};
  const uint8_t at = (uint8_t)stepper.position;
  uint8_t coils = on ? pgm_read_byte(&kCoils[stepper.flags & kHalfSteps ? at & 7 : 2 * (at & 3) + 1]) : 0;
  for (const uint8_t pin : stepper.pins) {
    set_level(pin, coils & 1);
    coils >>= 1;
  }
}

static bool at_limit(const Stepper& stepper) {
  const uint8_t pin = stepper.limits[stepper.up];
  return pin != kNoPin && pins::read(pin) == (bool)(stepper.flags & (stepper.up ? kHighIsHigh : kLowIsHigh));
}

// It stands from now on.
static void end(Stepper& stepper, uint8_t how) {
  if (stepper.driver == kFourWires && stepper.flags & kRelease) set_coils(stepper, false);
  stepper.how = how;
  stepper.present = 0;
  stepper.ended = true;
}

uint32_t tick(uint8_t index, uint32_t due) {
  Stepper& stepper = table[index];
  const bool steps = !stepper.begins;
  stepper.begins = false;
  if (at_limit(stepper)) {
    stepper.time = time_base::now();
    end(stepper, stepper.up ? kAtHigh : kAtLow);
    return 0;
  }
  if (steps) {
    stepper.position += stepper.up ? 1 : -1;
    if (stepper.driver == kStepDirection) {
      set_step(stepper, true);
    } else {
      set_coils(stepper, true);
    }
  }
  const uint32_t now = time_base::now();
  stepper.time = now;
  int32_t left = ahead(stepper);
  const bool turns = !stepper.ramp && left < 0;
  if (!stepper.ramp && left == 0) {
    end(stepper, stepper.stopping ? kStopped : kArrived);
  } else {
    if (turns) {
      left = -left;
      stepper.cruises = false;
    }
    choose(stepper, left);
  }
  if (steps && stepper.driver == kStepDirection) {
    while (time_base::now() - now < kPulseTicks) {
    }
    set_step(stepper, false);
  }
  if (!stepper.present) return 0;
  if (turns) set_direction(stepper, !stepper.up);
  const uint32_t sum = stepper.present + stepper.fraction;
  stepper.fraction = (uint8_t)sum;
  uint32_t wait = sum >> 8;
  // After a late step the next may come a little sooner, or the motor could not follow.
  const int32_t lateness = (int32_t)(now - due), most = wait >> 2;
  if (lateness > most) {
    scheduler::late = scheduler::late + 1;
    wait += lateness - most;
  }
  return wait;
}

static bool uses(const Stepper& stepper, uint8_t pin) {
  for (const uint8_t own : stepper.pins) {
    if (stepper.driver && own == pin) return true;
  }
  return false;
}

static void halt_one(uint8_t index) {
  Critical critical;
  if (!scheduler::stop_steps_locked(index)) return;
  table[index].time = time_base::now_locked();
  end(table[index], kEnded);
}

void halt(uint8_t pin) {
  for (uint8_t index = 0; index < BOARD_STEPPERS; ++index) {
    if (pin != kNone && !uses(table[index], pin)) continue;
    halt_one(index);
    table[index].driver = kNoDriver;
  }
}

static void report(uint8_t index);

// Reads the order twice, first to check it: a copy of a stepper is too large for the stack.
static PGM_P set(uint8_t index, message::Reader& reader) {
  Stepper& stepper = table[index];
  message::Reader check = reader;
  const uint8_t driver = check.take7();
  const uint8_t outputs = driver == kFourWires ? 4 : driver == kStepDirection ? 2 : 0;
  if (driver >= kDrivers || check.left() != 19) return PSTR("stepper: wrong length or driver");
  check.take7();
  for (uint8_t at = 0; at < 6; ++at) {
    const uint8_t pin = check.take7();
    const bool is_output = at < 4;
    if (is_output ? at < outputs && !pins::supports(pin, kOutput) : pin != kNoPin && !pins::is_usable(pin)) {
      return PSTR("stepper: no such pin");
    }
  }
  if ((int32_t)check.take32() < 256 || !check.ok()) return PSTR("stepper: acceleration");
  halt_one(index);
  if (stepper.ended) report(index);
  stepper.driver = kNoDriver;  // so that taking its pins does not end it
  reader.take7();
  stepper.flags = reader.take7();
  for (uint8_t at = 0; at < 4; ++at) {
    const uint8_t pin = reader.take7();
    stepper.pins[at] = at < outputs ? pin : kNoPin;
    if (at >= outputs) continue;
    scheduler::stop_pin(pin);
    pins::make_output(pin, driver == kStepDirection && at == 0 && stepper.flags & kActiveLow);
  }
  for (uint8_t& pin : stepper.limits) pin = reader.take7();
  stepper.first = reader.take32();
  stepper.position = (int32_t)reader.take32();
  stepper.period = reader.take14() * kTicksPerMs;
  stepper.driver = driver;
  if (driver == kFourWires && !(stepper.flags & kRelease)) set_coils(stepper, true);
  return nullptr;
}

static PGM_P move(uint8_t index, message::Reader& reader) {
  Stepper& stepper = table[index];
  const uint8_t tag = reader.take7();
  const int32_t target = (int32_t)reader.take32();
  const uint32_t fastest = reader.take32();
  if (!reader.done()) return PSTR("stepper: wrong length");
  if (!stepper.driver) return PSTR("stepper: is not set");
  if ((int32_t)fastest < 256 || !scheduler::has_room_for_steps(index, fastest >> 8)) {
    return PSTR("stepper: too many edges");
  }
  {
    Critical critical;
    if (scheduler::change_steps_locked(index, fastest >> 8)) {
      stepper.target = target;
      stepper.fastest = fastest;
      stepper.tag = tag;
      stepper.stopping = stepper.cruises = false;
      return nullptr;
    }
  }
  if (stepper.ended) report(index);
  stepper.target = target;
  stepper.fastest = fastest;
  stepper.tag = tag;
  stepper.stopping = stepper.cruises = false;
  stepper.ramp = stepper.rest = 0;
  stepper.fraction = 0;
  const uint32_t now = time_base::now();
  stepper.due = now + stepper.period;
  stepper.begins = true;
  set_direction(stepper, target >= stepper.position);
  scheduler::start_steps(index, now + kPrepareTicks, fastest >> 8);
  return nullptr;
}

static PGM_P stop(uint8_t index, message::Reader& reader) {
  Stepper& stepper = table[index];
  const bool at_once = reader.take7();
  if (!reader.done()) return PSTR("stepper: wrong length");
  Critical critical;
  if (!scheduler::is_stepping(index)) return nullptr;
  if (at_once || !stepper.ramp) {
    scheduler::stop_steps_locked(index);
    stepper.time = time_base::now_locked();
    end(stepper, kStopped);
  } else {
    const int32_t ramp = stepper.ramp + 1;  // the next step is on its way
    stepper.target = stepper.position + (stepper.up ? ramp : -ramp);
    stepper.stopping = true;
  }
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7(), index = reader.take7();
  if (!reader.ok() || index >= BOARD_STEPPERS) return PSTR("stepper: no such stepper");
  if (sub == kMove) return move(index, reader);
  if (sub == kStop) return stop(index, reader);
  if (sub != kSet) return PSTR("stepper: unknown kind");
  if (PGM_P wrong = set(index, reader)) return wrong;
  message::begin(kSteppers);
  message::put7(kIsSet);
  message::put7(index);
  message::put7(table[index].driver != kNoDriver);
  message::end();
  return nullptr;
}

static void report(uint8_t index) {
  Stepper& stepper = table[index];
  uint32_t time, interval;
  int32_t position;
  uint8_t how;
  {
    Critical critical;
    how = stepper.ended ? stepper.how : (uint8_t)kMoving;
    stepper.ended = false;
    time = stepper.time;
    position = stepper.position;
    interval = stepper.present;
  }
  message::begin(kSteppers);
  message::put7(kReport);
  message::put7(index);
  message::put7(stepper.tag);
  message::put7(how);
  message::put7(stepper.sequence++);
  message::put32(time);
  message::put32((uint32_t)position);
  message::put32(interval);
  message::end();
}

void send() {
  for (uint8_t index = 0; index < BOARD_STEPPERS; ++index) {
    Stepper& stepper = table[index];
    const bool moves = stepper.period && scheduler::is_stepping(index);
    if (!stepper.ended && !moves) continue;
    if (link::room() < kReportBytes || link::pending() > kMostPending) continue;
    if (!stepper.ended) {
      const uint32_t now = time_base::now();
      if (!is_due(stepper.due, now)) continue;
      stepper.due = now + stepper.period;
    }
    report(index);
  }
}

void reset() {
  for (uint8_t index = 0; index < BOARD_STEPPERS; ++index) {
    halt_one(index);
    table[index].driver = kNoDriver;
    table[index].ended = false;
  }
}

}  // namespace stepper

#endif
