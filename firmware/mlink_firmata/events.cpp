#include "events.h"

#include "critical.h"
#include "edges.h"
#include "message.h"
#include "pins.h"
#include "reflexes.h"
#include "scheduler.h"

namespace events {

Event queue[kEventQueue];
volatile uint8_t head, tail;
volatile uint16_t lost;

static uint16_t lost_reported;
static uint16_t sequence;

// Sizes of a block of edges: id, kind, sequence number, time, check value and end; then each edge.
static constexpr uint8_t kBlockBytes = 13;
static constexpr uint8_t kEdgeBytes = 3;
static constexpr uint8_t kMostEdges = 16;
static constexpr uint16_t kLongestStep = 0x1FFF;  // 13 bits of ticks: 4.1 ms
static constexpr uint8_t kLongestMessage = 23;    // other than a block

// A block begins only when the line is nearly idle, so that later edges share a block.
static constexpr uint8_t kNearlyIdle = 8;

void reset() {
  Critical critical;
  tail = head;
  lost_reported = lost;
}

uint16_t blocks_sent() { return sequence; }

static void drop() {
  Critical critical;
  tail = (uint8_t)(tail + 1) & (kEventQueue - 1);
}

static void report_lost() {
  uint16_t count;
  {
    Critical critical;
    count = lost;
  }
  if (count == lost_reported) return;
  lost_reported = count;
  message::begin(kEdges);
  message::put7(edges::kLost);
  message::put21(count);
  message::end();
}

// Sends edges that follow each other closely as one block. The pins of an event are sent one by
// one, lowest first; an event is never split between two blocks.
static void send_edges() {
  uint32_t last = queue[tail].time;
  message::begin(kEdges);
  message::put7(edges::kEvents);
  message::put_sequence(sequence++);
  message::put32(last);
  uint8_t count = 0;
  while (any() && count < kMostEdges && link::room() > 8 * kEdgeBytes + 1 + message::kCheckBytes) {
    const Event& event = queue[tail];
    const uint32_t step = event.time - last;
    if (event.kind >= kReflexFired || step > kLongestStep) break;
    uint16_t ticks = (uint16_t)step;
    uint8_t left = event.b;
    const uint8_t port = event.kind;
    const PinRow* row = kPins;
    for (uint8_t pin = 0; left && pin < kPinCount; ++pin, ++row) {
      const uint8_t mask = pgm_read_byte(&row->mask);
      if (!(mask & left) || pgm_read_byte(&row->port) != port) continue;
      left &= ~mask;
      const bool high = event.a & mask;
      message::put7(pin);
      message::put7((uint8_t)ticks);
      message::put7((uint8_t)(ticks >> 7) | (high ? 0x40 : 0));
      ticks = 0;
      ++count;
    }
    last = event.time;
    drop();
  }
  message::end();
}

void send() {
  while (any()) {
    if (link::pending() > kNearlyIdle || link::room() < kBlockBytes + 8 * kEdgeBytes) return;
    const Event event = queue[tail];
    if (event.kind < kReflexFired) {
      send_edges();
      continue;
    }
    drop();
    if (event.kind < kPulseEnded) {
      reflexes::report(event.kind & 0x1F, event.time, event.a | (uint16_t)event.b << 8);
    } else {
      scheduler::report_end(event.kind & 0x1F, event.time, event.a);
    }
  }
  if (link::room() >= kLongestMessage) report_lost();
}

}  // namespace events
