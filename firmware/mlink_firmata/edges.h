// Edges of input pins, stamped by interrupts (sysex 0x02).
#pragma once

#include <stdint.h>

#include "board.h"
#include "message.h"

namespace edges {

enum Sub : uint8_t { kWatch = 0x00, kWatching = 0x01, kEvents = 0x02, kLost = 0x03 };

extern volatile uint16_t glitches;  // interrupts in which no pin had changed

void reset();
PGM_P handle(message::Reader& reader);  // an error text, or nullptr

inline bool has(uint8_t pin) { return pin < kPinCount && pgm_read_byte(&kPins[pin].edges); }

// Other users of a pin's interrupt: digital reports, reflexes and counters.
void watch_for_reports(uint8_t pin, bool on);
void watch_for_reflex(uint8_t pin, bool on);
void watch_for_counter(uint8_t pin, bool on);

// Whether a pin with an interrupt has changed since take_changed().
extern volatile bool changed_since;
inline bool has_changed() { return changed_since; }
inline void take_changed() { changed_since = false; }

}  // namespace edges
