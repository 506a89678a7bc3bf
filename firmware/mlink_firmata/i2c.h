// Firmata's I2C: writes, single reads and reads repeated at the sampling interval.
#pragma once

#include <stdint.h>

#include "message.h"

namespace i2c {

void reset();
PGM_P configure(message::Reader& reader);
PGM_P request(message::Reader& reader);
void read_continuous();  // once per sampling interval

}  // namespace i2c
