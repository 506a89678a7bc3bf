"""Resolving device strings to ports, among fake ports."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import usb.core

from mlink.errors import DeviceError
from mlink_drivers import identity
from mlink_drivers.identity import PortIdentity, find_again, identify, resolve

UNO = PortIdentity(
    "/dev/ttyACM0", 0x2341, 0x0043, "7583", "1-2.3", "Arduino (www.arduino.cc)", "Arduino Uno"
)
NANO = PortIdentity("/dev/ttyUSB0", 0x1A86, 0x7523, "", "1-2.4", "", "USB Serial")
TWIN = PortIdentity("/dev/ttyUSB1", 0x1A86, 0x7523, "", "1-2.1", "", "USB Serial")
BUILT_IN = PortIdentity("/dev/ttyS0")


@pytest.fixture(autouse=True)
def no_usb(monkeypatch):
    monkeypatch.setattr(usb.core, "find", lambda **_: None)


def among(*ports):
    return lambda: list(ports)


EVERYTHING = among(UNO, BUILT_IN, NANO, TWIN)


@pytest.mark.parametrize(
    "spec",
    [
        "usb:2341:0043",
        "usb:serial=7583",
        "usb:path=1-2.3",
        "usb:product=Arduino Uno",
        "usb:2341:0043,serial=7583",
        "usb:manufacturer=Arduino (www.arduino.cc),path=1-2.3",
    ],
)
def test_a_board_is_found_by_each_of_its_names(spec):
    assert resolve(spec, ports=EVERYTHING) == "/dev/ttyACM0"


def test_boards_without_serial_numbers_differ_by_their_usb_port():
    assert resolve("usb:1a86:7523,path=1-2.1", ports=EVERYTHING) == "/dev/ttyUSB1"
    assert resolve("usb:1A86:7523,path=1-2.4", ports=EVERYTHING) == "/dev/ttyUSB0"


def test_ambiguity_lists_the_candidates():
    with pytest.raises(DeviceError, match="'usb:1a86:7523' fits 2 boards") as caught:
        resolve("usb:1a86:7523", ports=EVERYTHING)
    assert "/dev/ttyUSB0 (USB Serial, usb:1a86:7523, usb:path=1-2.4)" in caught.value.message
    assert "/dev/ttyUSB1" in caught.value.message
    assert "serial number or by its path" in caught.value.remedy


def test_nothing_that_fits_lists_what_is_there():
    with pytest.raises(DeviceError, match="no board fits 'usb:serial=other'") as caught:
        resolve("usb:serial=other", ports=among(UNO, BUILT_IN))
    assert "present: /dev/ttyACM0 (Arduino" in caught.value.remedy
    assert "/dev/ttyS0" in caught.value.remedy
    with pytest.raises(DeviceError) as caught:
        resolve("usb:2341:0043", ports=among())
    assert "no serial port" in caught.value.remedy


def test_a_device_on_the_bus_without_a_serial_port_is_reported(monkeypatch):
    monkeypatch.setattr(usb.core, "find", lambda **_: SimpleNamespace())
    with pytest.raises(DeviceError, match="on the USB, but no driver created a serial port"):
        resolve("usb:2341:0043", ports=among())


@pytest.mark.parametrize("failure", [usb.core.NoBackendError("no libusb"), usb.core.USBError("no")])
def test_a_machine_without_libusb_finds_boards_all_the_same(monkeypatch, failure):
    def find(**_):
        raise failure

    monkeypatch.setattr(usb.core, "find", find)
    assert resolve("usb:2341:0043", ports=EVERYTHING) == "/dev/ttyACM0"
    with pytest.raises(DeviceError, match="no board fits"):
        resolve("usb:2341:0043", ports=among())


@pytest.mark.parametrize(
    "spec", ["usb:", "usb:2341", "usb:colour=red", "usb:serial=", "usb:xyzw:0043", "firmata:x=1"]
)
def test_a_malformed_device_string_is_an_error_with_examples(spec):
    with pytest.raises(DeviceError, match="is not a device") as caught:
        resolve(spec, ports=EVERYTHING, ask=lambda address: "")
    assert "usb:2341:0043" in caught.value.remedy


@pytest.mark.parametrize(
    "spec",
    [
        "/dev/ttyACM7",
        "/dev/serial/by-id/usb-x",
        "socket://host:2000",
        "rfc2217://h:1",
        "/dev/pts/3",
    ],
)
def test_addresses_are_opened_as_they_are(spec):
    assert resolve(spec, ports=among()) == spec


# -- by firmware ---------------------------------------------------------------------------------


def firmware_of(**names):
    def ask(address):
        name = names.get(address.rpartition("/")[2])
        if name is None:
            raise DeviceError(f"{address} is held by another program")
        return name

    return ask


def test_a_board_is_found_by_its_firmware_in_any_case_and_without_ino():
    ask = firmware_of(ttyACM0="StandardFirmata.ino", ttyUSB0="ConfigurableFirmata.ino")
    for spec in ("firmata:name=StandardFirmata", "firmata:name=standardfirmata.ino"):
        assert resolve(spec, ports=EVERYTHING, ask=ask) == "/dev/ttyACM0"


def test_any_firmata_board_will_do_if_there_is_only_one():
    assert resolve("firmata:", ports=EVERYTHING, ask=firmware_of(ttyUSB1="X")) == "/dev/ttyUSB1"


def test_an_unknown_firmware_lists_the_firmware_of_all_boards():
    ask = firmware_of(ttyACM0="StandardFirmata.ino")
    with pytest.raises(DeviceError, match="no board fits 'firmata:name=Other'") as caught:
        resolve("firmata:name=Other", ports=EVERYTHING, ask=ask)
    assert "/dev/ttyACM0: StandardFirmata.ino" in caught.value.message
    assert "/dev/ttyUSB0 is held by another program" in caught.value.message


def test_what_to_do_about_boards_that_do_not_answer_is_in_the_remedy_once():
    def ask(address):
        raise DeviceError(f"no Firmata board answers on {address}", remedy="Set baud_rate.")

    with pytest.raises(DeviceError, match="no Firmata board answers on /dev/ttyUSB0") as caught:
        resolve("firmata:", ports=EVERYTHING, ask=ask)
    assert caught.value.remedy.count("Set baud_rate.") == 1


def test_two_boards_of_one_firmware_are_listed():
    ask = firmware_of(ttyACM0="StandardFirmata.ino", ttyUSB0="StandardFirmata.ino")
    with pytest.raises(DeviceError, match="fits 2 boards"):
        resolve("firmata:name=StandardFirmata", ports=EVERYTHING, ask=ask)


def test_all_ports_are_asked_at_once():
    together = threading.Barrier(sum(port.vendor_id is not None for port in EVERYTHING()))

    def ask(address):
        together.wait(60)  # fails when the one before has to answer first
        return "StandardFirmata.ino" if address == "/dev/ttyACM0" else "Other"

    assert resolve("firmata:name=StandardFirmata", ports=EVERYTHING, ask=ask) == "/dev/ttyACM0"


def test_ports_that_are_not_on_usb_are_not_spoken_to():
    asked = []

    def ask(address):
        asked.append(address)
        return "StandardFirmata"

    resolve("firmata:", ports=among(BUILT_IN, UNO), ask=ask)
    assert asked == ["/dev/ttyACM0"]


# -- found again ---------------------------------------------------------------------------------


def renamed(port, address, **changes):
    import msgspec

    return msgspec.structs.replace(port, address=address, **changes)


def test_a_board_is_found_again_under_its_new_name():
    back = renamed(UNO, "/dev/ttyACM1", path="1-4")
    assert find_again("/dev/ttyACM0", UNO, ports=among(back)) == "/dev/ttyACM1"


def test_while_it_is_away_there_is_none_even_if_its_name_is_taken_by_another():
    other = renamed(UNO, "/dev/ttyACM0", serial="other")
    assert find_again("/dev/ttyACM0", UNO, ports=among(other)) is None
    assert find_again("usb:2341:0043", UNO, ports=among()) is None


def test_without_a_serial_number_it_must_be_back_in_its_socket():
    back = renamed(NANO, "/dev/ttyUSB5")
    assert find_again("/dev/ttyUSB0", NANO, ports=among(TWIN)) is None
    assert find_again("/dev/ttyUSB0", NANO, ports=among(TWIN, back)) == "/dev/ttyUSB5"


def test_a_link_is_back_when_its_path_is(tmp_path):
    link = tmp_path / "board"
    assert find_again(str(link), None, ports=among()) is None
    link.touch()
    assert find_again(str(link), None, ports=among()) == str(link)


def test_a_url_can_always_be_tried():
    assert find_again("socket://host:1", None, ports=among()) == "socket://host:1"


def test_a_port_is_identified_by_its_link_too(tmp_path):
    link = tmp_path / "by-id"
    link.symlink_to("/dev/ttyACM0")
    assert identify(str(link), ports=EVERYTHING) is UNO
    assert identify("/dev/ttyACM0", ports=EVERYTHING) is UNO
    assert identify("/dev/pts/9", ports=EVERYTHING) is None
    assert identify("socket://host:1", ports=EVERYTHING) is None


def test_pyserials_words_are_taken_over(monkeypatch):
    port = SimpleNamespace(
        device="/dev/ttyACM0",
        vid=0x2341,
        pid=0x0043,
        serial_number="7583",
        location="1-2.3:1.0",
        manufacturer="Arduino (www.arduino.cc)",
        product="Arduino Uno",
    )
    monkeypatch.setattr(identity.list_ports, "comports", lambda: [port])
    assert identity.present_ports() == [UNO]


def test_this_machines_ports_can_be_asked_for():
    assert isinstance(identity.present_ports(), list)
