// Bytes of the Firmata protocol (github.com/firmata/protocol) and of the extension (../PROTOCOL.md).
#pragma once

#include <stdint.h>

constexpr uint8_t kProtocolMajor = 2;
constexpr uint8_t kProtocolMinor = 6;
constexpr uint8_t kFirmwareMajor = 1;
constexpr uint8_t kFirmwareMinor = 0;

enum Command : uint8_t {
  kDigitalMessage = 0x90,
  kReportAnalog = 0xC0,
  kReportDigital = 0xD0,
  kAnalogMessage = 0xE0,
  kStartSysex = 0xF0,
  kSetPinMode = 0xF4,
  kSetDigitalPin = 0xF5,
  kEndSysex = 0xF7,
  kProtocolVersion = 0xF9,
  kSystemReset = 0xFF,
};

enum SysexId : uint8_t {
  kFeatures = 0x01,  // the extension, up to 0x0C
  kEdges = 0x02,
  kClock = 0x03,
  kPulses = 0x04,
  kAnalogBlocks = 0x05,
  kReflexes = 0x06,
  kSafeState = 0x07,
  kBaud = 0x08,
  kStatus = 0x09,
  kCounters = 0x0A,
  kSteppers = 0x0B,
  kI2cTransfers = 0x0C,
  kExtendedReportAnalog = 0x64,
  kAnalogMappingQuery = 0x69,
  kAnalogMappingResponse = 0x6A,
  kCapabilityQuery = 0x6B,
  kCapabilityResponse = 0x6C,
  kPinStateQuery = 0x6D,
  kPinStateResponse = 0x6E,
  kExtendedAnalog = 0x6F,
  kServoConfig = 0x70,
  kStringData = 0x71,
  kI2cRequest = 0x76,
  kI2cReply = 0x77,
  kI2cConfig = 0x78,
  kReportFirmware = 0x79,
  kSamplingInterval = 0x7A,
};

// Ids that Firmata reserves for users; the extension's.
inline bool is_extension(uint8_t id) { return id <= 0x0F; }

enum PinMode : uint8_t {
  kInput = 0x00,
  kOutput = 0x01,
  kAnalog = 0x02,
  kPwm = 0x03,
  kServo = 0x04,
  kI2c = 0x06,
  kPullup = 0x0B,
  kUnused = 0x7F,
};
