import hashlib

import syntalos_mlink as syl

readings = syl.get_input_port("readings")
frames = syl.get_input_port("frames")
rows = syl.get_input_port("rows")
commands = syl.get_output_port("commands")
log = syl.get_output_port("log")
button = syl.HwInputLine(commands, 7, pullup=True)
led = syl.HwOutputLine(commands, 8)
ticks = 0


def prepare():
    readings.on_data = on_reading
    frames.on_data = on_frame
    rows.on_data = lambda row: log.submit(["row", "", "", *row])
    log.set_metadata_value("table_header", ["what", "time_usec", "index", "value"])


def start():
    button.send_mode()
    led.send_mode()
    log.submit(["metadata", sorted(frames.metadata.items()), sorted(readings.metadata.items())])
    syl.schedule_delayed_call(100, tick)


def tick():
    global ticks
    ticks += 1
    log.submit(["tick", syl.time_since_start_usec(), ticks, ""])
    syl.schedule_delayed_call(100, tick)


def on_reading(reading):
    led.set_value(1 - reading.value)
    log.submit(["reading", reading.time_usec, reading.line_id, reading.value])


def on_frame(frame):
    digest = hashlib.blake2b(frame.view.tobytes(), digest_size=8).hexdigest()
    log.submit(["frame", frame.time_usec, frame.index, digest])


def stop():
    led.set_value(0)
    log.submit(["stop", syl.time_since_start_usec(), "", ""])


def run():
    while syl.is_running():
        syl.await_data(50_000)
        log.submit(["time", syl.time_since_start_usec(), "", ""])
