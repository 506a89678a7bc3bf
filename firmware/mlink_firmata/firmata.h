// The messages of standard Firmata, and the reset.
#pragma once

#include "message.h"

namespace firmata {

void reset();
void report_version();
void report_firmware();

void one(uint8_t command, uint8_t low_nibble, uint8_t data);
void two(uint8_t command, uint8_t low_nibble, uint8_t first, uint8_t second);
PGM_P sysex(uint8_t id, const uint8_t* data, uint8_t size);  // an error text, or nullptr

}  // namespace firmata
