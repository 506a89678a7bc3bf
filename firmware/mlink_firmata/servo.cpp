#include "servo.h"

#include "pins.h"
#include "time_base.h"

namespace servo {

static constexpr uint16_t kShortest = 544, kLongest = 2400;  // µs; what Firmata clients expect
static constexpr uint16_t kFrame = 20000;                    // µs
static constexpr uint16_t kGap = 100;                        // µs

struct Servo {
  uint8_t pin;
  volatile bool on;
  volatile bool written;  // no pulse before that: a servo must not jump when attached
  volatile uint8_t* output;
  uint8_t mask;
  volatile uint16_t ticks;
  uint16_t shortest, longest;
};

static Servo servos[kMost];
static uint8_t known;  // entries in use, attached or only configured

// Used by the interrupt: the servo whose pulse runs (kMost: the gap until the frame ends), and since
// when.
static uint8_t current = kMost;
static uint16_t frame_left;

static Servo* find(uint8_t pin) {
  for (uint8_t index = 0; index < known; ++index) {
    if (servos[index].pin == pin) return &servos[index];
  }
  return nullptr;
}

static Servo* find_or_make(uint8_t pin) {
  if (Servo* servo = find(pin)) return servo;
  Servo* made = nullptr;
  for (uint8_t index = 0; index < known && !made; ++index) {
    if (!servos[index].on) made = &servos[index];
  }
  if (!made && known < kMost) made = &servos[known++];
  if (!made) return nullptr;
  made->pin = pin;
  made->shortest = kShortest;
  made->longest = kLongest;
  return made;
}

bool configure(uint8_t pin, uint16_t shortest, uint16_t longest) {
  Servo* servo = find_or_make(pin);
  if (!servo) return false;
  servo->shortest = shortest;
  servo->longest = longest;
  return true;
}

bool attach(uint8_t pin) {
  Servo* servo = find_or_make(pin);
  if (!servo) return false;
  servo->output = pins::output_register(pins::port_of(pin));
  servo->mask = pins::mask_of(pin);
  servo->written = false;
  Critical critical;
  servo->on = true;
  if (!(BASE_TIMSK & _BV(OCIE1B))) {
    current = kMost;
    frame_left = 0;
    time_base::let_overflow_pass_locked();
    BASE_OCRB = BASE_TCNT + 2 * kGap;
    BASE_TIFR = _BV(OCF1B);
    BASE_TIMSK |= _BV(OCIE1B);
  }
  return true;
}

void detach(uint8_t pin) {
  Servo* servo = find(pin);
  if (!servo || !servo->on) return;
  Critical critical;
  servo->on = false;
  servo->written = false;
  *servo->output &= ~servo->mask;
  bool any = false;
  for (uint8_t index = 0; index < known; ++index) any |= servos[index].on;
  if (!any) BASE_TIMSK &= ~_BV(OCIE1B);
}

void write(uint8_t pin, uint16_t value) {
  Servo* servo = find(pin);
  if (!servo || !servo->on) return;
  uint16_t usec = value;
  if (value < kShortest) {
    if (value > 180) value = 180;
    usec = servo->shortest + (uint32_t)(servo->longest - servo->shortest) * value / 180;
  }
  if (usec < servo->shortest) usec = servo->shortest;
  if (usec > servo->longest) usec = servo->longest;
  Critical critical;
  servo->ticks = usec * 2;
  servo->written = true;
}

void reset() {
  for (uint8_t index = 0; index < known; ++index) {
    if (servos[index].on) detach(servos[index].pin);
  }
  known = 0;
}

// Ends the pulse of one servo and begins that of the next, or the gap.
static inline __attribute__((always_inline)) void compare_interrupt() {
  if (current < kMost) {
    const Servo& servo = servos[current];
    if (servo.on) *servo.output &= ~servo.mask;
  } else {
    frame_left = kFrame * 2;
  }
  uint8_t next = current < kMost ? current + 1 : 0;
  while (next < known && !(servos[next].on && servos[next].written)) ++next;
  uint16_t ticks;
  if (next < known) {
    ticks = servos[next].ticks;
    *servos[next].output |= servos[next].mask;
    current = next;
    frame_left = frame_left > ticks ? frame_left - ticks : 0;
  } else {
    ticks = frame_left > 2 * kGap ? frame_left : 2 * kGap;
    current = kMost;
  }
  time_base::let_overflow_pass_locked();
  BASE_OCRB = BASE_OCRB + ticks;
}

}  // namespace servo

ISR(BASE_COMPB_vect) { servo::compare_interrupt(); }
