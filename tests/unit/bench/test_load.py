"""A bench file is read and checked; all problems are reported at once, with a remedy."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from mlink.bench import Connection, load_bench
from mlink.bench import lab as lab_files
from mlink.bench.file import MAX_BYTES, Problem
from mlink.errors import BenchError
from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType


class CameraSettings(ModuleSettings):
    size: tuple[int, int] = (640, 480)
    framerate: float = 30.0
    mode: Literal["fast", "slow"] = "fast"
    camera: int | None = None

    def __post_init__(self):
        if self.framerate <= 0:
            raise ValueError("framerate must be more than 0")


class Port(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    data_type: str


class ScriptSettings(ModuleSettings):
    script: str
    ports_in: list[Port] = []
    ports_out: list[Port] = []
    options: dict[str, dict[str, int]] = {}

    def check(self, bench_dir):
        if (bench_dir / self.script).is_file():
            return []
        return [f"script: there is no file {bench_dir / self.script}"]


def script_ports(settings):
    return tuple(
        tuple(PortSpec(port.id, DataType[port.data_type]) for port in ports)
        for ports in (settings.ports_in, settings.ports_out)
    )


def make_type(id, settings_type=ModuleSettings, **given):
    return ModuleType(
        id=id,
        title=id,
        summary="",
        category=Category.PROCESSING,
        settings=settings_type,
        implementation="nowhere:Nothing",
        **given,
    )


CATALOG = {
    "camera": make_type(
        "camera",
        CameraSettings,
        outputs=(PortSpec("video", DataType.Frame),),
        uses_device=True,
    ),
    "script": make_type("script", ScriptSettings, ports=script_ports),
    "recorder": make_type("recorder", inputs=(PortSpec("frames-in", DataType.Frame),)),
    "table": make_type("table", inputs=(PortSpec("rows", DataType.TableRow),)),
}

GOOD = """
[bench]
name = "good"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera"
device = "eye"
framerate = 60
[modules.loop]
type = "script"
script = "loop.py"
ports_in = [{ id = "frame-in", data_type = "Frame" }]
ports_out = [{ id = "table-out", data_type = "TableRow" }]
inputs = { frame-in = "cam.video" }
[modules.video.inputs]
frames-in = { from = "cam.video", queue = 4096 }
[modules.video]
type = "recorder"
[modules.events]
type = "table"
inputs = { rows = "loop.table-out" }
"""


@pytest.fixture
def load(tmp_path):
    """Load a bench from its text; "loop.py" is in its folder."""
    (tmp_path / "loop.py").touch()
    path = tmp_path / "bench.toml"

    def load(text=GOOD, **options):
        path.write_text(text)
        return load_bench(path, catalog=CATALOG, **options)

    return load


@pytest.fixture
def complaint(load):
    """Return the message about a bench that is wrong."""

    def complaint(text=GOOD, **options):
        with pytest.raises(BenchError) as error:
            load(text, **options)
        return str(error.value)

    return complaint


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


# --- what is right ------------------------------------------------------------------------------


def test_a_bench_is_read(load, tmp_path):
    bench = load()
    assert bench.name == "good"
    assert bench.path == tmp_path / "bench.toml"
    assert bench.dir == tmp_path
    assert list(bench.modules) == ["cam", "loop", "video", "events"]


def test_settings_are_typed(load):
    settings = load().modules["cam"].settings
    assert settings == CameraSettings(framerate=60.0)


def test_inputs_become_connections(load):
    modules = load().modules
    assert modules["loop"].connections == (Connection("frame-in", "cam", "video"),)
    assert modules["video"].connections == (Connection("frames-in", "cam", "video", 4096),)


def test_ports_of_a_script_come_from_its_settings(load):
    loop = load().modules["loop"]
    assert loop.inputs == (PortSpec("frame-in", DataType.Frame),)
    assert loop.outputs == (PortSpec("table-out", DataType.TableRow),)


def test_a_device_is_a_key_of_the_table(load):
    bench = load()
    assert bench.modules["cam"].device == "eye"
    assert bench.device_spec("eye") == "virtual:scene"


def test_a_device_may_be_given_directly(load):
    bench = load(changed('device = "eye"', 'device = "/dev/video0"'))
    assert bench.device_spec(bench.modules["cam"].device) == "/dev/video0"


def test_a_setting_that_names_a_device_replaces_the_key(load):
    assert load(changed('device = "eye"', "camera = 0")).modules["cam"].device is None


def test_a_folder_means_the_bench_in_it(load, tmp_path):
    load()
    assert load_bench(tmp_path, catalog=CATALOG).name == "good"


def test_a_bench_without_a_name_is_called_as_its_folder(load, tmp_path):
    assert load(changed('name = "good"', "")).name == tmp_path.name


def test_a_module_may_feed_itself_and_modules_may_form_cycles(load):
    text = changed('data_type = "TableRow" }', 'data_type = "Frame" }')
    text = text.replace('"cam.video" }\n[modules.video', '"loop.table-out" }\n[modules.video')
    text = text.replace('rows = "loop.table-out"', "")
    assert load(text).modules["loop"].connections[0].source_module == "loop"


# --- options ------------------------------------------------------------------------------------


def test_a_device_file_replaces_the_devices(load, tmp_path):
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\neye = "/dev/video2"\n')
    assert load(devices=lab).devices == {"eye": "/dev/video2"}


def test_a_device_file_that_lacks_a_device_is_reported(complaint, tmp_path):
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\neyes = "/dev/video2"\n')
    assert "'eye' is not in the [devices] table\n  → Did you mean 'eyes'?" in complaint(devices=lab)


def test_a_device_file_holds_nothing_but_devices(complaint, tmp_path):
    lab = tmp_path / "lab.toml"
    lab.write_text('[devises]\neye = "/dev/video2"\n')
    message = complaint(devices=lab)
    assert "lab.toml" in message
    assert "Did you mean 'devices'?" in message


def test_a_device_file_changes_keys_of_modules_and_the_command_line_has_the_last_word(
    load, tmp_path
):
    lab = tmp_path / "lab.toml"
    lab.write_text(
        '[devices]\neye = "/dev/video2"\n[modules.cam]\nframerate = 5\nsize = [320, 240]\n'
    )
    cam = load(devices=lab).modules["cam"].settings
    assert (cam.framerate, cam.size, cam.mode) == (5.0, (320, 240), "fast")
    cam = load(devices=lab, overrides=["cam.framerate=7"]).modules["cam"].settings
    assert (cam.framerate, cam.size) == (7.0, (320, 240))


def test_an_invalid_setting_of_a_devices_file_is_reported_with_its_name(complaint, tmp_path):
    lab = tmp_path / "lab.toml"
    head = '[devices]\neye = "/dev/video2"\n'
    lab.write_text(head + "[modules.cam]\nframerate = 'quick'\nfps = 3\n")
    message = complaint(devices=lab)
    assert f"[modules.cam] framerate of {lab}: expected 'float', got 'str'" in message
    assert f"[modules.cam] fps of {lab}: unknown key" in message
    lab.write_text(head + "[modules.can]\nframerate = 5\n")
    message = complaint(devices=lab)
    assert f"{lab}: [modules]: there is no module 'can' in the bench" in message
    assert "Did you mean 'cam'?" in message
    lab.write_text(head + "[modules]\ncam = 5\n")
    assert "lab.toml: [modules]: expected 'object', got 'int'" in complaint(devices=lab)


def test_a_table_of_a_device_file_belongs_to_who_announced_it(
    load, complaint, tmp_path, monkeypatch
):
    def check(given, devices):
        wrong = [f"{name} is no device" for name in given if name not in devices]
        return [Problem("[shelf]", what, "Buy one.") for what in wrong]

    monkeypatch.setattr(lab_files, "lab_table_names", lambda: ["shelf"])
    monkeypatch.setattr(lab_files, "lab_table", lambda name: check)
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\neye = "/dev/video2"\n[shelf]\neye = 3\n')
    assert load(devices=lab).lab == {"shelf": {"eye": 3}}
    lab.write_text('[devices]\neye = "/dev/video2"\n[shelf]\near = 3\n')
    assert "[shelf]: ear is no device\n  → Buy one." in complaint(devices=lab)
    lab.write_text('[devices]\neye = "/dev/video2"\n[shelv]\n')
    assert "Did you mean 'shelf'?" in complaint(devices=lab)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("cam.framerate=25", "framerate", 25.0),
        ("cam.size=[320, 240]", "size", (320, 240)),
        ("cam.mode=slow", "mode", "slow"),
        ('cam.mode="slow"', "mode", "slow"),
    ],
)
def test_set_replaces_one_setting(load, override, key, value):
    assert getattr(load(overrides=[override]).modules["cam"].settings, key) == value


def test_set_reaches_into_tables(load):
    bench = load(overrides=["video.inputs.frames-in.queue=7", "loop.options.a.b=3"])
    assert bench.modules["video"].connections[0].queue == 7
    assert bench.modules["loop"].settings.options == {"a": {"b": 3}}


def test_set_can_change_type_and_device(load):
    bench = load(overrides=["cam.device=/dev/video1"])
    assert bench.modules["cam"].device == "/dev/video1"


@pytest.mark.parametrize("override", ["cam", "cam=3", "cam.=3", ".x=3", "=", ""])
def test_set_of_another_form_is_refused(complaint, override):
    assert "not of the form module.key=value" in complaint(overrides=[override])


def test_set_of_an_unknown_module_or_key_proposes_the_nearest(complaint):
    message = complaint(overrides=["camm.framerate=3", "cam.framrate=3"])
    assert "--set camm.framerate: there is no module 'camm'" in message
    assert "Did you mean 'cam'?" in message
    assert "--set cam.framrate: unknown key" in message
    assert "Did you mean 'framerate'?" in message


def test_set_of_a_wrong_value_names_the_option(complaint):
    message = complaint(overrides=["cam.framerate=many"])
    assert "--set cam.framerate: expected 'float', got 'str'" in message


# --- what is wrong ------------------------------------------------------------------------------


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(BenchError, match=r"there is no file .*nix\.toml"):
        load_bench(tmp_path / "nix.toml", catalog=CATALOG)


def test_a_syntax_error_names_the_line(complaint):
    message = complaint("[bench]\nname = good\n")
    assert "bench.toml is not valid TOML" in message
    assert "line 2" in message


def test_a_key_that_is_given_twice_is_reported_with_a_remedy(complaint):
    message = complaint(GOOD + '\n[modules.events.inputs]\nrows = "loop.table-out"\n')
    assert "line" in message
    assert "is given twice" in message


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"x = 1" + b"#" * MAX_BYTES, b"x=" + b"[" * 10000, b"x=" + b"9" * 9999]
)
def test_what_is_no_bench_at_all_is_refused(tmp_path, content):
    path = tmp_path / "bench.toml"
    path.write_bytes(content)
    with pytest.raises(BenchError):
        load_bench(path, catalog=CATALOG)


CASES = {
    "an unknown table": (
        ("[bench]", "[bensch]"),
        "[bensch]: unknown key",
        "Did you mean 'bench'?",
    ),
    "an unknown key of the bench": (
        ('name = "good"', 'nam = "good"'),
        "[bench] nam: unknown key",
        "Did you mean 'name'?",
    ),
    "an unknown setting": (
        ("framerate = 60", "framrate = 60"),
        "[modules.cam] framrate: unknown key",
        "Did you mean 'framerate'?",
    ),
    "a misspelt reserved key": (
        ('device = "eye"', 'devise = "eye"'),
        "[modules.cam] devise: unknown key",
        "Did you mean 'device'?",
    ),
    "a value of the wrong type": (
        ("framerate = 60", 'framerate = "60"'),
        "[modules.cam] framerate: expected 'float', got 'str'",
        "mlink modules",
    ),
    "a value inside a list": (
        ('id = "frame-in"', "id = 3"),
        "[modules.loop] ports_in[0].id: expected 'str', got 'int'",
        "mlink modules",
    ),
    "a value outside its choice": (
        ("framerate = 60", 'mode = "medium"'),
        "[modules.cam] mode: invalid enum value 'medium'",
        "Known values: fast, slow.",
    ),
    "a value that the module refuses": (
        ("framerate = 60", "framerate = -1"),
        "[modules.cam]: framerate must be more than 0",
        "mlink modules",
    ),
    "a missing setting": (
        ('script = "loop.py"', ""),
        "[modules.loop]: 'script' is missing",
        "mlink modules",
    ),
    "a missing script": (
        ('script = "loop.py"', 'script = "nix.py"'),
        "[modules.loop] script: there is no file",
        "paths are relative to the folder of that file",
    ),
    "an unknown module type": (
        ('type = "recorder"', 'type = "recoder"'),
        "[modules.video] type: unknown module type 'recoder'",
        "Did you mean 'recorder'?",
    ),
    "a module without a type": (
        ('type = "recorder"', ""),
        "[modules.video]: the module has no 'type'",
        "mlink modules",
    ),
    "a misspelt source module": (
        ('rows = "loop.table-out"', 'rows = "lop.table-out"'),
        "[modules.events] inputs.rows: there is no module 'lop'",
        "Did you mean 'loop'?",
    ),
    "a misspelt output port": (
        ('rows = "loop.table-out"', 'rows = "loop.tabel-out"'),
        "[modules.events] inputs.rows: 'loop' (script) has no output port 'tabel-out'",
        "Did you mean 'table-out'?",
    ),
    "a misspelt input port": (
        ('frame-in = "cam.video"', 'fram-in = "cam.video"'),
        "[modules.loop] inputs.fram-in: 'loop' (script) has no input port 'fram-in'",
        "Did you mean 'frame-in'?",
    ),
    "a source without a port": (
        ('frame-in = "cam.video"', 'frame-in = "cam"'),
        "[modules.loop] inputs.frame-in: 'cam' is not of the form \"module.port\"",
        "Did you mean 'cam.video'?",
    ),
    "a stream of the wrong type": (
        ('rows = "loop.table-out"', 'rows = "cam.video"'),
        "[modules.events] inputs.rows: 'cam.video' sends Frame, but 'events.rows' accepts TableRow",
        "Outputs that fit: loop.table-out.",
    ),
    "an input that is connected twice": (
        ('rows = "loop.table-out"', 'rows = ["loop.table-out", "loop.table-out"]'),
        "[modules.events] inputs.rows: an input accepts one stream, but 2 are given",
        "an input port for each stream",
    ),
    "an unknown key of a connection": (
        ("queue = 4096", "queu = 4096"),
        "[modules.video] inputs.frames-in.queu: unknown key",
        "Did you mean 'queue'?",
    ),
    "a queue without length": (
        ("queue = 4096", "queue = 0"),
        "[modules.video] inputs.frames-in.queue: expected 'int' >= 1",
        "mlink modules",
    ),
    "a device that is not in the table": (
        ('device = "eye"', 'device = "eyes"'),
        "[modules.cam] device: 'eyes' is not in the [devices] table",
        "Did you mean 'eye'?",
    ),
    "a module that lacks its device": (
        ('device = "eye"', ""),
        "[modules.cam]: a module of type 'camera' needs a device",
        "one of: eye",
    ),
    "a device for a module that uses none": (
        ('type = "recorder"', 'type = "recorder"\ndevice = "eye"'),
        "[modules.video] device: a module of type 'recorder' uses no device",
        "Remove this key.",
    ),
    "a device that is no text": (
        ('eye = "virtual:scene"', "eye = 5"),
        "[devices] eye: '5' is not a device",
        "mlink devices",
    ),
    "a misspelt kind of device": (
        ('eye = "virtual:scene"', 'eye = "virtul:scene"'),
        "[devices] eye: unknown kind of device 'virtul:scene'",
        "Did you mean 'virtual:scene'?",
    ),
    "a module's name with a dot": (
        ("[modules.events]", '[modules."eve.nts"]'),
        "'eve.nts' cannot be a module's name",
        "letters, digits",
    ),
    "two ports of one id": (
        ('ports_out = [{ id = "table-out"', 'ports_out = [{ id = "table-out", '
         'data_type = "TableRow" }, { id = "table-out"'),
        "[modules.loop]: 2 output ports have the id 'table-out'",
        "an id of its own",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mistake_is_reported_with_its_place_and_remedy(complaint, case):
    (old, new), problem, remedy = CASES[case]
    message = complaint(changed(old, new))
    assert problem in message
    assert remedy in message
    assert "bench.toml" in message
    assert "problems" not in message, "one mistake is one problem, without follow-on ones"


def test_a_path_that_no_file_system_accepts_is_reported(complaint):
    message = complaint(changed('"loop.py"', f'"{"x" * 5000}"'))
    assert "name too long" in message or "there is no file" in message  # from Python 3.14 on


def test_a_bench_without_modules_is_refused(complaint):
    assert "there are no modules" in complaint('[bench]\nname = "empty"\n')


def test_a_module_that_is_no_table_is_refused(complaint):
    assert "'3' is not a table" in complaint("[modules]\ncam = 3\n")


def test_all_mistakes_are_reported_together(complaint):
    text = changed("framerate = 60", "framrate = 60").replace('"recorder"', '"recoder"')
    text = text.replace('"loop.table-out"', '"lop.table-out"')
    message = complaint(text)
    assert "has 3 problems" in message
    assert "framrate" in message
    assert "recoder" in message
    assert "'lop'" in message


def test_several_mistakes_in_one_table_are_reported_together(complaint):
    message = complaint(changed("framerate = 60", 'framerate = "a"\nsize = 3\nmod = "fast"'))
    assert "has 3 problems" in message


def test_thousands_of_mistakes_are_counted_not_printed(complaint):
    many = "".join(f"\nsurplus{number} = 1" for number in range(3000))
    message = complaint(changed("framerate = 60", many))
    assert "has 3000 problems" in message
    assert len(message.splitlines()) < 60
