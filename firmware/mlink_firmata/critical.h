// A scope with interrupts disabled; keep it to a few µs.
#pragma once

#include <avr/interrupt.h>
#include <avr/io.h>

// A compiler barrier: data that an interrupt wrote is read after the volatile index that announces
// it. Without it the compiler may reorder the reads.
inline void read_after() { __asm__ volatile("" ::: "memory"); }

class Critical {
 public:
  inline Critical() : before_(SREG) { cli(); }
  inline ~Critical() {
    __asm__ volatile("" ::: "memory");
    SREG = before_;
  }
  Critical(const Critical&) = delete;
  Critical& operator=(const Critical&) = delete;

 private:
  uint8_t before_;
};
