// Changes the rate of the serial line; falls back when the host does not confirm (sysex 0x08).
#pragma once

#include <stdint.h>

#include "message.h"

namespace baud {

enum Sub : uint8_t { kChange = 0x00, kConfirm = 0x01, kFellBack = 0x02 };

PGM_P handle(message::Reader& reader);
void reset();  // back to the default rate
void heard();
void run();

}  // namespace baud
