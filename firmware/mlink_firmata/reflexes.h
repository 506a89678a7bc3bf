// Reflexes: an edge on one pin sets or pulses another, within the edge's interrupt (sysex 0x06).
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace reflexes {

constexpr uint8_t kCount = 4;
constexpr uint8_t kAll = 0x7F;
constexpr uint8_t kNoCondition = 0x7F;

enum Sub : uint8_t { kSet = 0x00, kRemove = 0x01, kFired = 0x02, kState = 0x03 };
enum Action : uint8_t { kLow, kHigh, kToggle, kPulseHigh, kPulseLow, kActions };

extern volatile uint8_t on_port[kPortCount];  // pins that trigger a reflex

void reset();
PGM_P handle(message::Reader& reader);
void run_locked(uint8_t port, uint8_t levels, uint8_t changed, uint32_t time);
void run();  // in the main loop: ends refractory times before the clock has wrapped
void report(uint8_t reflex, uint32_t time, uint16_t delay);

}  // namespace reflexes
