#include "analog.h"

#include "critical.h"
#include "pins.h"
#include "scheduler.h"
#include "time_base.h"

namespace analog {

static constexpr uint8_t kMostChannels = 8;
static constexpr uint8_t kSampleBuffer = 32;
static constexpr uint8_t kMostBlock = 24;             // samples in one message
static constexpr uint16_t kConversionTicks = 2 * 180;  // 104 µs, and a turn of the loop
static constexpr uint16_t kDefaultInterval = 19;       // ms, as StandardFirmata

volatile uint16_t missed;

static uint16_t reporting;  // a bit per channel
static uint16_t due;        // channels still to be sampled this time
static uint8_t converting = kNone;
static uint16_t interval_ms;
static uint32_t last_scan;

// Blocks. The scheduler's interrupt begins scans, the loop fetches and sends.
static volatile bool sampling, scanning;
static uint8_t channels[kMostChannels];
static uint8_t channel_count;
static uint8_t block_scans;
static uint32_t period;
static volatile uint8_t scan_at;  // channel being converted
static uint16_t samples[kSampleBuffer];
static volatile uint8_t head, tail;
static volatile uint32_t first_time;  // of the first scan in the buffer
static volatile uint8_t scans;        // complete scans in the buffer
static volatile bool gap;             // scans are missing after those in the buffer
static uint16_t missed_told;
static uint8_t sequence;

static void select(uint8_t channel) {
  const uint8_t input = pgm_read_byte(&kMux[channel]);
  ADMUX = _BV(REFS0) | (input & 0x07);
#ifdef MUX5
  ADCSRB = input & 0x08 ? _BV(MUX5) : 0;
#endif
}

void begin() { ADCSRA = _BV(ADEN) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0); }

void report(uint8_t channel, bool on) {
  const uint16_t bit = 1u << channel;
  reporting = on ? reporting | bit : reporting & ~bit;
  if (on) due |= bit;  // the first sample comes at once
}

void set_interval(uint16_t ms) { interval_ms = ms ? ms : 1; }
uint16_t interval() { return interval_ms; }

bool interval_passed() {
  const uint32_t now = time_base::now();
  if (!is_due(last_scan + interval_ms * kTicksPerMs, now)) return false;
  last_scan += interval_ms * kTicksPerMs;
  if (is_due(last_scan + interval_ms * kTicksPerMs, now)) last_scan = now;  // far behind: give up
  due |= reporting;
  return true;
}

bool busy() { return due != 0 || converting != kNone || scans != 0 || scanning; }

void run() {
  if (sampling) return;
  if (converting != kNone) {
    if (ADCSRA & _BV(ADSC) || link::room() < 10) return;
    const uint16_t value = ADC;
    if (converting < 16) message::three(kAnalogMessage | converting, value);
    converting = kNone;
  }
  for (uint8_t channel = 0; due && channel < kAnalogCount; ++channel) {
    const uint16_t bit = 1u << channel;
    if (!(due & bit)) continue;
    due &= ~bit;
    if (!(reporting & bit) || pins::mode(pins::pin_of_channel(channel)) != kAnalog) continue;
    select(channel);
    ADCSRA |= _BV(ADSC);
    converting = channel;
    return;
  }
}

static void stop() {
  scheduler::stop_samples();
  Critical critical;
  sampling = scanning = false;
}

