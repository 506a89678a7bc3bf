"""The light on line 8 is on while the button on line 7 is pressed."""

import syntalos_mlink as syl

readings = syl.get_input_port("firmata-in")
commands = syl.get_output_port("firmatactl-out")
button = syl.HwInputLine(commands, 7, pullup=True)
light = syl.HwOutputLine(commands, 8)


def prepare():
    readings.on_data = on_reading


def start():
    button.send_mode()
    light.send_mode()


def on_reading(reading):
    if reading is not None and reading.line_id == 7:
        light.set_value(1 if reading.value == 0 else 0)


def stop():
    light.set_value(0)
