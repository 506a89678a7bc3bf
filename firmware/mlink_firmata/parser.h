// Bytes from the host, put together to messages. A message that breaks off changes nothing.
#pragma once

#include <stdint.h>

namespace parser {

constexpr uint8_t kLongestSysex = 72;  // bytes between the id and END_SYSEX

void take(uint8_t byte);
void reset();

}  // namespace parser
