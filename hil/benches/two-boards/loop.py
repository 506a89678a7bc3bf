"""`left` pulses line 4, `right` sees it on its 2 and answers on 8, `left` sees that on 7."""

import syntalos_mlink as syl

left_in, right_in = syl.get_input_port("left-in"), syl.get_input_port("right-in")
left_out, right_out = syl.get_output_port("left-out"), syl.get_output_port("right-out")
table = syl.get_output_port("table-out")
pulse = syl.HwOutputLine(left_out, 4)
echo = syl.HwInputLine(left_out, 7)
seen = syl.HwInputLine(right_out, 2)
answer = syl.HwOutputLine(right_out, 8)

sent = {}  # level → when it was sent, µs


def prepare():
    left_in.on_data = on_left
    right_in.on_data = on_right
    table.set_metadata_value("table_header", ["time_usec", "level", "trip_usec"])
    table.set_metadata_value("data_name_proposal", "trips")


def start():
    for line in (pulse, echo, seen, answer):
        line.send_mode()


def run():
    level = 0
    syl.wait(200)
    while syl.is_running():
        level = 1 - level
        sent[level] = syl.time_since_start_usec()
        pulse.set_value(level)
        syl.wait(50)


def on_right(reading):
    if reading is not None and reading.line_id == 2:
        answer.set_value(reading.value)


def on_left(reading):
    if reading is not None and reading.line_id == 7 and reading.value in sent:
        trip_usec = reading.time_usec - sent.pop(reading.value)
        table.submit([reading.time_usec, reading.value, trip_usec])


def stop():
    pulse.set_value(0)
    answer.set_value(0)
