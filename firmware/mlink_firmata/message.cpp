#include "message.h"

#include "check.h"

namespace message {

uint16_t texts_lost;
bool checked;
static uint8_t present;  // the id of the message that is being sent
static uint16_t value;   // its check value so far

void begin(uint8_t sysex_id) {
  link::write(kStartSysex);
  link::write(sysex_id);
  present = sysex_id;
  value = check::add(check::kBegin, sysex_id);
}

void end() {
  if (checked && is_extension(present)) put14(value);
  link::write(kEndSysex);
}

void put7(uint8_t byte) {
  byte &= 0x7F;
  value = check::add(value, byte);
  link::write(byte);
}

// Byte by byte: on this processor a shift of 32 bits by seven takes longer than a byte on the wire.
void put14(uint16_t value) {
  put7((uint8_t)value);
  put7((uint8_t)((uint16_t)(value << 1) >> 8));
}

void put21(uint32_t value) {
  const uint16_t low = (uint16_t)value;
  put14(low);
  put7((uint8_t)((uint8_t)(low >> 8) >> 6) | (uint8_t)((uint8_t)(value >> 16) << 2));
}

void put32(uint32_t value) {
  const uint16_t high = (uint16_t)(value >> 16);
  put21(value);
  put7((uint8_t)((uint16_t)(high << 3) >> 8));
  put7((uint8_t)((uint8_t)(high >> 8) >> 4));
}

void put_sequence(uint16_t value) {
  if (checked) {
    put14(value);
  } else {
    put7((uint8_t)value);
  }
}

void three(uint8_t command, uint16_t value) {
  link::write(command);
  put14(value);
}

static void put_text(PGM_P text) {
  while (const uint8_t letter = pgm_read_byte(text++)) put14(letter);
}

void text(PGM_P first, PGM_P second) {
  const uint16_t letters = strlen_P(first) + (second ? strlen_P(second) : 0);
  if (link::room() < 2 * letters + 3) {
    ++texts_lost;
    return;
  }
  begin(kStringData);
  put_text(first);
  if (second) put_text(second);
  end();
}

bool Reader::check(uint8_t id) {
  if (left_ < kCheckBytes) return false;
  left_ -= kCheckBytes;
  uint16_t value = check::add(check::kBegin, id);
  for (uint8_t at = 0; at < left_; ++at) value = check::add(value, data_[at]);
  return data_[left_] == (uint8_t)(value & 0x7F) &&
         data_[left_ + 1] == (uint8_t)(uint16_t)(value << 1 >> 8);
}

uint32_t Reader::take32() {
  if (left_ >= 5 && data_[4] > 0x0F) ok_ = false;
  return take(5);
}

uint32_t Reader::take(uint8_t count) {
  uint32_t value = 0;
  for (uint8_t shift = 0; count--; shift += 7) value |= (uint32_t)take7() << shift;
  return value;
}

}  // namespace message