static PGM_P start(message::Reader& reader) {
  const uint32_t asked = reader.take32();
  const uint8_t scans_per_block = reader.take7();
  const uint8_t count = reader.left();
  if (!reader.ok() || count == 0 || count > kMostChannels) return PSTR("analog: wrong length");
  for (message::Reader check = reader; check.left();) {
    const uint8_t pin = pins::pin_of_channel(check.take7());
    if (pin == kNone) return PSTR("analog: no such channel");
    if (pins::mode(pin) != kAnalog) return PSTR("analog: pin is not in mode ANALOG");
  }
  if (asked < (uint32_t)count * kConversionTicks || (int32_t)asked < 0) {
    return PSTR("analog: period is too short");
  }
  if (scans_per_block == 0 || scans_per_block * count > kMostBlock) return PSTR("analog: block");
  stop();
  while (ADCSRA & _BV(ADSC)) {  // a single sample that has begun: 104 µs at most
  }
  converting = kNone;
  channel_count = count;
  for (uint8_t at = 0; at < count; ++at) channels[at] = reader.take7();
  block_scans = scans_per_block;
  period = asked;
  head = tail = scans = 0;
  gap = false;
  missed_told = missed;
  select(channels[0]);
  ADCSRA |= _BV(ADIF);
  sampling = true;
  scheduler::start_samples(time_base::now() + 2 * scheduler::kShortestPeriod, period);
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  if (sub == kStart) return start(reader);
  if (sub != kStop || !reader.done()) return PSTR("analog: wrong kind");
  if (sampling) {
    stop();
    block_scans = 1;  // what is left goes out
  }
  return nullptr;
}

static uint8_t used() { return (uint8_t)(head - tail) & (kSampleBuffer - 1); }

// Called from the scheduler's interrupt, with interrupts on.
void start_scan(uint32_t time) {
  Critical critical;
  if (!sampling) return;
  if (scanning || gap || used() + channel_count >= kSampleBuffer) {
    // The loop has not sent what was there: this scan is left out, and the next one begins a
    // new block with its own time.
    missed = missed + 1;
    gap = true;
    return;
  }
  if (scans == 0) first_time = time;
  scan_at = 0;
  scanning = true;
  ADCSRA |= _BV(ADSC);
}

static inline void converted_locked() {
  if (!scanning) return;
  samples[head] = ADC;
  head = (uint8_t)(head + 1) & (kSampleBuffer - 1);
  const uint8_t next = scan_at + 1;
  if (next < channel_count) {
    scan_at = next;
    select(channels[next]);
    ADCSRA |= _BV(ADSC);
    return;
  }
  scanning = false;
  scans = scans + 1;
  select(channels[0]);
}

// The loop fetches: its turn is shorter than a conversion, and edges need the interrupts more.
// (yasimavr 0.1.6 does not deliver the converter's interrupt reliably either.)
static void fetch() {
  Critical critical;
  if (!scanning || (ADCSRA & (_BV(ADSC) | _BV(ADIF))) != _BV(ADIF)) return;
  ADCSRA |= _BV(ADIF);
  converted_locked();
}

static void send_block(uint8_t count) {
  message::begin(kAnalogBlocks);
  message::put7(kBlock);
  message::put7(sequence++);
  message::put32(first_time);
  for (uint8_t left = count * channel_count; left; --left) {
    message::put14(samples[tail]);
    tail = (uint8_t)(tail + 1) & (kSampleBuffer - 1);
  }
  message::end();
  Critical critical;
  first_time = first_time + count * period;
  scans = scans - count;
}

void send_blocks() {
  fetch();
  const uint8_t ready = scans;
  const bool ends = gap || !sampling;
  if (ready && (ready >= block_scans || ends)) {
    const uint8_t count = ready < block_scans ? ready : block_scans;
    const uint8_t bytes = 2 * count * channel_count + 10;
    if (link::room() >= (bytes < kSendBuffer - 20 ? bytes : kSendBuffer - 20)) send_block(count);
  }
  if (gap) {
    {
      Critical critical;
      if (scans == 0 && !scanning) gap = false;
    }
  } else if (missed != missed_told && link::room() > 8) {
    missed_told = missed;
    message::begin(kAnalogBlocks);
    message::put7(kMissed);
    message::put21(missed_told);
    message::end();
  }
}

void reset() {
  stop();
  scans = head = tail = 0;
  gap = false;
  reporting = due = 0;
  interval_ms = kDefaultInterval;
  last_scan = time_base::now();
}

}  // namespace analog
