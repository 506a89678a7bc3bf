// Stepper motors: ramps of constant acceleration, a step per interrupt of the scheduler (sysex 0x0B).
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace stepper {

enum Sub : uint8_t { kSet = 0x00, kIsSet = 0x01, kMove = 0x02, kStop = 0x03, kReport = 0x04 };

#if BOARD_STEPPERS

void reset();
PGM_P handle(message::Reader& reader);
void halt(uint8_t pin);                       // removes the stepper with this output; kNone: all
// Makes a step; returns the ticks from `due` to the next, or 0. Not inlined: it would slow the edges down.
uint32_t tick(uint8_t index, uint32_t due) __attribute__((noinline));
void send();                                  // the reports that are due

#else

inline void reset() {}
inline void halt(uint8_t) {}
inline void send() {}

#endif

}  // namespace stepper
