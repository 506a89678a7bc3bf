// Analog inputs: single samples at Firmata's sampling interval, and blocks of samples at exact
// times (sysex 0x05). While blocks are sampled no single samples are taken.
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace analog {

enum Sub : uint8_t { kStart = 0x00, kStop = 0x01, kBlock = 0x02, kMissed = 0x03 };

void begin();
void reset();
void report(uint8_t channel, bool on);
void set_interval(uint16_t ms);
uint16_t interval();
bool interval_passed();  // true once per interval, for continuous I2C reads as well
void run();              // from the main loop: begins, fetches and sends single samples

PGM_P handle(message::Reader& reader);
uint32_t tick(uint32_t time);  // the tick due at `time`; returns the ticks until the next
void send_blocks();
bool busy();

extern volatile uint16_t missed;

}  // namespace analog
