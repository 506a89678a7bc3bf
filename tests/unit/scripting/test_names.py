"""Every name of `syntalos_mlink`, with its signature: the reference, line by line.

A name that is missing, or that takes other arguments, fails here.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import syntalos_mlink as syl
from tests.support import ROOT

FUNCTIONS = """
init_link(*, rename_process=False)
get_input_port(id)
get_output_port(id)
time_since_start_msec()
time_since_start_usec()
is_running()
await_data(timeout_usec=-1)
wait(msec)
wait_sec(sec)
schedule_delayed_call(delay_msec, callable_fn)
raise_error(message)
println(text)
new_line_command(kind, line_id, value=0)
call_on_show_settings(callable_fn)
call_on_show_display(callable_fn)
save_settings(settings)
new_firmatactl_with_id_name(kind, pin_id, name)
new_firmatactl_with_id(kind, pin_id)
new_firmatactl_with_name(kind, name)
"""

METHODS = """
HwOutputLine(port, line_id, analog=False)
HwOutputLine.send_mode()
HwOutputLine.set_value(value)
HwOutputLine.pulse(duration_usec=2500)
HwOutputLine.pulse_msec(duration_msec=50)
HwOutputLine.set_analog_value(value)
HwInputLine(port, line_id, pullup=False)
HwInputLine.send_mode()
InputPort.set_throttle_items_per_sec(items_per_sec)
OutputPort.submit(data)
OutputPort.set_metadata_value(key, value)
OutputPort.set_metadata_value_size(key, value)
OutputPort.set_metadata(metadata)
OutputPort.firmata_register_digital_pin(pin_id, name, is_output, is_pullup=False)
OutputPort.firmata_submit_digital_value(name, value)
OutputPort.firmata_submit_digital_pulse(name, duration_msec=50)
SyntalosLink.register_input_port(id, title, data_type)
SyntalosLink.register_output_port(id, title, data_type)
SyntalosLink.await_data(timeout_usec=-1)
SyntalosLink.await_data_forever(event_fn=None)
SyntalosLink.signal_idle()
SyntalosLink.set_status_message(message=None)
SyntalosLink.create_default_dataset(preferred_name='')
SyntalosLink.create_storage_group(name)
SyntalosLink.create_dataset_in_group(group, name)
SyntalosLink.init_clock_synchronizer(expected_frequency_hz=0.0, id='')
EdlDataset.set_data_file(file_name, summary='', scan=False)
EdlDataset.add_aux_file(file_name, key='', summary='', scan=False)
EdlDataset.path_for_basename(basename)
EdlDataset.set_attribute(key, value)
EdlGroup.create_group(name)
EdlGroup.create_dataset(name)
EdlGroup.set_attribute(key, value)
"""

SYNCHRONIZER = """
set_strategies/1 set_tolerance_usec/1 set_calibration_points_count/1
set_expected_clock_frequency_hz/1 start/0 stop/0 process_timestamp/2
"""

READ_ONLY = {
    "InputPort": ["name", "metadata"],
    "OutputPort": ["name"],
    "HwOutputLine": ["line_id"],
    "HwInputLine": ["line_id"],
    "SignalBlockI32": ["length", "rows", "cols"],
    "SignalBlockU16": ["length", "rows", "cols"],
    "SignalBlockF32": ["length", "rows", "cols"],
    "SyntalosLink": ["is_running", "run_uuid", "root_group"],
    "EdlDataset": ["path", "name", "is_empty"],
    "EdlGroup": ["path", "name"],
    "SecondaryClockSynchronizer": [
        "is_calibrated",
        "expected_offset_to_master_usec",
        "clock_correction_offset_usec",
    ],
}

READ_WRITE = {
    "InputPort": ["on_data"],
    "Frame": ["mat", "time"],
    "LineReading": ["time"],
    "FirmataControl": ["command"],
    "FirmataData": ["time"],
    "SignalBlockI32": ["timestamps", "data"],
    "SyntalosLink": [
        "on_prepare",
        "on_start",
        "on_stop",
        "on_show_settings",
        "on_show_display",
        "on_save_settings",
        "on_load_settings",
        "allow_async_start",
    ],
}

DEFAULTS = {
    "MetaSize": {"width": 0, "height": 0},
    "Frame": {"index": 0, "time_usec": 0},
    "ControlCommand": {"kind": syl.ControlCommandKind.UNKNOWN, "duration": 0, "command": ""},
    "LineCommand": {
        "kind": syl.LineCommandKind.UNKNOWN,
        "line_id": 0,
        "value": 0,
        "duration_usec": 0,
        "flags": 0,
        "extra": b"",
    },
    "LineReading": {"line_id": 0, "value": 0, "time_usec": 0},
    "FirmataControl": {
        "kind": syl.FirmataControlKind.UNKNOWN,
        "pin_id": 0,
        "pin_name": "",
        "is_output": False,
        "is_pullup": False,
        "value": 0,
    },
    "FirmataData": {"pin_id": 0, "pin_name": "", "value": 0, "is_digital": True, "time_usec": 0},
    "SignalBlockI32": {"length": 0},
    "SignalBlockU16": {"length": 0},
    "SignalBlockF32": {"length": 0},
    "IntSignalBlock": {"length": 0},
    "FloatSignalBlock": {"length": 0},
}

ENUMS = {
    "ControlCommandKind": "UNKNOWN START PAUSE STOP STEP CUSTOM",
    "LineCommandKind": (
        "UNKNOWN SET_MODE WRITE_DIGITAL WRITE_ANALOG WRITE_DIGITAL_PULSE WRITE_ANALOG_PULSE "
        "DEVICE_SPECIFIC"
    ),
    "LineModeFlags": "NONE IS_INPUT IS_OUTPUT PULL_UP",
    "DataType": (
        "ControlCommand TableRow Frame LineCommand LineReading SignalBlockI32 SignalBlockU16 "
        "SignalBlockF32 FirmataControl FirmataData IntSignalBlock FloatSignalBlock"
    ),
    "FirmataControlKind": (
        "UNKNOWN NEW_DIG_PIN NEW_ANA_PIN IO_MODE WRITE_ANALOG WRITE_DIGITAL WRITE_DIGITAL_PULSE "
        "SYSEX"
    ),
    "TimeSyncStrategy": (
        "NONE SHIFT_TIMESTAMPS_FWD SHIFT_TIMESTAMPS_BWD ADJUST_CLOCK WRITE_TSYNCFILE"
    ),
}

TYPES_2X = ["VectorDouble"]

ALIASES = {"FirmataCommandKind": "FirmataControlKind", "IntSignalBlock": "SignalBlockI32"}


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, member) for name, members in table.items() for member in members]


def shown(name: str, function: object, *, method: bool) -> str:
    """The signature without annotations, as the reference writes it."""
    assert callable(function)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return f"{name}{inspect.Signature(plain)}"


@pytest.mark.parametrize("line", FUNCTIONS.split("\n")[1:-1])
def test_function(line: str) -> None:
    name = line.partition("(")[0]
    assert shown(name, getattr(syl, name), method=False) == line


@pytest.mark.parametrize("line", METHODS.split("\n")[1:-1])
def test_method(line: str) -> None:
    name = line.partition("(")[0]
    class_name, _, method = name.partition(".")
    owner = getattr(syl, class_name)
    if method:
        assert shown(name, getattr(owner, method), method=True) == line
    else:
        assert shown(name, owner, method=False).partition(" ->")[0] == line


@pytest.mark.parametrize("entry", SYNCHRONIZER.split())
def test_synchronizer_method(entry: str) -> None:
    name, _, count = entry.partition("/")
    parameters = inspect.signature(getattr(syl.SecondaryClockSynchronizer, name)).parameters
    assert len(parameters) == 1 + int(count)


@pytest.mark.parametrize(("class_name", "member"), pairs(READ_ONLY))
def test_read_only_property(class_name: str, member: str) -> None:
    found = inspect.getattr_static(getattr(syl, class_name), member)
    assert isinstance(found, property)
    assert found.fset is None


@pytest.mark.parametrize(("class_name", "member"), pairs(READ_WRITE))
def test_read_write_property(class_name: str, member: str) -> None:
    found = inspect.getattr_static(getattr(syl, class_name), member)
    assert isinstance(found, property)
    assert found.fset is not None


@pytest.mark.parametrize("class_name", DEFAULTS)
def test_value_without_arguments_has_the_defaults(class_name: str) -> None:
    value = getattr(syl, class_name)()
    assert {name: getattr(value, name) for name in DEFAULTS[class_name]} == DEFAULTS[class_name]


@pytest.mark.parametrize("enum_name", ENUMS)
def test_enum_has_its_members(enum_name: str) -> None:
    assert list(getattr(syl, enum_name).__members__) == ENUMS[enum_name].split()


@pytest.mark.parametrize("enum_name", ENUMS)
def test_text_of_a_member_has_its_class(enum_name: str) -> None:
    for name, member in getattr(syl, enum_name).__members__.items():
        shown = f"{enum_name}.{member.name}"
        assert [str(member), f"{member}", "%s" % member] == [shown] * 3, name  # noqa: UP031
        assert int(member) == member.value


@pytest.mark.parametrize("enum_name", ["ControlCommandKind", "LineCommandKind", "DataType"])
def test_a_member_of_a_kind_is_no_number(enum_name: str) -> None:
    for member in getattr(syl, enum_name):
        assert member != int(member)


@pytest.mark.parametrize(("name", "other"), ALIASES.items())
def test_alias(name: str, other: str) -> None:
    assert getattr(syl, name) is getattr(syl, other)


def test_the_error_is_an_exception_of_its_own() -> None:
    assert syl.SyntalosPyError.__bases__ == (Exception,)


def test_nothing_else_is_public() -> None:
    named = {line.partition("(")[0] for line in FUNCTIONS.split("\n")[1:-1]}
    named |= {line.partition("(")[0].partition(".")[0] for line in METHODS.split("\n")[1:-1]}
    named |= {*READ_ONLY, *READ_WRITE, *DEFAULTS, *ENUMS, *ALIASES, *TYPES_2X, "SyntalosPyError"}
    assert set(syl.__all__) == named


@pytest.mark.parametrize("name", syl.__all__)
def test_every_name_is_in_the_table_for_people_who_come_from_syntalos(name: str) -> None:
    tables = re.findall(r"^\| (.*?) \|", (ROOT / "docs/syntalos.md").read_text(), re.MULTILINE)
    assert f"`{name}`" in " ".join(tables)


@pytest.mark.parametrize("name", syl.__all__)
def test_every_name_is_documented_and_listed(name: str) -> None:
    assert getattr(syl, name).__doc__
    assert name in dir(syl)


@pytest.mark.parametrize("name", ["init_link", "InputPort", "TimeSyncStrategy", "FirmataControl"])
def test_star_import_has_the_name(name: str) -> None:
    names: dict[str, object] = {}
    exec("from syntalos_mlink import *", names)
    assert name in names


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("get_inputport", "get_input_port"),
        ("LineComand", "LineCommand"),
        ("time_since_start_us", "time_since_start_usec"),
        ("FirmataCtl", "FirmataControl"),
    ],
)
def test_unknown_name_proposes_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
        getattr(syl, wrong)


def test_name_unlike_any_other_lists_them_all() -> None:
    with pytest.raises(AttributeError, match="await_data, call_on_show_display"):
        _ = syl.qqqqq  # type: ignore[attr-defined]


def test_importing_it_brings_nothing_heavy() -> None:
    heavy = "cv2 av typer rich serial usb pyudev tomli_w mlink.sync mlink.storage"
    code = f"import sys, syntalos_mlink; print([m for m in {heavy.split()} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
