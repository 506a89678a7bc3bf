// Counters: a quadrature encoder, or the edges of a pin, counted in the edges' interrupts and reported
// at intervals (sysex 0x0A).
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace counters {

constexpr uint8_t kCount = 2;

enum Sub : uint8_t { kSet = 0x00, kIsSet = 0x01, kReport = 0x02 };

extern volatile uint8_t on_port[kPortCount];  // pins that are counted

void reset();
PGM_P handle(message::Reader& reader);
void count_locked(uint8_t port, uint8_t levels, uint8_t changed, uint32_t time);
void send();  // the reports that are due

}  // namespace counters
