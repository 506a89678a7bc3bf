#include "servo.h"

#include "pins.h"
#include "time_base.h"

namespace servo {

static constexpr uint8_t kCount = kLastServoPin - kFirstServoPin + 1;
// Seven groups of the longest pulses that clients expect fit into a frame.
static constexpr uint8_t kGroup = (kCount + 6) / 7;
static constexpr uint16_t kShortest = 544, kLongest = 2400;  // µs; what Firmata clients expect
static constexpr uint16_t kFrame = 20000u * 2;               // ticks
static constexpr uint16_t kGap = 100 * 2;                    // ticks, at least, before a frame
// The interrupt comes this many ticks before a pulse ends and waits; others are served meanwhile.
static constexpr uint8_t kLead = 16;
// Ticks from the end of the wait to the change of the pin, less those from its rise to the reading of
// the clock, measured on the simulated chips.
static constexpr uint8_t kAdvance = SERVO_ADVANCE_TICKS;

// Cycles between two rises, beside those of the loop: two ends take longer.
static constexpr uint8_t kSpacing = 48;

struct Servo {
  volatile uint8_t* output;
  uint8_t mask;
  bool on;
  bool written;  // no pulse before that: a servo must not jump when attached
  uint16_t ticks;
  uint16_t shortest, longest;
};

static Servo servos[kCount];

// Used by the interrupt: the group whose pulses run, in the order of their ends.
static const Servo* running[kGroup];
static uint16_t ends[kGroup];
static uint8_t begun, ended;
static uint8_t next;  // of the servos, the one at which the search for the next group begins
static uint16_t frame_start;

static Servo& of(uint8_t pin) { return servos[pin - kFirstServoPin]; }

void configure(uint8_t pin, uint16_t shortest, uint16_t longest) {
  of(pin).shortest = shortest;
  of(pin).longest = longest;
}

void attach(uint8_t pin) {
  Servo& servo = of(pin);
  servo.output = pins::output_register(pins::port_of(pin));
  servo.mask = pins::mask_of(pin);
  servo.written = false;
  Critical critical;
  servo.on = true;
  if (!(BASE_TIMSK & _BV(OCIE1B))) {
    begun = ended = next = 0;
    time_base::let_overflow_pass_locked();
    frame_start = BASE_TCNT + kGap;
    BASE_OCRB = frame_start;
    BASE_TIFR = _BV(OCF1B);
    BASE_TIMSK |= _BV(OCIE1B);
  }
}

void detach(uint8_t pin) {
  if (!pins::has_servo(pin) || !of(pin).on) return;
  Servo& servo = of(pin);
  Critical critical;
  servo.on = false;
  *servo.output &= ~servo.mask;
  for (const Servo& other : servos) {
    if (other.on) return;
  }
  BASE_TIMSK &= ~_BV(OCIE1B);
}

void write(uint8_t pin, uint16_t value) {
  Servo& servo = of(pin);
  uint16_t usec = value;
  if (value < kShortest) {
    if (value > 180) value = 180;
    usec = servo.shortest + (uint32_t)(servo.longest - servo.shortest) * value / 180;
  }
  if (usec < servo.shortest) usec = servo.shortest;
  if (usec > servo.longest) usec = servo.longest;
  Critical critical;
  servo.ticks = usec * 2;
  servo.written = true;
}

void reset() {
  for (uint8_t pin = kFirstServoPin; pin <= kLastServoPin; ++pin) {
    detach(pin);
    configure(pin, kShortest, kLongest);
  }
}

// Begins the pulses of the next group, the shortest first, so that they also end in this order and as
// far from each other. Runs with interrupts on. Returns false when there is none in this frame.
static bool begin_group() {
  uint8_t count = 0;
  for (; next < kCount && count < kGroup; ++next) {
    const Servo* servo = &servos[next];
    if (!servo->on || !servo->written) continue;
    uint8_t at = count++;
    for (; at && running[at - 1]->ticks > servo->ticks; --at) running[at] = running[at - 1];
    running[at] = servo;
  }
  ended = 0;
  begun = count;
  for (uint8_t at = 0; at < count; ++at) {
    volatile uint8_t* const output = running[at]->output;
    const uint8_t mask = running[at]->mask;
    {
      Critical critical;
      *output |= mask;
      ends[at] = BASE_TCNT + running[at]->ticks - kAdvance;
    }
    __builtin_avr_delay_cycles(kSpacing);
  }
  return count;
}

// Ends pulses, and begins the next group or waits for the next frame.
static inline __attribute__((always_inline)) void compare_interrupt() {
  for (;;) {
    while (ended < begun) {
      const uint16_t end = ends[ended];
      time_base::let_overflow_pass_locked();
      if ((int16_t)(end - BASE_TCNT) > 2 * kLead) {
        BASE_OCRB = end - kLead;
        return;
      }
      const Servo& servo = *running[ended++];
      volatile uint8_t* const output = servo.output;
      const uint8_t mask = servo.on ? ~servo.mask : 0xFF;
      while ((int16_t)(BASE_TCNT - end) < 0) {
        sei();
        __asm__ volatile("nop");
        cli();
      }
      *output &= mask;
    }
    sei();
    const bool more = begin_group();
    cli();
    if (more) continue;
    next = begun = 0;
    time_base::let_overflow_pass_locked();
    const uint16_t now = BASE_TCNT;
    frame_start = (uint16_t)(now - frame_start) < kFrame - kGap ? frame_start + kFrame : now + kGap;
    BASE_OCRB = frame_start;
    return;
  }
}

}  // namespace servo

ISR(BASE_COMPB_vect) { servo::compare_interrupt(); }
