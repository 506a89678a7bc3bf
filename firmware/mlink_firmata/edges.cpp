#include "edges.h"

#include "counters.h"
#include "events.h"
#include "pins.h"
#include "reflexes.h"
#include "time_base.h"

namespace edges {

volatile uint16_t glitches;
volatile bool changed_since;

enum User : uint8_t { kEvents_ = 1, kReports = 2, kReflex = 4, kCounter = 8 };
static constexpr uint8_t kRising = 1, kFalling = 2;

static volatile uint8_t seen[kPortCount];     // levels at the last interrupt
static volatile uint8_t enabled[kPortCount];  // pins whose interrupt is on
static volatile uint8_t rising[kPortCount], falling[kPortCount];
static uint8_t users[kPinCount];

// Ticks from an edge to the reading of the clock in the handler: three cycles in the pin's
// synchroniser, the entry of the interrupt, and the saving of registers.
static constexpr uint8_t kLatencyTicks = EDGE_LATENCY_TICKS;

// The changed pins of a port, which had `levels` at `time`; false when there is none.
static inline __attribute__((always_inline)) bool take_port(uint8_t port, uint8_t levels,
                                                            uint32_t time) {
  const uint8_t changed = (levels ^ seen[port]) & enabled[port];
  seen[port] = levels;
  if (!changed) return false;
  if (reflexes::on_port[port] & changed) reflexes::run_locked(port, levels, changed, time);
  if (counters::on_port[port] & changed) counters::count_locked(port, levels, changed, time);
  const uint8_t wanted = changed & ((levels & rising[port]) | (~levels & falling[port]));
  if (wanted) events::push_locked(time, events::kPortChanged | port, levels, wanted);
  return true;
}

// Clears interrupts by their flags. The zero has no effect on a chip; yasimavr 0.1.6 clears the interrupts,
// but their flags then read as they were written.
static inline __attribute__((always_inline)) void clear(volatile uint8_t& flags, uint8_t which) {
  flags = which;
  flags = 0;
}

static void enable(uint8_t pin, bool on) {
  const uint8_t source = pins::edges_of(pin), bit = _BV(source & 0x0F);
  const uint8_t port = pins::port_of(pin), mask = pins::mask_of(pin);
  Critical critical;
  volatile uint8_t* request = nullptr;
  switch (source & 0xF0) {
    case kPinChange0:
      request = &PCMSK0;
      break;
#ifdef PCMSK1
    case kPinChange1:
      request = &PCMSK1;
      break;
    case kPinChange2:
      request = &PCMSK2;
      break;
#endif
    case kExternal: {
      // Bits 01 of the interrupt's pair: sense any change.
      const uint8_t number = source & 0x0F;
#ifdef EICRB
      volatile uint8_t* sense = number < 4 ? &EICRA : &EICRB;
#else
      volatile uint8_t* sense = &EICRA;
#endif
      const uint8_t shift = 2 * (number & 3);
      *sense = (*sense & ~(3 << shift)) | 1 << shift;
      request = &EIMSK;
      break;
    }
    default:
      return;
  }
  if (on && !(enabled[port] & mask)) {
    // Edges count from now on; earlier ones are discarded.
    seen[port] = (seen[port] & ~mask) | (*pins::input_register(port) & mask);
    if (request == &EIMSK) clear(EIFR, bit);
    enabled[port] |= mask;
    *request |= bit;
  } else if (!on) {
    enabled[port] &= ~mask;
    *request &= ~bit;
  }
}

static void use(uint8_t pin, uint8_t user, bool on) {
  if (!has(pin)) return;
  users[pin] = on ? users[pin] | user : users[pin] & ~user;
  enable(pin, users[pin] != 0);
}

void watch_for_reports(uint8_t pin, bool on) {
  if (BOARD_CAN_SLEEP) use(pin, kReports, on);
}
void watch_for_reflex(uint8_t pin, bool on) { use(pin, kReflex, on); }
void watch_for_counter(uint8_t pin, bool on) { use(pin, kCounter, on); }

static void watch(uint8_t pin, uint8_t which) {
  const uint8_t port = pins::port_of(pin), mask = pins::mask_of(pin);
  Critical critical;
  rising[port] = which & kRising ? rising[port] | mask : rising[port] & ~mask;
  falling[port] = which & kFalling ? falling[port] | mask : falling[port] & ~mask;
  use(pin, kEvents_, which != 0);
}

static void report(uint8_t pin, uint8_t which) {
  uint32_t time;
  bool level;
  {
    Critical critical;
    time = time_base::now_locked();
    level = pins::read(pin);
  }
  message::begin(kEdges);
  message::put7(kWatching);
  message::put7(pin);
  message::put7(which);
  message::put7(level);
  message::put32(time);
  message::end();
}

PGM_P handle(message::Reader& reader) {
  if (reader.take7() != kWatch || reader.left() == 0 || reader.left() % 2) {
    return PSTR("edges: wrong length or kind");
  }
  for (message::Reader check = reader; check.left();) {
    if (!has(check.take7())) return PSTR("edges: pin without them");
    if (check.take7() > (kRising | kFalling)) return PSTR("edges: unknown flags");
  }
  while (reader.left()) {
    const uint8_t pin = reader.take7(), which = reader.take7();
    watch(pin, which);
    report(pin, which);
  }
  return nullptr;
}

void reset() {
  for (uint8_t pin = 0; pin < kPinCount; ++pin) {
    if (has(pin)) watch(pin, 0);
  }
#ifdef PCMSK1
  PCICR = _BV(PCIE0) | _BV(PCIE1) | _BV(PCIE2);
#else
  PCICR = _BV(PCIE0);
#endif
}

}  // namespace edges

// One handler for all pins: lines that switch together, on whatever ports, carry the time of the
// first. The other vectors mark their port in GPIOR0, as `flags` of BOARD_EDGE_PORTS does, and jump here.
ISR(BOARD_EDGE_VECTOR) {
  using namespace edges;
  const uint32_t time = time_base::now_locked() - kLatencyTicks;
  // Interrupts that wait are served here. A pin that changes after its port was read causes another.
  const uint8_t external = EIFR & EIMSK, pin_change = PCIFR;
  clear(EIFR, external);
  clear(PCIFR, pin_change);
#define LATCH(port, number, flags) const uint8_t levels_##port = *pins::input_register(port);
  BOARD_EDGE_PORTS(LATCH)
  uint8_t own = GPIOR0;
  GPIOR0 = 0;
  if (!own) own = BOARD_EDGE_VECTOR_PORT;
  changed_since = true;
#define TAKE(port, number, flags) \
  if (!take_port(port, levels_##port, time) && ((own & _BV(number)) || (flags))) glitches = glitches + 1;
  BOARD_EDGE_PORTS(TAKE)
}

#define EDGE_TEXT_(vector) #vector
#define EDGE_TEXT(vector) EDGE_TEXT_(vector)
#define EDGE_HANDLER(vector, number)                                      \
  ISR(vector, ISR_NAKED) {                                                \
    __asm__ volatile("sbi %0, %1\n\tjmp " EDGE_TEXT(BOARD_EDGE_VECTOR) ::\
                         "I"(_SFR_IO_ADDR(GPIOR0)), "I"(number));         \
  }
BOARD_OTHER_EDGE_VECTORS(EDGE_HANDLER)
