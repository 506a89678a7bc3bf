#include "parser.h"

#include "extension.h"
#include "firmata.h"
#include "message.h"

namespace parser {

enum State : uint8_t { kIdle, kWantsOne, kWantsTwo, kWantsLast, kSysexId, kSysexBody, kSysexTooLong };

static State state;
static uint8_t command;
static uint8_t first;
static uint8_t body[kLongestSysex];
static uint8_t size;

static void complain(PGM_P what) {
  ++extension::malformed;
  message::text(PSTR("mlink: "), what);
}

static void begin(uint8_t byte) {
  const bool in_sysex = state >= kSysexId;
  // One flipped bit makes a reset of an end of sysex, or of 7F. So where messages have a check value,
  // a reset within a message only ends it, and the host sends two.
  const bool resets = byte == kSystemReset && !(message::checked && state != kIdle);
  command = byte < kStartSysex ? byte & 0xF0 : byte;
  first = byte & 0x0F;
  switch (command) {
    case kDigitalMessage:
    case kAnalogMessage:
    case kSetPinMode:
    case kSetDigitalPin:
      state = kWantsTwo;
      break;
    case kReportAnalog:
    case kReportDigital:
      state = kWantsOne;
      break;
    case kStartSysex:
      state = kSysexId;
      break;
    default:
      state = kIdle;
  }
  // Reported last, so that the parser's state is already updated.
  if (in_sysex && !resets) complain(PSTR("sysex cut short"));
  if (byte == kProtocolVersion) firmata::report_version();
  if (resets) firmata::reset();
}

static void end_sysex() {
  const State before = state;
  state = kIdle;
  if (before == kSysexTooLong) {
    complain(PSTR("sysex too long"));
  } else if (before == kSysexId) {
    complain(PSTR("empty sysex"));
  } else if (before == kSysexBody) {
    if (PGM_P wrong = firmata::sysex(command, body, size)) complain(wrong);
  }
}

void take(uint8_t byte) {
  static uint8_t second;
  if (byte == kEndSysex) {
    end_sysex();
  } else if (byte & 0x80) {
    begin(byte);
  } else {
    switch (state) {
      case kIdle:
        break;  // data without a command
      case kWantsOne:
        state = kIdle;
        firmata::one(command, first, byte);
        break;
      case kWantsTwo:
        second = byte;
        state = kWantsLast;
        break;
      case kWantsLast:
        state = kIdle;
        firmata::two(command, first, second, byte);
        break;
      case kSysexId:
        command = byte;
        size = 0;
        state = kSysexBody;
        break;
      case kSysexBody:
        if (size == kLongestSysex) {
          state = kSysexTooLong;
        } else {
          body[size++] = byte;
        }
        break;
      case kSysexTooLong:
        break;
    }
  }
}

void reset() {
  state = kIdle;
  size = 0;
}

}  // namespace parser
