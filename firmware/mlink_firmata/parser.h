// Assembles bytes from the host into messages. An incomplete message changes nothing.
#pragma once

#include <stdint.h>

namespace parser {

constexpr uint8_t kLongestSysex = 72;  // bytes between the id and END_SYSEX

void take(uint8_t byte);
void reset();

}  // namespace parser
