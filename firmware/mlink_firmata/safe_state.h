// Safe state: levels of outputs after the host has been silent for too long (sysex 0x07).
#pragma once

#include <stdint.h>

#include "message.h"

namespace safe_state {

enum Sub : uint8_t { kSet = 0x00, kIsSet = 0x01, kTripped = 0x02 };

void reset();
PGM_P handle(message::Reader& reader);
void heard();  // a well-formed message has arrived
void run();    // from the loop

extern uint16_t trips;

}  // namespace safe_state
