// The serial line over UART 0.
#include "link.h"

#if !BOARD_USB
#include "protocol.h"
#include "time_base.h"

namespace link {

volatile Counters counters;

static_assert(kReceiveBuffer <= 256 && kSendBuffer <= 256, "buffers are indexed by a byte");
static constexpr uint8_t kReceiveMask = kReceiveBuffer - 1;
static constexpr uint8_t kSendMask = kSendBuffer - 1;

static uint8_t received[kReceiveBuffer];
static volatile uint8_t received_head, received_tail;  // written at head, read at tail
static uint8_t to_send[kSendBuffer];
static volatile uint8_t send_head, send_tail;
static volatile bool sending;

// Ends of sysex messages: received so far, read so far, and the time of the last received.
static volatile uint8_t ends_received;
static uint8_t ends_read;
static volatile uint16_t end_time;

static constexpr uint8_t kReceiving = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);

static volatile uint8_t framing_in_a_row;
static uint32_t current_baud;
static uint16_t ticks_per_byte;

// The divisor with the UART at double speed; 0 when no rate is within 2.2 %.
static uint16_t divisor(uint32_t baud) {
  if (baud < 300 || baud > 2000000) return 0;
  const uint32_t rate = F_CPU / 8;
  const uint32_t rounded = (rate + baud / 2) / baud;
  const uint32_t real = rate / rounded;
  const uint32_t off = real > baud ? real - baud : baud - real;
  return off * 45 <= baud && rounded <= 4096 ? (uint16_t)rounded : 0;
}

bool can_baud(uint32_t baud) { return divisor(baud) != 0 && baud <= 1000000; }

void set_baud(uint32_t baud) {
  const uint16_t by = divisor(baud);
  Critical critical;
  current_baud = baud;
  ticks_per_byte = (uint16_t)((kTickHz * 10 + baud / 2) / baud);
  framing_in_a_row = 0;
  UBRR0 = by - 1;
}

uint32_t baud() { return current_baud; }
uint16_t byte_ticks() { return ticks_per_byte; }
uint8_t framing_errors_in_a_row() { return framing_in_a_row; }

void begin() {
  UCSR0A = _BV(U2X0);
  UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
  set_baud(kDefaultBaud);
  UCSR0B = kReceiving;
}

bool read(uint8_t& byte) {
  const uint8_t tail = received_tail;
  if (tail == received_head) return false;
  read_after();
  byte = received[tail];
  received_tail = (uint8_t)(tail + 1) & kReceiveMask;
  if (byte == kEndSysex) ++ends_read;
  return true;
}

uint8_t pending() { return (uint8_t)(send_head - send_tail) & kSendMask; }
uint8_t room() { return kSendMask - pending(); }
bool is_quiet() { return received_head == received_tail && send_head == send_tail; }
bool is_idle() { return !sending || (pending() == 0 && (UCSR0A & _BV(TXC0))); }

void write(uint8_t byte) {
  const uint8_t head = send_head;
  sending = true;
  if (head == send_tail && (UCSR0A & _BV(UDRE0))) {
    // Nothing waits: the interrupt, which comes twice for a byte, would take longer than the byte.
    Critical critical;
    UCSR0A = _BV(U2X0) | _BV(TXC0);  // TXC is then set when this byte has left
    UDR0 = byte;
    return;
  }
  const uint8_t next = (uint8_t)(head + 1) & kSendMask;
  while (next == send_tail) {
    // The transmit interrupt frees a byte within the time of one.
  }
  to_send[head] = byte;
  // No need to lock: each is one store, and the interrupt that finds nothing to send only turns
  // itself off again.
  send_head = next;
  UCSR0B = kReceiving | _BV(UDRIE0);
}

bool end_of_sysex(uint32_t& time) {
  Critical critical;
  const uint32_t now = time_base::now_locked();
  time = now - (uint16_t)((uint16_t)now - end_time);
  return ends_received == ends_read;
}

}  // namespace link

ISR(BOARD_RX_vect) {
  const uint8_t status = UCSR0A;
  const uint8_t byte = UDR0;
  if (status & _BV(FE0)) {
    ++link::counters.framing_errors;
    if (link::framing_in_a_row != 0xFF) ++link::framing_in_a_row;
    return;
  }
  link::framing_in_a_row = 0;
  const uint8_t head = link::received_head;
  const uint8_t next = (uint8_t)(head + 1) & link::kReceiveMask;
  if ((status & _BV(DOR0)) || next == link::received_tail) ++link::counters.receive_lost;
  if (next == link::received_tail) return;
  if (byte == kEndSysex) {
    link::end_time = BASE_TCNT;
    ++link::ends_received;
  }
  link::received[head] = byte;
  link::received_head = next;
}

ISR(BOARD_UDRE_vect) {
  const uint8_t tail = link::send_tail;
  if (tail == link::send_head) {
    UCSR0B = link::kReceiving;
    return;
  }
  UCSR0A = _BV(U2X0) | _BV(TXC0);  // TXC is then set when this byte has left
  UDR0 = link::to_send[tail];
  link::send_tail = (uint8_t)(tail + 1) & link::kSendMask;
}
#endif
