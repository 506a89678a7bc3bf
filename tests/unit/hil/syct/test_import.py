"""Projects of Syntalos 2.x and 3.x become benches; hostile files are refused in words."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import mlink
from mlink.bench import load_bench
from mlink.errors import BenchError, MlinkError, StorageError
from mlink.storage.place import Storage
from mlink_hil.syct import archive
from mlink_hil.syct.folder import import_project
from tests.support.syct import Part, add, info, project

SCRIPT_2X = """import syntalos_mlink as syl
rows = syl.get_output_port("rows")
pins = syl.get_output_port("pins")
def prepare():
    rows.set_metadata_value("table_header", ["Event"])
    return True
def start():
    pins.firmata_register_digital_pin(8, "led", is_output=True)
    rows.submit(["started"])
"""


def led_project(path: Path, *, new_names: bool = False) -> Path:
    ports = {
        "ports_in": [{"id": "readings", "title": "R", "data_type": "FirmataData"}],
        "ports_out": [
            {"id": "rows", "title": "Rows", "data_type": "TableRow"},
            {"id": "pins", "title": "Pins", "data_type": "FirmataControl"},
        ],
    }
    rows = {"rows": ["My Script", "rows"]}
    frames = {"frames-in": ["Käfig: Kamera+1", "video"]}
    about_script = info("pyscript", "My Script", subscriptions={"readings": ["Arduino", "fmdata"]})
    parts: list[Part] = [
        ("pyscript", about_script, ports, SCRIPT_2X.encode()),
        (
            "firmata-io",
            info("firmata-io", "Arduino", subscriptions={"fmctl": ["My Script", "pins"]}),
            {"serial_port": "/dev/ttyACM0"},
            b"",
        ),
        ("table", info("table", "my-script", subscriptions=rows), {}, b""),
        (
            "camera-generic",
            info("camera-generic", "Käfig: Kamera+1", stop_on_failure=False),
            {"camera": 2, "capture_format": "Motion-JPEG", "width": 640, "height": 480,
             "fps": 25.0, "exposure": 12.0},
            b"",
        ),
        (
            "videorecorder",
            info("videorecorder", "Video", subscriptions=frames),
            {"video_codec": 5, "video_container": 1, "lossless": False, "mode": "constant-quality",
             "quality": 21, "bitrate_kbps": 8000, "slices_enabled": 0, "slices_interval": 0,
             "vaapi_enabled": True, "video_name_from_source": True},
            b"",
        ),
        ("table", info("table", "Off", enabled=False, subscriptions=rows), {}, b""),
        (
            "miniscope",
            info("miniscope", "Scope", subscriptions={"in": ["My Script", "x"]}),
            {}, b"",
        ),
        ("cpp-workbench", info("cpp-workbench", "Fast Loop"), {}, b"int main() {}"),
        ("example-py", info("example-py", "Py"), {}, b'{"prefix": "SyTest"}'),
    ]  # fmt: skip
    return project(
        path, parts, new_names=new_names, experiment_id="LED Test",
        interval_run={"count": 3, "duration_min": 2.0, "delay_min": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("new_names", [False, True])
def test_a_project_becomes_a_bench_with_its_scripts_and_devices(
    tmp_path: Path, new_names: bool
) -> None:
    made = import_project(led_project(tmp_path / "led.syct", new_names=new_names), tmp_path / "b")
    assert made.problems == []
    bench = load_bench(made.folder)
    assert bench.name == "led-test"
    assert bench.storage == Storage()
    assert list(bench.modules) == ["my-script", "arduino", "my-script-2", "kafig-kamera-1", "video"]
    assert (made.folder / "my-script.py").read_text() == SCRIPT_2X
    table = tomllib.loads((made.folder / "bench.toml").read_text())
    assert table["devices"] == {"arduino": "/dev/ttyACM0", "kafig-kamera-1": "/dev/video2"}
    assert table["modules"]["my-script"]["ports_in"][0]["data_type"] == "FirmataData"
    assert table["modules"]["my-script-2"]["inputs"] == {"rows": "my-script.rows"}
    video = table["modules"]["video"]
    assert (video["video_codec"], video["mode"], video["quality"]) == (
        "h264",
        "constant-quality",
        21,
    )
    assert "slices_interval" not in video
    assert table["modules"]["kafig-kamera-1"]["pixel_format"] == "MJPG"


def test_places_and_people_of_a_project_are_in_the_bench(tmp_path: Path) -> None:
    """Words of other versions are left out; of the subjects those that have an id, each once."""
    storage = {"order": ["time", "mood", "time", "experiment-id"], "clock_time_in_dir": True,
               "simple_names": False, "flat_root": True, "add_moniker": True}  # fmt: skip
    path = project(
        tmp_path / "p.syct", [("table", info("table", "Rows"), {}, b"")], storage=storage,
        experiment_id="Maze \x9b{n}",
    )  # fmt: skip
    subjects = """[[animal]]
