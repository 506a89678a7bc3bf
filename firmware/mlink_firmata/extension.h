// The extension's sysex messages, 0x01 to 0x0B (../PROTOCOL.md).
#pragma once

#include "message.h"

namespace extension {

// Returns an error text or nullptr. `known` is set when the id is one of the extension.
PGM_P handle(uint8_t id, message::Reader& reader, bool& known);

extern uint16_t malformed;

}  // namespace extension
