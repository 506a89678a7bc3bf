// I2C: transfers now, or repeated at the sampling interval; by Firmata's messages and by ours,
// whose answers say whether a device has acknowledged.
#pragma once

#include <stdint.h>

#include "message.h"

namespace i2c {

void reset();
PGM_P configure(message::Reader& reader);
PGM_P request(message::Reader& reader);  // of Firmata
PGM_P handle(message::Reader& reader);   // of the extension
void read_continuous();  // once per sampling interval

}  // namespace i2c
