// mlink_firmata: a Firmata firmware with a clock. The main loop handles messages. What needs
// exact times happens in interrupts, which queue events for the host.
#include <avr/sleep.h>

#include "analog.h"
#include "baud.h"
#include "counters.h"
#include "edges.h"
#include "events.h"
#include "firmata.h"
#include "i2c.h"
#include "parser.h"
#include "pins.h"
#include "pwm.h"
#include "reflexes.h"
#include "safe_state.h"
#include "stepper.h"
#include "time_base.h"

static constexpr uint8_t kMostBytes = 32;  // per turn of the loop, so that reports are sent, too

static void take_bytes() {
  uint8_t byte;
  for (uint8_t count = kMostBytes; count && link::read(byte); --count) parser::take(byte);
}

#if BOARD_CAN_SLEEP
// Wakes the loop every ms; everything else that it waits for wakes it by its own interrupt.
EMPTY_INTERRUPT(TIMER0_OVF_vect)
#endif

static void start() {
  time_base::begin();
  pwm::begin();
  analog::begin();
  link::begin();
#if BOARD_CAN_SLEEP
  TIMSK0 = _BV(TOIE0);
  set_sleep_mode(SLEEP_MODE_IDLE);
#endif
  sei();
  firmata::reset();
  // Report the firmware to a host that listens already.
  firmata::report_version();
  firmata::report_firmware();
}

int main() {
  start();
  for (;;) {
    take_bytes();
    edges::take_changed();  // first, so that later changes are handled in the next turn
    pins::report_changes();
    events::send();
    if (analog::interval_passed()) i2c::read_continuous();
    analog::run();
    analog::send_blocks();
    counters::send();
    stepper::send();
    safe_state::run();
    reflexes::run();
    baud::run();
#if BOARD_CAN_SLEEP
    // An interrupt between the test and the sleep would leave its work until the next wake-up.
    cli();
    if (link::is_quiet() && !events::any() && !edges::has_changed() && !analog::busy()) {
      sleep_enable();
      sei();
      sleep_cpu();
      sleep_disable();
    }
    sei();
#endif
  }
}
