// A block during which no interrupt comes; keep it to a few µs.
#pragma once

#include <avr/interrupt.h>
#include <avr/io.h>

// What an interrupt has written is read after this, not before: to the compiler the order of other
// variables and of the volatile index that announces them is free.
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
