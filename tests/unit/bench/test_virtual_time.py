"""`[bench] time`: what it may be, and which benches are refused virtual time, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

import mlink
from mlink.bench import load_bench
from mlink.bench.virtual_time import needs_real_time
from mlink.catalog import module_types
from mlink.engine.options import RunOptions
from mlink.errors import BenchError

BOARD = """
[devices]
uno = "{device}"
[modules.board]
type = "firmata-io"
device = "uno"
"""
CAMERA = """
[devices]
eye = "{device}"
[modules.cam]
type = "camera-generic"
device = "eye"
"""


@pytest.fixture
def load(tmp_path):
    """Load a bench from its text."""

    def load(text, head="", **options):
        path = tmp_path / "bench.toml"
        path.write_text(f"[bench]\nname = 'x'\n{head}\n{text}")
        return load_bench(path, **options)

    return load


def refusal(load, text, **options) -> str:
    with pytest.raises(BenchError) as raised:
        load(text, time="virtual", **options)
    return str(raised.value)


@pytest.mark.parametrize(
    "device",
    ["/dev/ttyACM0", "usb:2341:0043", "socket://pi.local:3030", "rfc2217://pi.local:3030"],
)
def test_a_real_board_and_one_at_a_remote_host_are_refused_unopened(load, device):
    text = refusal(load, BOARD.format(device=device))
    assert f"[modules.board]: device 'uno' ({device}) runs in real time only" in text
    assert "virtual:uno" in text


@pytest.mark.parametrize("device", ["/dev/video0", "usb:046d:0825", "http://pi.local/mjpg"])
def test_real_cameras_and_cameras_of_the_network_are_refused_unopened(load, device):
    text = refusal(load, CAMERA.format(device=device))
    assert f"[modules.cam]: camera {device} runs in real time only" in text


def test_the_password_of_a_camera_is_not_in_its_refusal(load):
    text = refusal(load, CAMERA.format(device="rtsp://me:secret@pi.local/1"))
    assert "camera rtsp://…@pi.local/1 runs in real time only" in text
    assert "secret" not in text


@pytest.mark.parametrize("device", ["file:clip.mkv", "images:frames", "virtual:scene"])
def test_a_source_of_pictures_that_is_not_paced_is_refused(load, device):
    text = refusal(load, CAMERA.format(device=device) + "paced = false\n")
    assert f"{device} runs in real time only, as paced = false" in text
    assert load(CAMERA.format(device=device), time="virtual").time == "virtual"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ('type = "firmata-io"\nserial_port = "/dev/ttyACM0"', "the device that its settings name"),
        ('type = "camera-generic"\ncamera = 3', "camera /dev/video3"),
    ],
)
def test_a_device_that_settings_name_is_refused(load, module, text):
    assert f"{text} runs in real time only" in refusal(load, f"[modules.it]\n{module}\n")


def test_a_module_without_a_device_is_not_offered_simulated_ones(load):
    text = refusal(load, "[modules.stimulus]\ntype = 'runcmd'\nexecutable = '/bin/true'\n")
    assert "[modules.stimulus]: starts a program" in text
    assert "(--time real), or remove it from the bench" in text
    assert "virtual:uno" not in text


def test_a_module_of_others_that_does_not_know_virtual_time_is_refused(load, tmp_path):
    known = module_types()["table"]
    catalog = {"theirs": replace(known, id="theirs", virtual_time=False)}
    theirs = "[modules.rows]\ntype = 'theirs'\n"
    text = refusal(load, theirs, catalog=catalog)
    assert "[modules.rows]: module type 'theirs' does not state that it knows virtual time" in text
    assert "`virtual_time` of its ModuleType" in text
    assert "docs/virtual-time.md" in text
    catalog = {"theirs": replace(known, id="theirs", virtual_time=lambda *_: "it looks outside")}
    assert "[modules.rows]: it looks outside" in refusal(load, theirs, catalog=catalog)


def test_all_reasons_are_given_at_once(load):
    both = BOARD.format(device="/dev/ttyACM0").replace("[modules", 'eye = "/dev/video0"\n[modules')
    text = refusal(load, both + '[modules.cam]\ntype = "camera-generic"\ndevice = "eye"\n')
    assert "has 2 problems" in text
    assert "/dev/ttyACM0" in text
    assert "/dev/video0" in text


def test_every_type_of_mlinks_own_knows_virtual_time():
    own = {type_ for type_ in module_types().values() if type_.implementation.startswith("mlink")}
    assert [type_.id for type_ in own if not type_.virtual_time] == []


def test_a_bench_states_its_kind_of_time_and_a_run_may_have_another(load):
    real = BOARD.format(device="/dev/ttyACM0")
    with pytest.raises(BenchError, match="runs in real time only"):
        load(real, "time = 'virtual'")
    assert load(real, "time = 'virtual'", time="real").time == "real"
    assert load(real, "time = 'real'").time == "real"
    assert load(real).time is None
    assert needs_real_time(load(real))
    assert not needs_real_time(load(BOARD.format(device="virtual:uno")))


def test_seed_and_speed_of_the_bench_give_way_to_those_of_a_run(load):
    bench = load(BOARD.format(device="virtual:uno"), "time = 'virtual'\nseed = 3\nspeed = 0.5")
    own = RunOptions().in_time_of(bench)
    assert own.virtual is not None
    assert own.virtual.speed == 0.5
    assert own.attributes == {"time": "virtual", "seed": 3}
    other = RunOptions().in_time_of(bench, seed=0, speed=2.0)
    assert other.virtual is not None
    assert other.virtual.speed == 2.0
    assert other.attributes["seed"] == 0
    assert own.run_uuid != other.run_uuid
    in_real_time = RunOptions().in_time_of(replace(bench, time="real"))
    assert in_real_time.virtual is None
    with pytest.raises(BenchError, match="seed: must be a whole number, 0 or more and below 2"):
        RunOptions().in_time_of(bench, seed=1 << 63)  # of `mlink run --seed`
    with pytest.raises(BenchError, match="seed is for virtual time"):
        RunOptions().in_time_of(replace(bench, time="real"), seed=1)


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ("time = 'virtul'", "[bench] time: 'virtul' is not a kind of time"),
        ("time = 1", "[bench] time: '1' is not a kind of time"),
        ("seed = -1", "[bench] seed: must be a whole number, 0 or more and below 2**63, not '-1'"),
        ("seed = true", "[bench] seed: must be a whole number"),
        ("seed = 1.5", "[bench] seed: must be a whole number"),
        ("speed = 0", "[bench] speed: must be a number above 0"),
        ("speed = nan", "[bench] speed: must be a number above 0"),
        ("speed = inf", "[bench] speed: must be a number above 0"),
        ("speed = 'fast'", "[bench] speed: must be a number above 0"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(load, head, complaint):
    with pytest.raises(BenchError) as raised:
        load(BOARD.format(device="virtual:uno"), head)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"time": "virtul"}, "time: 'virtul' is not a kind of time"),
        ({"time": "virtual", "seed": "a"}, "seed: must be a whole number"),
        ({"time": "virtual", "speed": 0}, "speed: must be a number above 0"),
        ({"speed": 1.0}, "speed is for virtual time"),
        ({"seed": 1}, "seed is for virtual time"),
    ],
)
def test_wrong_arguments_of_the_api_start_nothing(load, wrong, complaint):
    bench = load(BOARD.format(device="virtual:uno"))
    with pytest.raises(BenchError, match=complaint):
        mlink.run(bench, **wrong)


def test_the_api_refuses_what_needs_real_time(load):
    bench = load(BOARD.format(device="/dev/ttyACM0"))
    with pytest.raises(BenchError, match="runs in real time only"):
        mlink.run(bench, time="virtual")
    (problem,) = mlink.check_bench(bench.path, time="virtual")
    assert problem.where == "[modules.board]"
