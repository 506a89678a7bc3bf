// The serial line over the 32U4's USB, by the Arduino core's CDC class.
#include "link.h"

#if BOARD_USB
#include <Arduino.h>

#include "protocol.h"
#include "time_base.h"

namespace link {

volatile Counters counters;

static constexpr uint32_t kPatience = 20 * kTicksPerMs;

void begin() { USBDevice.attach(); }

bool read(uint8_t& byte) {
  const int got = Serial.read();
  if (got < 0) return false;
  byte = (uint8_t)got;
  return true;
}

uint8_t room() {
  const int free = Serial.availableForWrite();
  return free > 0xFF ? 0xFF : (uint8_t)free;
}
uint8_t pending() { return 0; }
bool is_quiet() { return false; }
bool is_idle() { return true; }

void write(uint8_t byte) {
  // The core would wait 250 ms for a host that is not there.
  static bool host_reads = true;
  if (room() == 0 && host_reads) {
    const uint32_t since = time_base::now();
    while (room() == 0 && time_base::now() - since < kPatience) {
    }
  }
  host_reads = room() != 0;
  if (host_reads) {
    Serial.write(byte);
  } else {
    ++counters.send_lost;
  }
}

bool end_of_sysex(uint32_t& time) {
  time = time_base::now();
  return false;  // the arrival of a packet is not the time at which its bytes were sent
}

uint16_t byte_ticks() { return 0; }
bool can_baud(uint32_t) { return true; }  // USB has its own rate; accept any
static uint32_t asked = kDefaultBaud;
void set_baud(uint32_t baud) { asked = baud; }
uint32_t baud() { return asked; }
uint8_t framing_errors_in_a_row() { return 0; }

}  // namespace link
#endif