id = "m7"
group = "a"
comment = "one\\nline"
[[animal]]
id = "m7"
[[animal]]
group = "nobody"
[[animal]]
id = "m3"
active = false
"""
    with tarfile.open(path, "a") as tar:
        add(tar, "subjects.toml", subjects)
    made = import_project(path, tmp_path / "b")
    assert made.problems == []
    bench = load_bench(made.folder)
    assert bench.storage == Storage(("time", "experiment-id"), "Maze  {n}", True, True, True)
    assert [(each.id, each.group, each.comment, each.active) for each in bench.subjects] == [
        ("m7", "a", "one line", True), ("m3", "", "", False),
    ]  # fmt: skip
    assert "subjects: m7 (mlink run --subject NAME)" in made.notes
    assert any("names of datasets are simple ones" in note for note in made.notes)


def test_what_is_left_out_and_what_differs_is_named(tmp_path: Path) -> None:
    made = import_project(led_project(tmp_path / "led.syct"), tmp_path / "b")
    left_out, notes = "\n".join(made.left_out), "\n".join(made.notes)
    assert "'Off' (table) is switched off in the project" in left_out
    assert "'Scope' (miniscope): mlink has no such module; it took My Script.x" in left_out
    assert "could stand in: a camera-generic module" in left_out
    assert 'settings_file = "py.settings"' in left_out
    assert "a pyscript module with its ports, and its program in Python; " in left_out
    assert (made.folder / "fast-loop.cpp").read_bytes() == b"int main() {}"
    assert (made.folder / "py.settings").read_bytes() == b'{"prefix": "SyTest"}'
    assert "not by VA-API" in notes
    assert "its controls (exposure = 12) are not taken" in notes
    bench = load_bench(made.folder)
    assert [each.name for each in bench.modules.values() if not each.stop_on_failure] == [
        "kafig-kamera-1"
    ]
    assert "mlink run . --repeat 3 --every 3min --for 120" in notes


FEATURES = b"""Category: AcquisitionControl
\tExposureAuto\tEnumeration\tOff
\tExposureTime\tFloat\t5000.5\tus
\tGainAuto\tEnumeration\tContinuous
\tGain\tFloat\t12.1\tdB
\tTriggerSelector\tEnumeration\tFrameStart
\tTriggerMode\tEnumeration\tOn
\tTriggerSource\tEnumeration\tLine1
\tReverseX\tBoolean\t1
\tGamma\tFloat\tnonsense
\tWidthMax\tInteger\t2048
\tPayload\tRegister\t4\t0x00000000
"""


@pytest.mark.parametrize("binning", [1, 2])
def test_a_genicam_camera_keeps_its_device_and_settings(tmp_path: Path, binning: int) -> None:
    settings = {
        "camera": {"device": "Basler-acA1300, 60gm-2233", "fps": 50, "pixel_format": "Mono8"},
        "roi": {"x": 16, "y": 0, "width": 320, "height": 240, "binning": binning},
        "general": {"flip_horizontal": 1, "rotation": 0},
    }
    frames = {"frames-in": ["Cam", "video"]}
    parts: list[Part] = [
        ("camera-arv", info("camera-arv", "Cam"), settings, FEATURES),
        ("videorecorder", info("videorecorder", "Video", subscriptions=frames), {}, b""),
    ]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    assert made.problems == made.left_out == []
    table = tomllib.loads((made.folder / "bench.toml").read_text())
    assert table["devices"] == {"cam": "genicam:id=Basler-acA1300%2C 60gm-2233"}
    cam = table["modules"]["cam"]
    assert (cam["type"], cam["framerate"], cam["pixel_format"]) == ("camera-generic", 50, "Mono8")
    size = {"BinningHorizontal": 2, "BinningVertical": 2, "Width": 320, "Height": 240}
    assert cam.get("size") == ([320, 240] if binning == 1 else None)
    assert cam["features"] == (size if binning == 2 else {}) | {
        "OffsetX": 16,
        "ExposureAuto": "Off",
        "ExposureTime": 5000.5,
        "GainAuto": "Continuous",
        "ReverseX": True,
        "TriggerSource[TriggerSelector=FrameStart]": "Line1",
        "TriggerMode[TriggerSelector=FrameStart]": "On",
    }
    assert list(cam["features"])[-1].startswith("TriggerMode")
    assert (made.folder / "cam.features.txt").read_bytes() == FEATURES
    assert "flip_horizontal: a videotransform module does that" in "\n".join(made.notes)
    done = mlink.run(
        load_bench(made.folder, devices=made.folder / "virtual.toml"),
        duration_s=1, out=tmp_path / "rec", time="virtual",
    )  # fmt: skip
    assert done.success, done.failures
    assert done.reports["cam"]["frames"] > 10


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("videorecorder", {"video_codec": [1]}),
        ("videorecorder", {"video_container": {"a": 1}}),
        ("camera-generic", {"fps": "fast"}),
        ("camera-generic", {"capture_format": [[]]}),
        ("camera-arv", {"camera": {"fps": "fast"}}),
        ("camera-arv", {"roi": {"width": "wide", "height": 2}}),
    ],
)
def test_settings_of_other_types_leave_a_module_out_in_words(
    tmp_path: Path, id: str, settings: dict[str, object]
) -> None:
    parts: list[Part] = [(id, info(id, "M"), settings, b""), ("table", info("table", "T"), {}, b"")]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    (left_out,) = made.left_out
    assert f"'M' ({id}): its settings cannot be used" in left_out
    assert list(load_bench(made.folder).modules) == ["t"]


def test_an_imported_project_runs_on_virtual_devices(tmp_path: Path) -> None:
    made = import_project(led_project(tmp_path / "led.syct"), tmp_path / "b")
    done = mlink.run(
        load_bench(made.folder, devices=made.folder / "virtual.toml"),
        duration_s=1, out=tmp_path / "rec", time="virtual",
    )  # fmt: skip
    assert done.success
    with mlink.open_recording(done.recording_dir) as recording:
        assert [list(row) for row in recording.table().rows] == [["started"]]
        assert len(recording.video()) > 10


def test_the_command_line_imports_and_runs_a_project(tmp_path: Path) -> None:
    ports = {"ports_out": [{"id": "rows", "title": "", "data_type": "TableRow"}]}
    script = b"import syntalos_mlink as syl\ndef start(): print('runs')\n"
    path = project(tmp_path / "p.syct", [("pyscript", info("pyscript", "s"), ports, script)])
    cli = Path(sys.executable).with_name("mlink")
    done = subprocess.run(
        [cli, "import", path, "--out", tmp_path / "b"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 module in" in done.stdout
    done = subprocess.run(
        [cli, "run", path, "--for", "0.2", "--no-record", "--plain"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs" in done.stdout
    done = subprocess.run([cli, "import", tmp_path / "no.syct"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no file" in done.stderr


def test_connections_that_do_not_fit_are_cut_with_a_note(tmp_path: Path) -> None:
    ports = {"ports_in": [], "ports_out": [{"id": "rows", "title": "", "data_type": "TableRow"}]}
    parts: list[Part] = [
        ("pyscript", info("pyscript", "s"), ports, b"import syntalos_mlink\n"),
        ("table", info("table", "t", subscriptions={"rows": ["s", "nope"]}), {}, b""),
        ("table", info("table", "u", subscriptions={"rows": ["ghost", "rows"], "x": 5}), {}, b""),
        ("canvas", info("canvas", "c", subscriptions={"frames-in": ["s", "rows"]}), {}, b""),
    ]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    assert made.problems == []
    notes = "\n".join(made.notes)
    assert "'s' (pyscript) has no output port 'nope'" in notes
    assert "there is no module 'ghost'" in notes
    assert "'u.x': its connection is not readable" in notes
    assert "'s.rows' sends TableRow, but 'c.frames-in' accepts Frame" in notes
    assert len(load_bench(made.folder).modules) == 4


def test_old_names_of_2x_are_taken(tmp_path: Path) -> None:
    ports = {"ports_out": [{"id": "sines", "title": "", "data_type": "FloatSignalBlock"}]}
    parts: list[Part] = [
        ("pyscript", info("pyscript", "s"), ports, b"import syntalos_mlink\n"),
        (
            "jsonwriter",
            info("jsonwriter", "j", subscriptions={"fpsig1-in": ["s", "sines"]}),
            {},
            b"",
        ),
        ("devel.latencycheck", info("devel.latencycheck", "l"), {}, b""),
    ]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    modules = load_bench(made.folder).modules
    assert [modules[key].type.id for key in ("j", "l")] == ["jsonwriter", "latencycheck"]
    (connection,) = modules["j"].connections
    assert (connection.port, connection.source_port) == ("f32sig-in", "sines")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_project_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = led_project(tmp_path / "led.syct")
    path.write_bytes(pack(path.read_bytes()))
    assert import_project(path, tmp_path / "b").modules == 5


def link(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("0/info.toml")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(member)


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], object], str]] = {
    "a link": (link, "is a link"),
    "a name outside": (lambda tar: add(tar, "../x.py", b""), "leads out of the archive"),
    "an absolute name": (lambda tar: add(tar, "/x.py", b""), "leads out of the archive"),
    "no TOML": (lambda tar: add(tar, "0/info.toml", b"id = "), r"0/info.toml is no TOML"),
    "Latin-1": (lambda tar: add(tar, "0/info.toml", b'id = "\xe4"'), "is no TOML"),
    "deep nesting": (
        lambda tar: add(tar, "0/info.toml", b"a = " + b"[" * 100_000), "is no TOML"),
    "a module without a name": (
        lambda tar: add(tar, "0/info.toml", b'id = "table"'), "missing required field `name`"),
    "subjects of another shape": (
        lambda tar: add(tar, "subjects.toml", b"subject = [5]"), "subjects.toml"),
    "a name twice": (
        lambda tar: [add(tar, f"{n}/info.toml", b'id = "table"\nname = "t"') for n in (0, 1)],
        "two modules of the name 't'"),
    "more inputs than a module has": (
        lambda tar: add(tar, "0/info.toml", b'id = "table"\nname = "t"\n[subscriptions]\n'
                        + b"".join(b"p%d = ['t', 'x']\n" % n for n in range(1001))),
        "length <= 1000"),
    "no modules": (lambda tar: None, "has none of the project's modules"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_project_is_refused_in_words_and_writes_nothing(
    tmp_path: Path, kind: str
) -> None:
    add_part, words = HOSTILE[kind]
    path = tmp_path / "p.syct"
    with tarfile.open(path, "w") as tar:
        add(tar, "main.toml", 'version_format = "1"')
        add_part(tar)
    with pytest.raises(MlinkError, match=words):
        import_project(path, tmp_path / "b")
    assert not any((tmp_path / "b").glob("*")) if (tmp_path / "b").exists() else True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no main.toml|cannot be read"),
        (b"\x1f\x8b broken", "cannot be read"),
        (gzip.compress(bytes(70_000_000)), "larger than 64 MB"),
        (b"hello" * 1000, "cannot be read"),
    ],
)
def test_what_is_no_project_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "p.syct"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=words):
        archive.read_project(path)


def test_control_characters_of_a_project_do_not_reach_the_terminal(tmp_path: Path) -> None:
    name = "x\x1b]0;title\x07\n" + "y" * 5000
    script = ("pyscript", info("pyscript", "s"), {}, b"import syntalos_mlink\n")
    parts: list[Part] = [script, ("intan-rhx", info("intan-rhx", name), {}, b"")]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    (line,) = made.left_out
    assert line.isprintable()
    assert len(line) < 500


def test_modules_of_trials_are_taken(tmp_path: Path) -> None:
    source = {"fps": 30, "color_video": False, "sample_rate": 1000.0, "test_freq_low": 2.0}
    flows = info("flowmeter", "m", subscriptions={"data-in": ["s", "frames-out"]})
    parts: list[Part] = [
        ("devel.datasource", info("devel.datasource", "s"), source, b""),
        (
            "devel.clock",
            info("devel.clock", "c"),
            {"interval_us": 1000, "high_priority": True},
            b"",
        ),
        ("flowmeter", flows, {"data_type": "Frame"}, b""),
    ]
    made = import_project(project(tmp_path / "p.syct", parts), tmp_path / "b")
    assert (made.modules, made.left_out, made.problems) == (3, [], [])
    assert load_bench(made.folder).modules["s"].settings.fps == 30


def test_a_folder_with_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").write_text("")
    with pytest.raises(StorageError, match=r"has files already, such as mine\.txt"):
        import_project(led_project(tmp_path / "led.syct"), tmp_path / "b")
