"""A USB board on the kernel's cdc_acm and tty layers: found, opened, unplugged and replugged."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.rig.rig_runner import ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(420)]

SERIAL = "75834353430351F0C1A1"


@pytest.fixture(scope="module")
def seen():
    """Return the results of one guest."""
    return ask_guest("board_cable.py", cameras=0)


@pytest.fixture
def run(seen):
    """Return the results of the run in which the cable was pulled."""
    return seen["run"]


def test_pyusb_and_pyserial_find_the_board_by_its_ids(seen):
    assert seen["usb"] == ["Arduino (www.arduino.cc)", "Arduino Uno", SERIAL]
    assert seen["pyserial"] == [["/dev/ttyACM0", 0x0043, SERIAL]]


def test_it_is_listed_with_every_address_that_opens_it(seen):
    (board,) = [port for port in seen["listed"] if port["address"] == "/dev/ttyACM0"]
    assert board["name"] == "Arduino (www.arduino.cc) Arduino Uno"
    assert {"usb:2341:0043", f"usb:serial={SERIAL}"} <= set(board["identity"])
    assert board["problem"] == ""


def test_its_firmware_answers_a_probe_by_node_and_by_link(seen):
    answer = "StandardFirmata.ino 2.5 (Firmata 2.5), 20 pins, 6 of them analog inputs"
    assert seen["probe"] == seen["by_id"] == answer


@pytest.mark.parametrize(
    "spec", ["usb:2341:0043", f"usb:serial={SERIAL}", "firmata:name=StandardFirmata"]
)
def test_it_is_resolved_by_identity(seen, spec):
    assert seen["resolved"][spec] == "/dev/ttyACM0"


@pytest.mark.parametrize("spec", ["usb:2341:0001", "usb:serial=other"])
def test_the_error_for_a_missing_board_lists_those_that_are_there(seen, spec):
    assert f"no board fits '{spec}'" in seen["resolved"][spec]
    assert f"usb:serial={SERIAL}" in seen["resolved"][spec]


def test_readings_continue_in_the_same_run_after_the_cable_was_pulled(run):
    assert run["failures"] == []
    assert run["before"] >= 5
    assert len(run["times"]) >= run["before"] + 5
    assert run["reports"]["reconnects"] == 1


def test_the_board_is_found_again_under_its_new_name(run):
    assert (run["address"], run["back"]) == ("/dev/ttyACM0", "/dev/ttyACM1")


def test_the_gap_is_reported_at_once_with_its_times(run):
    events = {row[1]: int(row[0]) for row in run["events"]}
    assert [row[1] for row in run["events"]][:2] == ["connected", "lost"]
    assert events["lost"] - run["unplugged_usec"] < 2_000_000
    assert events["connected"] > run["plugged_usec"]
    assert "/dev/ttyACM1" in [row[2] for row in run["events"] if row[1] == "connected"][-1]


def test_no_reading_is_in_the_gap_and_times_never_go_back(run):
    assert all(after >= before for before, after in pairwise(run["times"]))
    times = run["times"]
    assert times[run["before"] - 1] <= run["unplugged_usec"] + 500_000
    assert times[run["before"]] >= run["plugged_usec"]


def test_the_button_changes_on_both_sides_of_the_gap(run):
    for part in (run["values"][: run["before"]], run["values"][run["before"] :]):
        assert set(part) == {0, 1}
        assert all(before != after for before, after in pairwise(part))


def test_the_times_uncertainty_counts_the_usb_frame(run):
    # a byte on the wire, a turn of the firmware's loop, a USB frame
    assert run["metadata"]["uncertainty_usec"] == pytest.approx(173 + 1000 + 1000, abs=1)


def test_every_descriptor_is_closed(run):
    before, after = run["descriptors"]
    assert after <= before + 1  # pyusb keeps its hot-plug descriptor


def test_the_loss_and_the_return_are_logged(seen):
    text = "\n".join(seen["logged"])
    assert "no readings until it is back" in text
    assert "is back at /dev/ttyACM1" in text
