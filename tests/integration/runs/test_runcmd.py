"""Programs that runs start: their environment, their end, and how they fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import mlink
from mlink.api.run import Run
from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.errors import BenchError
from mlink.modules.actions.catalog import RunCmdSettings

BENCH = """
[modules.cmd]
type = "runcmd"
executable = "./program.sh"
parameters = '''PARAMETERS'''
"""


def bench(folder: Path, script: str, parameters: str = "") -> Path:
    (folder / "program.sh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "program.sh").chmod(0o755)
    (folder / "bench.toml").write_text(BENCH.replace("PARAMETERS", parameters))
    return folder


def run(folder: Path, seconds: float = 1.0, **more: object) -> mlink.RunResult:
    return mlink.run(folder, duration_s=seconds, record=False, check=False, **more)


def test_a_program_has_its_arguments_and_environment(tmp_path: Path) -> None:
    script = (
        'printf "%s\\n" "$@" "$SY_SUBJECT_ID" "$SY_START_TIME_UNIX_MS" > out.txt; pwd >> out.txt'
    )
    before = time.time()
    bench(tmp_path, script, '-a "two words" it\'s \\"q')
    done = run(tmp_path, subject="mouse 1")
    assert done.success, done.failures
    *arguments, subject, started, folder = (tmp_path / "out.txt").read_text().splitlines()
    assert arguments == ["-a", "two words", "it's", '"q']
    assert subject == "mouse 1"
    assert before - 1 < int(started) / 1000 < time.time() + 1
    assert folder == str(tmp_path)


def test_a_program_has_the_subject_of_the_bench(tmp_path: Path) -> None:
    bench(tmp_path, 'echo "$SY_SUBJECT_ID" "$SY_SUBJECT_GROUP" > out.txt')
    with (tmp_path / "bench.toml").open("a") as file:
        file.write('[subject]\nid = "m7"\ngroup = "controls"\n')
    options = RunOptions(duration_s=0.5, record=False)
    done = Run(load_bench(tmp_path), options, check=False).wait()
    assert done is not None
    assert done.success, done.failures
    assert (tmp_path / "out.txt").read_text() == "m7 controls\n"


def test_one_that_lasts_is_ended_with_its_children(tmp_path: Path) -> None:
    bench(tmp_path, "sleep 600 & echo $! > child.txt; echo ready; wait")
    done = run(tmp_path, 1.5)
    assert done.success, done.failures
    child = int((tmp_path / "child.txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_one_that_ignores_the_end_is_killed(tmp_path: Path) -> None:
    bench(tmp_path, "trap '' TERM; while :; do sleep 0.1; done")
    done = run(tmp_path, 1.0)
    assert done.success, done.failures


@pytest.mark.parametrize(
    ("script", "words"), [("exit 3", "ended with code 3"), ("kill -9 $$", "ended by SIGKILL")]
)
def test_one_that_fails_ends_the_run(tmp_path: Path, script: str, words: str) -> None:
    bench(tmp_path, f"sleep 0.2; {script}")
    done = run(tmp_path, 60)
    assert not done.success
    assert words in done.failures[0].message


def test_one_that_ends_well_ends_nothing(tmp_path: Path) -> None:
    done = run(bench(tmp_path, "exit 0"))
    assert done.success
    assert done.reports["cmd"]["exit_code"] == 0


def test_wrong_settings_and_virtual_time_are_refused(tmp_path: Path) -> None:
    bench(tmp_path, "exit 0")
    with pytest.raises(BenchError, match="virtual time does not exist"):
        mlink.run(tmp_path, duration_s=1, record=False, time="virtual")
    for executable, words in (("", "name the program"), ("./no.sh", "there is no program")):
        assert words in RunCmdSettings(executable=executable).check(tmp_path)[0]
    settings = RunCmdSettings(executable="./program.sh", parameters='a "b')
    assert "parameters" in settings.check(tmp_path)[0]
