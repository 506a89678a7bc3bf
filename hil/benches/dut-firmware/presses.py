"""Presses the lamp's button four times a second: line 4 drives the relay at the button."""

import syntalos_mlink as syl

readings = syl.get_input_port("firmata-in")
commands = syl.get_output_port("firmatactl-out")
table = syl.get_output_port("table-out")
relay = syl.HwOutputLine(commands, 4)
lamp = syl.HwInputLine(commands, 7)

switched = 0  # how often the lamp has been switched since the last press


def prepare():
    table.set_metadata_value("table_header", ["time_usec", "event", "switched"])
    table.set_metadata_value("data_name_proposal", "presses/table")
    readings.on_data = on_reading


def start():
    relay.send_mode()
    lamp.send_mode()


def on_reading(reading):
    global switched
    if reading is not None and reading.line_id == 7:
        switched += 1


def run():
    global switched
    syl.wait(300)
    while syl.is_running():
        switched = 0
        table.submit([syl.time_since_start_usec(), "press", ""])
        relay.set_value(1)
        syl.wait(100)
        relay.set_value(0)
        syl.wait(150)
        table.submit([syl.time_since_start_usec(), "done", switched])


def stop():
    relay.set_value(0)
