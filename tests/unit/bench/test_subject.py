"""The `[subject]` of a bench and of a subject file: checked, merged, and in the recording."""

import pytest

from mlink.bench import load_bench
from mlink.bench.subject import Subject, read_subject
from mlink.engine.options import RunOptions
from mlink.engine.recording import Recording
from mlink.engine.status import RunResult
from mlink.errors import BenchError

BENCH = """
[modules.clock]
type = "devel.clock"
[subject]
id = "m7"
group = "control"
sex = "Male"
age = "P10W/P12W"
date_of_birth = 2026-08-31
institution = "Somewhere"
"""


def bench_of(tmp_path, text=BENCH):
    (tmp_path / "bench.toml").write_text(text)
    return load_bench(tmp_path / "bench.toml")


def test_the_recording_has_the_subject_of_the_bench(tmp_path):
    bench = bench_of(tmp_path)
    assert bench.subject.sex == "M"
    recording = Recording(bench, RunOptions(out_dir=tmp_path / "out"), bytes(16))
    recording.close(RunResult(True))
    assert recording.path.is_relative_to(tmp_path / "out" / "m7")
    text = (recording.path / "attributes.toml").read_text()
    for line in ('subject_id = "m7"', 'subject_group = "control"', 'sex = "M"',
                 'date_of_birth = "2026-08-31"'):  # fmt: skip
        assert line in text


def test_a_run_completes_or_replaces_the_subject(tmp_path):
    subject = bench_of(tmp_path).subject
    assert subject.of_run("m7") == Subject(**subject.facts)
    assert Subject(sex="F").of_run("m8").id == "m8"
    assert subject.of_run("", Subject(weight="25 g")).facts["group"] == "control"
    other = subject.of_run("", Subject(id="m8", sex="F"))
    assert other.facts == {"id": "m8", "sex": "F"}  # nothing of the bench's animal
    with pytest.raises(BenchError, match="the subject is 'm8', but what is described is 'm7'"):
        subject.of_run("m8")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('age = "12 weeks"', r"\[subject\] age: '12 weeks' is not age"),
        ('age = "P"', "'P' is not age"),
        ('sex = "x"', "'x' is not sex"),
        ('weight = "25"', "'25' is not weight"),
        ('date_of_birth = "yesterday"', "'yesterday' is not date_of_birth"),
        ("date_of_birth = 7", "'7' is not date_of_birth"),
        ("id = 7", r"\[subject\] id: expected 'str'"),
        ('specie = "Mus musculus"', "specie: unknown key"),
        ('strain = "a\\u001b[31m"', "must be a printable text"),
    ],
)
def test_what_is_no_fact_is_named_with_its_key(tmp_path, line, message):
    with pytest.raises(BenchError, match=message):
        bench_of(tmp_path, f'[modules.clock]\ntype = "devel.clock"\n[subject]\n{line}\n')
    (tmp_path / "s.toml").write_text(line)
    with pytest.raises(BenchError):
        read_subject(tmp_path / "s.toml")


def test_a_subject_file_has_its_keys_at_the_top_or_in_the_table(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('id = "m7"\nsex = "u"\n')
    assert read_subject(file) == Subject(id="m7", sex="U")
    file.write_text('[subject]\nid = "m7"\nspecies = "C. elegans"\nsex = "XX"\n')
    assert read_subject(file) == Subject(id="m7", species="C. elegans", sex="XX")
    file.write_text('other = 1\n[subject]\nid = "m7"\n')
    with pytest.raises(BenchError, match=r"\[other\]: unknown key"):
        read_subject(file)
