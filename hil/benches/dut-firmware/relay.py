"""A relay as a Python class; it connects the tester's line with the lamp's button."""

from mlink_hil.dut import Dut


class Relay(Dut):
    """Connects its contact to ground while the coil is high; the contact bounces both ways."""

    pins = ("coil", "contact")

    def __init__(self, bounce_usec=()):
        self.bounce_usec = bounce_usec

    def on_edge(self, pin, level, now_usec):
        if pin != "coil":
            return
        closed, after_usec = level, 0
        self.touch(closed, after_usec)
        for usec in self.bounce_usec:  # an even number, so that the last state is the intended one
            closed, after_usec = not closed, after_usec + usec
            self.touch(closed, after_usec)

    def touch(self, closed, after_usec):
        self.set("contact", False if closed else None, after_usec)
