"""No input whatever makes the reading of a bench end in anything but a bench or a BenchError."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlink.bench import load_bench
from mlink.errors import BenchError

GOOD = """
[bench]
name = "good"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
framerate = 60
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frame-in", data_type = "Frame" }]
inputs = { frame-in = "cam.video" }
[modules.video.inputs]
frames-in = { from = "cam.video", queue = 4096 }
[modules.video]
type = "videorecorder"
"""

words = st.sampled_from(
    ["bench", "devices", "modules", "cam", "type", "device", "inputs", "size", "framerate", "loop",
     "frames-in", "from", "queue", "script", "ports_in", "id", "data_type", "name", "options"]
)  # fmt: skip
keys = words | st.text(string.printable, max_size=8)
scalars = (
    st.sampled_from(
        [
            "camera-generic",
            "videorecorder",
            "pyscript",
            "cam.video",
            "Frame",
            "eye",
            "virtual:scene",
        ]
    )
    | st.integers()
    | st.booleans()
    | st.floats()
    | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(
    words, st.dictionaries(keys, st.dictionaries(keys, values, max_size=5) | values, max_size=4)
)


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(key)} = {toml(item)}' for key, item in value.items())}}}"
    return str(value)


def quoted(text):
    escaped = (f"\\U{ord(char):08X}" if char not in string.ascii_letters else char for char in text)
    return f'"{"".join(escaped)}"'


relaxed = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load_or_complain(path: Path, **options):
    try:
        load_bench(path, **options)
    except BenchError:
        pass


@relaxed
@given(table=tables)
def test_no_table_whatever_raises_anything_but_a_bench_error(tmp_path, table):
    path = tmp_path / "bench.toml"
    lines = [f"{quoted(key)} = {toml(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines))
    load_or_complain(path)


@relaxed
@given(data=st.binary(max_size=60), at=st.integers(0, len(GOOD)), cut=st.integers(0, 20))
def test_no_damage_to_a_file_raises_anything_but_a_bench_error(tmp_path, data, at, cut):
    path = tmp_path / "bench.toml"
    path.write_bytes(GOOD[:at].encode() + data + GOOD[at + cut :].encode())
    load_or_complain(path)


@relaxed
@given(override=st.text(max_size=30) | st.builds("cam.{}={}".format, keys, st.text(max_size=20)))
def test_no_override_raises_anything_but_a_bench_error(tmp_path, override):
    path = tmp_path / "bench.toml"
    path.write_text(GOOD)
    load_or_complain(path, overrides=[override])
