// Our own sysex messages, 0x01 to 0x09 (../PROTOCOL.md).
#pragma once

#include "message.h"

namespace extension {

// What is wrong with the message, or nullptr. `known` tells whether the id is one of ours.
PGM_P handle(uint8_t id, message::Reader& reader, bool& known);

extern uint16_t malformed;

}  // namespace extension
