"""The module firmata-io on a scripted board, led through its life by a test."""

from __future__ import annotations

import time

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink.types import LineCommand, LineCommandKind, LineModeFlags
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from tests.support.boards.scripted_board import sysex
from tests.support.fake_context import FakeContext


class Bench:
    """A module on a scripted board, led through its life."""

    def __init__(self, tmp_path, scripted, *, address="", **settings):
        endpoint = DeviceEndpoint(name="uno", spec="virtual:uno", address=address or scripted.path)
        self.context = FakeContext(
            firmata_io,
            FirmataSettings(handshake_timeout_s=2, **settings),
            tmp_path,
            name="board",
            device=endpoint,
            clock=MasterClock(time.monotonic_ns()),
        )
        self.scripted = scripted
        self._texts = 0
        self.module = firmata_io.load()(self.context)

    def __enter__(self):
        self.module.prepare()
        self.module.start()
        return self

    def __exit__(self, *_):
        self.module.close()

    def send(self, kind, line, value=0, duration_usec=0, flags=LineModeFlags.NONE, extra=b""):
        command = LineCommand(kind, line, value, duration_usec, flags, extra)
        self.context.inputs["fmctl"].on_item(command)

    def ask(self, extra, line=0):
        self.send(LineCommandKind.DEVICE_SPECIFIC, line, extra=extra)

    def set_input(self, line, flags=LineModeFlags.IS_INPUT):
        self.send(LineCommandKind.SET_MODE, line, flags=flags)

    @property
    def readings(self):
        return self.context.outputs["fmdata"].items

    def wait_for_readings(self, *expected):
        deadline = time.monotonic() + 60
        while (got := [(r.line_id, r.value) for r in self.readings]) != list(expected):
            assert time.monotonic() < deadline, got
            time.sleep(0.002)

    def settle(self):
        """Wait until the driver has handled all that the board has sent: by a text behind it."""
        self._texts += 1
        text = f"text {self._texts}"
        self.scripted.send(sysex(0x71, [part for c in text.encode() for part in (c, 0)]))
        deadline = time.monotonic() + 60
        while not any(row[4] == text for row in self._replies()):
            assert time.monotonic() < deadline, self._replies()
            time.sleep(0.002)

    def _replies(self):
        return [*self.rows("replies"), *(self.module._replies._waiting or [])]

    def rows(self, port):
        return self.context.outputs[port].items

    def wait_for_row(self, port, condition):
        deadline = time.monotonic() + 60
        while not (found := [row for row in self.rows(port) if condition(row)]):
            assert time.monotonic() < deadline, self.rows(port)
            time.sleep(0.002)
        return found[-1]

    def wait_for_event(self, event, count=1):
        deadline = time.monotonic() + 60
        while [row[1] for row in self.rows("events")].count(event) < count:
            assert time.monotonic() < deadline, self.rows("events")
            time.sleep(0.002)

    def failure(self):
        assert self.context.failed.wait(60)
        (error,) = self.context.failures
        assert isinstance(error, DeviceError)
        return str(error)
