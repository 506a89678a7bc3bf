"""Queries of `mlink devices --probe`: of all USB ports at once, each problem in words."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from mlink import installed
from mlink.cli.devices import MODES_GROUP, PROBES_GROUP, ask
from mlink.devices import FoundDevice
from mlink.errors import DeviceError


def test_ports_are_queried_at_once_and_in_order(monkeypatch):
    together = threading.Barrier(3)

    def probe(address):
        together.wait(60)  # fails when ports are queried one after the other
        if address == "/dev/ttyUSB1":
            raise DeviceError("nobody answers")
        return f"board at {address}"

    entry = SimpleNamespace(name="firmata", load=lambda: probe)
    monkeypatch.setattr(installed, "entry_points", lambda **_: [entry])
    found = [
        FoundDevice(
            kind="serial", name="", address=f"/dev/ttyUSB{number}", identity=["usb:1a86:7523"]
        )
        for number in range(3)
    ]
    found += [FoundDevice(kind="serial", name="", address="/dev/ttyS0")]
    assert ask(found, "serial", PROBES_GROUP) == {
        "/dev/ttyUSB0": ["board at /dev/ttyUSB0"],
        "/dev/ttyUSB1": ["nobody answers"],
        "/dev/ttyUSB2": ["board at /dev/ttyUSB2"],
    }
    assert ask([], "serial", PROBES_GROUP) == {}


def test_an_address_with_a_scheme_is_for_the_entry_point_of_that_name(monkeypatch):
    entries = [
        SimpleNamespace(name="v4l2", load=lambda: lambda address: ["YUYV"]),
        SimpleNamespace(name="basler", load=lambda: lambda address: ["Mono8"]),
    ]
    monkeypatch.setattr(installed, "entry_points", lambda **_: entries)
    addresses = ("basler:1", "ids:1")
    found = [FoundDevice(kind="camera", name="", address=address) for address in addresses]
    assert ask(found, "camera", MODES_GROUP) == {"basler:1": ["Mono8"], "ids:1": []}
