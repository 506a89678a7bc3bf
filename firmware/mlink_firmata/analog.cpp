#include "analog.h"

#include "critical.h"
#include "pins.h"
#include "scheduler.h"
#include "time_base.h"

namespace analog {

static constexpr uint8_t kMostChannels = 8;
static constexpr uint8_t kSampleBuffer = 32;
static constexpr uint8_t kMostBlock = 24;             // samples in one message
// 13 clocks of the converter, up to one until it begins, and the largest delay of a tick.
static constexpr uint16_t kConversionTicks = 2 * 116;
static constexpr uint16_t kDefaultInterval = 19;       // ms, as StandardFirmata

volatile uint16_t missed;

static uint16_t reporting;  // a bit per channel
static uint16_t due;        // channels still to be sampled this time
static uint8_t converting = kNone;
static uint16_t interval_ms;
static uint32_t last_scan;

// Blocks. The scheduler's interrupt fetches the last conversion and begins the next; the main
// loop fetches, too, and sends.
static volatile bool sampling;
static volatile bool in_scan;          // a scan is in progress
static volatile bool converting_scan;  // the channel `scan_at` is being converted
static uint8_t channels[kMostChannels];
static uint8_t channel_count;
static uint8_t block_scans;
static uint32_t period;
static volatile uint8_t scan_at;  // the next to be fetched
static uint16_t samples[kSampleBuffer];
static volatile uint8_t head, tail;
static volatile uint32_t first_time;  // of the first scan in the buffer
static volatile uint8_t scans;        // complete scans in the buffer
static volatile bool gap;             // scans are missing after those in the buffer
static uint16_t missed_reported;
static uint16_t sequence;

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
  if (on) due |= bit;  // the first sample is taken at once
}

void set_interval(uint16_t ms) { interval_ms = ms ? ms : 1; }
uint16_t interval() { return interval_ms; }

bool interval_passed() {
  const uint32_t now = time_base::now();
  if (!is_due(last_scan + interval_ms * kTicksPerMs, now)) return false;
  last_scan += interval_ms * kTicksPerMs;
  if (is_due(last_scan + interval_ms * kTicksPerMs, now)) last_scan = now;  // too late: skip some
  due |= reporting;
  return true;
}

bool busy() { return due != 0 || converting != kNone || scans != 0 || in_scan; }

void run() {
  if (sampling) return;
  if (converting == kNone && ADCSRA & _BV(ADSC)) return;  // of a stopped scan
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
  sampling = in_scan = converting_scan = false;
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
  if (!scheduler::has_room_for_samples(asked / count)) return PSTR("analog: too many edges of trains");
  stop();
  while (ADCSRA & _BV(ADSC)) {  // wait for a conversion in progress: 104 µs at most
  }
  converting = kNone;
  channel_count = count;
  for (uint8_t at = 0; at < count; ++at) channels[at] = reader.take7();
  block_scans = scans_per_block;
  period = asked;
  head = tail = scans = 0;
  gap = false;
  missed_reported = missed;
  sampling = true;
  scheduler::start_samples(time_base::now() + 2 * scheduler::kShortestPeriod, period / count);
  return nullptr;
}

PGM_P handle(message::Reader& reader) {
  const uint8_t sub = reader.take7();
  if (sub == kStart) return start(reader);
  if (sub != kStop || !reader.done()) return PSTR("analog: wrong kind");
  if (sampling) stop();  // the rest of the block is sent
  return nullptr;
}

static uint8_t used() { return (uint8_t)(head - tail) & (kSampleBuffer - 1); }

// Fetches the sample if one is ready. Call it in the scheduler's interrupt or with interrupts off.
static void fetch() {
  if (!converting_scan || ADCSRA & _BV(ADSC)) return;
  converting_scan = false;
  samples[head] = ADC;
  head = (uint8_t)(head + 1) & (kSampleBuffer - 1);
  scan_at = scan_at + 1;
  if (scan_at == channel_count) {
    in_scan = false;
    scans = scans + 1;
  }
}

// Whether a scan may begin at `time`. While the main loop has not sent the buffer, scans are
// skipped, and the next one begins a new block with its own time.
static bool begin_scan(uint32_t time) {
  if (gap || used() + channel_count >= kSampleBuffer) {
    missed = missed + 1;
    gap = true;
    return false;
  }
  if (scans == 0) first_time = time;
  scan_at = 0;
  in_scan = true;
  return true;
}

// Called in the scheduler's interrupt, with interrupts on. It polls the converter: its own interrupt
// would delay others (and yasimavr 0.1.6 never raises it).
uint32_t tick(uint32_t time) {
  while (converting_scan && ADCSRA & _BV(ADSC)) {  // a few µs, when the last tick was late
  }
  fetch();
  if (!sampling || (!in_scan && !begin_scan(time))) return period;
  select(channels[scan_at]);
  ADCSRA |= _BV(ADSC);
  converting_scan = true;
  return scan_at + 1 < channel_count ? kConversionTicks
                                     : period - (channel_count - 1) * kConversionTicks;
}

static void send_block(uint8_t count) {
  message::begin(kAnalogBlocks);
  message::put7(kBlock);
  message::put_sequence(sequence++);
  message::put32(first_time);
  for (uint8_t left = count * channel_count; left; --left) {
    message::put14(samples[tail]);
    tail = (uint8_t)(tail + 1) & (kSampleBuffer - 1);
  }
  message::end();
  const uint32_t sent = count * period;
  Critical critical;
  first_time = first_time + sent;
  scans = scans - count;
}

void send_blocks() {
  {
    Critical critical;
    fetch();
  }
  const uint8_t ready = scans;
  read_after();
  const bool ends = gap || !sampling;
  if (ready && (ready >= block_scans || ends)) {
    const uint8_t count = ready < block_scans ? ready : block_scans;
    const uint8_t bytes = 2 * count * channel_count + 13;
    if (link::room() >= (bytes < kSendBuffer - 20 ? bytes : kSendBuffer - 20)) send_block(count);
  }
  if (gap) {
    {
      Critical critical;
      if (scans == 0) gap = false;
    }
  } else if (missed != missed_reported && link::room() > 10) {
    missed_reported = missed;
    message::begin(kAnalogBlocks);
    message::put7(kMissed);
    message::put21(missed_reported);
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
