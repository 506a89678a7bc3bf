"""In the guest: StandardFirmata in Python at the board's end of the USB cable, /dev/ttyGS0.

It boots whenever the cable is plugged in, and presses a button on line 2 five times a second. It
prints a line after each boot.
"""

import os
import select
import sys
import time
import tty

from mlink_hil.sim.boards.protocol_firmata import FirmataFirmware

PORT = "/dev/ttyGS0"
BUTTON = 2
HALF_PERIOD_S = 0.1


class Pins:
    """Pins without hardware: all but the button are open."""

    button = False

    def set_output(self, pin, level):
        pass

    def set_input(self, pin, *, pull_up):
        pass

    def level(self, pin):
        return pin == BUTTON and self.button

    def volts(self, pin):
        return 2.5


def serve(port):
    """Answer as the board until the cable is pulled."""
    pins = Pins()
    firmware = FirmataFirmware(pins, lambda data: os.write(port, data))
    firmware.start()
    print("booted", flush=True)
    press_at = time.monotonic() + HALF_PERIOD_S
    while True:
        wait = max(0.0, press_at - time.monotonic())
        if select.select([port], [], [], wait)[0]:
            data = os.read(port, 4096)
            if not data:
                return  # unplugged
            for byte in data:
                firmware.receive(byte)
        if time.monotonic() >= press_at:
            press_at += HALF_PERIOD_S
            pins.button = not pins.button
        firmware.poll()


def main():
    while True:
        try:
            port = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(port)
        except OSError:
            time.sleep(0.1)
            continue
        try:
            serve(port)
        except OSError as error:
            print(f"unplugged: {error}", flush=True)
        finally:
            os.close(port)
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
