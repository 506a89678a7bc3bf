"""`left` switches line 4, `right` reads it on 2 and answers on 8, `left` reads that on 7."""

import syntalos_mlink as syl

left_in, right_in = syl.get_input_port("left-in"), syl.get_input_port("right-in")
left_out, right_out = syl.get_output_port("left-out"), syl.get_output_port("right-out")
table = syl.get_output_port("table-out")
pulse = syl.HwOutputLine(left_out, 4)
echo = syl.HwInputLine(left_out, 7)
seen = syl.HwInputLine(right_out, 2)
answer = syl.HwOutputLine(right_out, 8)

LOST_USEC = 1_000_000  # longest wait for an answer

level = 0
sent_usec = None  # when the last change was sent; None once it has been answered


def prepare():
    left_in.on_data = on_left
    right_in.on_data = on_right
    table.set_metadata_value("table_header", ["time_usec", "level", "trip_usec"])
    table.set_metadata_value("data_name_proposal", "trips/table")


def start():
    for line in (pulse, echo, seen, answer):
        line.send_mode()


def run():
    global level, sent_usec
    syl.wait(200)
    while syl.is_running():
        now_usec = syl.time_since_start_usec()
        if sent_usec is None or now_usec > sent_usec + LOST_USEC:
            level = 1 - level
            sent_usec = now_usec
            pulse.set_value(level)
        syl.wait(50)


def on_right(reading):
    if reading is not None and reading.line_id == 2:
        answer.set_value(reading.value)


def on_left(reading):
    global sent_usec
    if reading is None or reading.line_id != 7 or reading.value != level or sent_usec is None:
        return
    table.submit([reading.time_usec, reading.value, reading.time_usec - sent_usec])
    sent_usec = None


def stop():
    pulse.set_value(0)
    answer.set_value(0)
