#include "time_base.h"

namespace time_base {

volatile uint16_t high_half;

void begin() {
  BASE_TCCRA = 0;          // normal mode: counts to 0xFFFF and on from 0
  BASE_TCCRB = _BV(CS11);  // F_CPU / 8
  BASE_TIMSK = _BV(TOIE1);
}

}  // namespace time_base

ISR(BASE_OVF_vect) { time_base::high_half = time_base::high_half + 1; }
