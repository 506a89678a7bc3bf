// The queue from the interrupts to the host, in the order of events. There is one for all kinds, so
// that an edge and the pulse that it caused stay in order.
#pragma once

#include <stdint.h>

#include "board.h"
#include "critical.h"

namespace events {

enum Kind : uint8_t {
  kPortChanged = 0x00,  // | port; a: pins, b: those that changed
  kReflexFired = 0x20,  // | reflex; a, b: ticks until the pin was set
  kPulseEnded = 0x40,   // | slot; a: how it ended
};

struct Event {
  uint32_t time;
  uint8_t kind;
  uint8_t a;
  uint8_t b;
};

extern Event queue[kEventQueue];
extern volatile uint8_t head, tail;
extern volatile uint16_t lost;

// Call it with interrupts off. An event that finds the queue full is lost and counted.
inline bool push_locked(uint32_t time, uint8_t kind, uint8_t a, uint8_t b) {
  const uint8_t at = head;
  const uint8_t next = (uint8_t)(at + 1) & (kEventQueue - 1);
  if (next == tail) {
    lost = lost + 1;
    return false;
  }
  Event& event = queue[at];
  event.time = time;
  event.kind = kind;
  event.a = a;
  event.b = b;
  head = next;
  return true;
}

void reset();
inline bool any() {
  const bool some = head != tail;
  read_after();
  return some;
}
void send();  // as many as fit into the line's buffer
uint16_t blocks_sent();  // blocks of edges so far: the sequence number of the next one

}  // namespace events
