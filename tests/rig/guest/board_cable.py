"""In the guest: a board on the kernel's cdc_acm is found, opened, unplugged and plugged in again.

Prints the results as one line of JSON.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import usb.core
from serial.tools import list_ports

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink.types import LineCommand, LineCommandKind, LineModeFlags
from mlink_drivers.discovery import list_serial_ports
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.firmata.link.probe import FirmwareQueries, probe
from mlink_drivers.firmata.module import FirmataModule
from mlink_drivers.identity import resolve
from tests.support.fake_context import FakeContext

UDC = Path("/sys/kernel/config/usb_gadget/board/UDC")
SERIAL = "75834353430351F0C1A1"
HERE = Path(__file__).parent
LOGGED = []


def keep_log():
    handler = logging.Handler()
    handler.emit = lambda record: LOGGED.append(record.getMessage())
    logging.getLogger("mlink").addHandler(handler)
    logging.getLogger("mlink").setLevel(logging.INFO)


def wait_for(condition, what, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def by_usb():
    """Return what pyusb reads from the device itself."""
    device = usb.core.find(idVendor=0x2341, idProduct=0x0043)
    return [device.manufacturer, device.product, device.serial_number]


def by_pyserial():
    ports = [port for port in list_ports.comports() if port.vid == 0x2341]
    return [[port.device, port.pid, port.serial_number] for port in ports]


def resolved(*specs):
    found = {}
    for spec in specs:
        try:
            found[spec] = resolve(spec, ask=FirmwareQueries())
        except DeviceError as error:
            found[spec] = str(error)
    return found


def run_and_pull(spec):
    """Run a board whose cable is pulled, and which comes back under another name."""
    descriptors = len(os.listdir("/proc/self/fd"))
    context = FakeContext(
        firmata_io,
        FirmataSettings(on_loss="continue"),
        Path(tempfile.mkdtemp()),
        name="board",
        device=DeviceEndpoint(name="uno", spec=spec, address=spec),
        clock=MasterClock(time.monotonic_ns()),
    )
    module = FirmataModule(context)
    module.prepare()
    module.start()
    address = module._session.transport.address
    flags = LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP
    context.inputs["fmctl"].on_item(LineCommand(LineCommandKind.SET_MODE, 2, flags=flags))
    readings = context.outputs["fmdata"].items
    wait_for(lambda: len(readings) >= 5, "readings")
    # While a program holds the old port, the kernel assigns a new name to the board.
    holder = os.open(address, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    UDC.write_text("\n")
    unplugged_usec = context.clock.now_usec()
    events = context.outputs["events"].items
    wait_for(lambda: "lost" in [row[1] for row in events], "the loss")
    time.sleep(0.5)
    before = len(readings)
    UDC.write_text("dummy_udc.0\n")
    plugged_usec = context.clock.now_usec()
    wait_for(lambda: len(readings) >= before + 5, "readings after the gap", 25.0)
    back = module._session.transport.address
    module.halt()
    module.stop()
    module.drained()
    module.close()
    os.close(holder)
    return {
        "address": address,
        "back": back,
        "times": [reading.time_usec for reading in readings],
        "values": [reading.value for reading in readings],
        "before": before,
        "unplugged_usec": unplugged_usec,
        "plugged_usec": plugged_usec,
        "events": events,
        "metadata": context.outputs["fmdata"].metadata,
        "failures": [str(failure) for failure in context.failures],
        "reports": context.reports,
        "descriptors": [descriptors, len(os.listdir("/proc/self/fd"))],
    }


def main():
    keep_log()
    board = subprocess.Popen(
        [sys.executable, "-P", str(HERE / "gadget_board.py")], stdout=subprocess.PIPE, text=True
    )
    assert board.stdout.readline() == "booted\n"
    seen = {
        "usb": by_usb(),
        "pyserial": by_pyserial(),
        "listed": msgspec.to_builtins(list_serial_ports()),
        "probe": str(probe("/dev/ttyACM0")),
        "resolved": resolved(
            "usb:2341:0043",
            f"usb:serial={SERIAL}",
            "firmata:name=StandardFirmata",
            "usb:2341:0001",
            "usb:serial=other",
        ),
    }
    seen["run"] = run_and_pull("usb:2341:0043")
    (by_id,) = Path("/dev/serial/by-id").iterdir()
    seen["by_id"] = str(probe(str(by_id)))
    board.kill()
    seen["logged"] = LOGGED
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
