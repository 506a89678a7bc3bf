// Pin changes at given times: pulses, pulse trains, soft PWM, and the ticks of analog blocks and steppers.
// One compare interrupt serves all slots. It runs with interrupts enabled, so that edges are stamped
// in time while it searches; only the change of a pin itself cannot be interrupted.
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace scheduler {

constexpr uint8_t kPulseSlots = 6;   // for the host, shared with soft PWM
constexpr uint8_t kReflexSlots = 4;  // one per reflex
constexpr uint8_t kSampleSlot = kPulseSlots + kReflexSlots;
constexpr uint8_t kStepSlot = kSampleSlot + 1;  // the first of them
constexpr uint8_t kSlots = kStepSlot + BOARD_STEPPERS;

constexpr uint8_t kShortestPhase = 20;     // ticks: 10 µs
constexpr uint8_t kShortestPeriod = 240;   // ticks: 120 µs
constexpr uint16_t kShortestStep = 400;    // 200 µs: on a ramp each step takes 100 µs
constexpr uint8_t kShortestTimed = 140;    // shorter single pulses are made in place
constexpr uint8_t kShortestReflex = 40;

enum Sub : uint8_t { kTrain = 0x00, kStop = 0x01, kEnded = 0x02, kPulse = 0x03 };
enum Flag : uint8_t { kActiveLow = 1, kAtTime = 2, kReport = 4 };
enum End : uint8_t { kComplete = 0, kStopped = 1 };

struct Slot {
  volatile uint8_t armed;
  uint8_t flags;
  uint8_t mask;
  volatile uint8_t* output;
  volatile uint32_t next;  // when the next edge is due
  struct Pulse* pulse;     // of slots for the host
};

// What these slots have besides; the others need none, and RAM is short.
struct Pulse {
  uint8_t pin;
  volatile uint8_t reported;  // no report of its end waits to be sent
  volatile uint8_t active;    // its pin is at the active level
  uint32_t active_ticks;
  uint32_t rest_ticks;
  __uint24 remaining;        // pulses; 0: unlimited
  uint32_t first;            // when the first edge was made
  __uint24 done;             // pulses completed
};

extern volatile uint16_t late;  // edges made more than 8 µs after they were due

void reset();
PGM_P handle(message::Reader& reader);
void report_end(uint8_t slot, uint32_t time, uint8_t how);

// Stops pulses and PWM on a pin, and sets it to its resting level.
void stop_pin(uint8_t pin);

// Soft PWM: false when no slot is free.
bool run_pwm(uint8_t pin, uint16_t active_ticks, uint16_t rest_ticks);

// Call it with interrupts off: ends the pulse of a reflex, which has begun, at `time`.
void end_reflex_locked(uint8_t reflex, volatile uint8_t* output, uint8_t mask, bool active_low,
                       uint32_t time);
void drop_reflex(uint8_t reflex);

// Ticks for analog blocks, `spacing` apart on average; each begins a conversion. There is room for
// them when the trains leave enough time of the interrupt.
bool has_room_for_samples(uint32_t spacing);
void start_samples(uint32_t first, uint32_t spacing);
void stop_samples();

// The same for steps. `least` is the interval between two at the highest speed, in ticks.
bool has_room_for_steps(uint8_t index, uint32_t least);
void start_steps(uint8_t index, uint32_t first, uint32_t least);
bool is_stepping(uint8_t index);
// Call them with interrupts off; false when it stands.
bool change_steps_locked(uint8_t index, uint32_t least);
bool stop_steps_locked(uint8_t index);

}  // namespace scheduler
