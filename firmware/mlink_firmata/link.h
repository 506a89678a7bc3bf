// The serial line to the host: bytes in, bytes out, both through bounded buffers.
#pragma once

#include <stdint.h>

#include "board.h"

namespace link {

constexpr uint32_t kDefaultBaud = 57600;  // StandardFirmata's

void begin();

// Fetches the next received byte; false when there is none.
bool read(uint8_t& byte);

// Free bytes in the send buffer, and bytes in it.
uint8_t room();
uint8_t pending();
bool is_idle();   // everything has left the chip
bool is_quiet();  // nothing was received and nothing is to be sent

// Writes a byte. Waits for room up to a timeout: a host that does not read loses bytes.
void write(uint8_t byte);

// The time at which the last END_SYSEX byte was received; false when it may not be the one that was
// read last.
bool end_of_sysex(uint32_t& time);

// Ticks of a byte on the wire; 0 over USB.
uint16_t byte_ticks();

bool can_baud(uint32_t baud);
void set_baud(uint32_t baud);
uint32_t baud();

// Frames in a row without a stop bit: the other end uses another rate.
uint8_t framing_errors_in_a_row();

struct Counters {
  uint16_t receive_lost;
  uint16_t framing_errors;
  uint16_t send_lost;
};
extern volatile Counters counters;

}  // namespace link
