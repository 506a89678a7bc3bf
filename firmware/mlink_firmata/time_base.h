// The chip's clock: a 16-bit timer at 2 MHz that is never set, extended to 32 bits.
// A tick is 0.5 µs; the count wraps after 35.8 minutes, and hosts unwrap it.
#pragma once

#include <stdint.h>

#include "board.h"
#include "critical.h"

constexpr uint32_t kTickHz = F_CPU / 8;
constexpr uint32_t kTicksPerMs = kTickHz / 1000;

namespace time_base {

extern volatile uint16_t high_half;

void begin();

// Call it with interrupts off. The flag shows an overflow that was not counted yet.
inline uint32_t now_locked() {
  const uint16_t low = BASE_TCNT;
  uint16_t high = high_half;
  if ((BASE_TIFR & _BV(TOV1)) && low < 0x8000) ++high;
  return (uint32_t)high << 16 | low;
}

inline uint32_t now() {
  Critical critical;
  return now_locked();
}

// Call it with interrupts off, before writing a compare value: waits until an overflow that is due has
// passed. yasimavr 0.1.6 loses an overflow that coincides with the write, and with it 33 ms of the
// clock. A real chip does not; there it costs at most 3 µs once in 33 ms.
inline void let_overflow_pass_locked() {
  while ((uint16_t)(BASE_TCNT + 4) < 6) {
  }
}

// The same, called with interrupts on and serving them meanwhile; returns with interrupts off.
inline void let_overflow_pass() {
  for (;;) {
    cli();
    if ((uint16_t)(BASE_TCNT + 4) >= 6) return;
    sei();
    __asm__ volatile("nop");
  }
}

}  // namespace time_base

// Whether `time` has been reached; correct while the two are less than 17.9 minutes apart.
inline bool is_due(uint32_t time, uint32_t now) { return (int32_t)(now - time) >= 0; }
