// Messages to the host, and numbers in 7-bit bytes, least significant first.
#pragma once

#include <avr/pgmspace.h>
#include <stdint.h>

#include "link.h"
#include "protocol.h"

namespace message {

// Whether messages of the extension have a check value (version 2), which `end` adds and `Reader::check`
// tests. The host chooses with its query of the features.
extern bool checked;
constexpr uint8_t kCheckBytes = 2;

void begin(uint8_t sysex_id);
void end();
void put7(uint8_t value);
void put14(uint16_t value);
void put21(uint32_t value);
void put32(uint32_t value);  // five bytes
void put_sequence(uint16_t value);  // one byte, two where messages have a check value

void three(uint8_t command, uint16_t value);  // a command with 14 bits

// Sends a text from flash for the host's user, with the second one appended. Never waits: a text
// that does not fit is counted in `texts_lost`.
void text(PGM_P first, PGM_P second = nullptr);
extern uint16_t texts_lost;

// Reads the numbers of a message that was received.
class Reader {
 public:
  Reader(const uint8_t* data, uint8_t size) : data_(data), left_(size) {}
  uint8_t left() const { return left_; }
  uint8_t take7() { return left_ ? (--left_, *data_++) : (ok_ = false, 0); }
  uint16_t take14() { return (uint16_t)take(2); }
  uint32_t take21() { return take(3); }
  uint32_t take32();  // not ok when the number has more than 32 bits
  uint32_t take(uint8_t count);  // a number of `count` bytes
  bool ok() const { return ok_; }
  bool check(uint8_t id);  // whether the check value is right; the reader then ends before it
  bool done() const { return ok_ && left_ == 0; }

 private:
  const uint8_t* data_;
  uint8_t left_;
  bool ok_ = true;
};

}  // namespace message
