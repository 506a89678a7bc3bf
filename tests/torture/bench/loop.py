"""Answers a button, and sends numbered rows and blocks; notes each in `truth` once it is sent."""

import os
import time

import numpy as np

import syntalos_mlink as syl

ROWS_PER_BLOCK = 20

readings = syl.get_input_port("readings")
commands, rows, signals = (syl.get_output_port(name) for name in ("commands", "rows", "signals"))
button = syl.HwInputLine(commands, 7, pullup=True)
led = syl.HwOutputLine(commands, 8)
truth = os.open(os.environ["MLINK_TORTURE_TRUTH"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def prepare():
    time.sleep(0.15)  # a phase that is long enough to be disturbed
    rows.set_metadata_value("table_header", ["number", "time_usec"])
    signals.set_metadata_value("time_unit", "microseconds")
    signals.set_metadata_value("signal_names", ["number"])
    readings.on_data = on_reading


def start():
    time.sleep(0.15)
    button.send_mode()
    led.send_mode()


def on_reading(reading):
    if reading.line_id == 7:
        led.set_value(1 - reading.value)


def run():
    number = 0
    while syl.is_running():
        now = syl.time_since_start_usec()
        rows.submit([number, now])
        block = syl.SignalBlockF32()
        block.timestamps = now + np.arange(ROWS_PER_BLOCK)
        block.data = np.full((ROWS_PER_BLOCK, 1), number, np.float32)
        signals.submit(block)
        os.write(truth, f"{number} {now} {time.monotonic_ns()}\n".encode())
        number += 1
        syl.await_data(20_000)


def stop():
    time.sleep(0.2)
    led.set_value(0)
