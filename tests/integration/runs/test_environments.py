"""Where the system grants too little, a command answers in words and leaves nothing behind.

Each runs `mlink` as a program of its own: limits and disks of this test process stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from mlink.recording.care.repair import repair_recording
from tests.integration.runs.test_terminals import mlink_run, wait_for_rows
from tests.support.recorded.bad_disks import small_disk

NEVER = re.compile(r"Traceback|internal error|bug in mlink|fault in m|Fatal Python", re.IGNORECASE)
PROGRAM = Path(sys.executable).parent / "mlink"
TIMEOUT_SEC = 240

BENCH = """
[bench]
name = "small"

[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "out", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]

[modules.watch]
type = "pyscript"
script = "watch.py"
ports_in = [{ id = "in", data_type = "Frame" }]
inputs = { in = "source.frames" }

[modules.events]
type = "table"
inputs = { rows = "source.out" }
"""
SOURCE = """
import os
import syntalos_mlink as syl
out = syl.get_output_port("out")
def prepare():
    out.set_metadata_value("notes", "x" * int(os.environ.get("NOTES", "1")))
def run():
    while syl.is_running():
        out.submit([1])
        syl.wait(10)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "bench")


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "bench.toml").write_text(BENCH)
    (folder / "source.py").write_text(SOURCE)
    (folder / "watch.py").write_text("import syntalos_mlink as syl\n")
    return folder


def mlink(
    folder: Path,
    *arguments: str,
    limit: Callable[[], None] | None = None,
    before: Sequence[str] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; whatever happens, it may not show an error of mlink itself."""
    done = subprocess.run(
        [*before, PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=TIMEOUT_SEC,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert not NEVER.search(shown), shown
    assert done.returncode in (0, 1, 2), f"{done.returncode}: {shown}"
    return done


def limited(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def closing(*fds: int) -> Callable[[], None]:
    return lambda: [os.close(fd) for fd in fds]  # type: ignore[func-returns-value]


def run(folder: Path, **others: object) -> subprocess.CompletedProcess[str]:
    arguments = ("run", "bench.toml", "--for", "0.5", "--plain")
    return mlink(folder, *arguments, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("files", [12, 20, 36])
def test_too_few_open_files(folder: Path, files: int) -> None:
    done = run(folder, limit=limited(resource.RLIMIT_NOFILE, files))
    assert done.returncode == 1
    assert "ulimit -n" in done.stdout + done.stderr


def test_a_low_soft_limit_of_open_files_is_raised(folder: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = run(folder, limit=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, hard)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("size", [1 << 10, 16 << 10])
def test_files_may_not_become_large(folder: Path, size: int) -> None:
    done = run(folder, limit=limited(resource.RLIMIT_FSIZE, size))
    assert done.returncode == 1
    assert "ulimit" in done.stdout + done.stderr


@pytest.mark.parametrize("megabytes", [50, 200, 800])
@pytest.mark.parametrize("command", [("check", "."), ("run", ".", "--for", "0.5")])
def test_too_little_address_space(folder: Path, command: tuple[str, ...], megabytes: int) -> None:
    done = mlink(folder, *command, limit=limited(resource.RLIMIT_AS, megabytes << 20))
    assert done.returncode == 1
    assert f"limited to {megabytes} MB (ulimit -v)" in done.stderr


def test_too_little_memory_for_data(folder: Path) -> None:
    done = run(folder, limit=limited(resource.RLIMIT_DATA, 100 << 20))
    assert done.returncode == 1
    assert "its data is limited to 100 MB (ulimit -d)" in done.stderr


@pytest.mark.parametrize("fds", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_standard_streams(folder: Path, fds: tuple[int, ...]) -> None:
    """The next files opened get their numbers: what is printed would be written into those."""
    done = run(folder, limit=closing(*fds))
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("Recorded in" in done.stdout) is (1 not in fds)
    (recording,) = folder.glob("recordings/*/*")
    verify = mlink(folder, "verify", str(recording))
    assert "complete and intact" in verify.stdout


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, setpriv")
def test_no_further_process(folder: Path) -> None:
    """The limit counts the processes of a user; root has none: as a user without any other."""
    caps = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *caps]
    done = mlink(
        folder,
        *("run", "bench.toml", "--for", "0.5", "--plain", "--no-record"),
        limit=limited(resource.RLIMIT_NPROC, 5),
        before=user,
        OPENBLAS_NUM_THREADS="1",
        TMPDIR=str(folder.parent),
    )
    assert done.returncode == 1
    assert "ulimit -u" in done.stdout


@pytest.mark.parametrize("kind", [resource.RLIMIT_MEMLOCK, resource.RLIMIT_RTPRIO])
def test_no_real_time_priority_and_no_locked_memory(folder: Path, kind: int) -> None:
    done = run(folder, limit=limited(kind, 0))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("inodes", [2, 4, 5])
def test_a_run_folder_without_room(folder: Path, tmp_path: Path, inodes: int) -> None:
    with small_disk(tmp_path / "small", kilobytes=64) as disk:
        remount = ["mount", "-o", f"remount,nr_inodes={inodes}", str(disk)]
        subprocess.run(remount, check=True)
        done = run(folder, XDG_RUNTIME_DIR=str(disk))
    if done.returncode:
        assert "No space left" in done.stdout
        assert "→" in done.stdout


@pytest.mark.parametrize("kilobytes", [4, 8, 16])
def test_a_disk_for_recordings_that_is_full_at_once(
    folder: Path, tmp_path: Path, kilobytes: int
) -> None:
    with small_disk(tmp_path / "small", kilobytes) as disk:
        done = mlink(folder, "run", "bench.toml", "--for", "0.5", "--plain", "--out", str(disk))
        left = list(disk.rglob("*"))
        if kilobytes == 4:  # no room for the folder's own attributes
            assert left == []
    assert done.returncode == 1
    assert "free space on it" in done.stdout


def test_no_home_and_no_folder_for_temporary_files(folder: Path) -> None:
    gone = str(folder / "gone")
    done = run(folder, HOME=gone, TMPDIR=gone, XDG_RUNTIME_DIR=gone)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metadata_of_a_stream_are_too_large(folder: Path) -> None:
    done = run(folder, NOTES="300000")
    assert done.returncode == 1
    assert "more than the limit of 128,000: key 'notes' of port 'out' has 300,0" in done.stdout
    assert "✘ The run failed\n  source (prepare): " in done.stdout


@pytest.mark.parametrize("command", [("check", "."), ("modules",), ("doctor",), ("list", ".")])
def test_an_output_that_holds_ascii_only(folder: Path, command: tuple[str, ...]) -> None:
    done = mlink(folder, *command, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = written(tmp_path / os.fsdecode(b"b\xff"))
    done = run(folder)
    assert done.returncode == 1
    assert "not valid UTF-8" in done.stdout
    assert mlink(folder, "check", ".").returncode == 0
    assert json.loads(mlink(folder, "list", ".", "--json").stdout) == []
    failed = mlink(folder, "run", "bench.toml", "--for", "0.5", "--json")
    assert "not valid UTF-8" in json.loads(failed.stdout)["failures"][0]["message"]


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount file systems")


def in_own_mounts(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """Run the bench where these commands of a shell have mounted something."""
    script = f'mount --make-rprivate / && {commands} && exec "$@"'
    return run(folder, before=["unshare", "-m", "sh", "-c", script, "sh"])


@needs_mounts
def test_no_proc(folder: Path) -> None:
    done = in_own_mounts(folder, "mount -t tmpfs tmpfs /proc")
    assert done.returncode == 1
    assert "/proc is not mounted" in done.stdout
    assert "→ Mount it" in done.stdout
    assert "Nothing was recorded" in done.stdout


@needs_mounts
def test_no_dev(folder: Path) -> None:
    done = in_own_mounts(folder, "mount -t tmpfs tmpfs /dev")
    assert done.returncode == 1
    assert "No such file or directory: /dev/null" in done.stdout
    assert "mount --rbind /dev" in done.stdout


@needs_mounts
def test_a_proc_that_hides_the_processes_of_others(folder: Path) -> None:
    done = in_own_mounts(folder, "mount -t proc -o hidepid=2 proc /proc")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_mounts
@pytest.mark.parametrize("place", ["/dev/shm", "/tmp/mlink-full"])
def test_folders_without_room(folder: Path, place: str) -> None:
    mounts = (
        f"mkdir -p {place} && mount -t tmpfs -o size=8k tmpfs {place} && "
        f"{{ export TMPDIR=/tmp/mlink-full; head -c 1M /dev/zero > {place}/fill; true; }}"
    )
    done = in_own_mounts(folder, mounts)
    if done.returncode:
        assert "No space left" in done.stdout
        assert "→ Free space there" in done.stdout


@pytest.mark.parametrize("whose", ["engine", "all"])
def test_no_file_may_be_opened_any_more_in_mid_run(tmp_path: Path, whose: str) -> None:
    """The limit is lowered below what is open already; it ends in words, and `repair` finishes."""
    with mlink_run(
        tmp_path, "--for", "60", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        wait_for_rows(tmp_path)
        engine = psutil.Process(process.pid)
        for each in [engine, *(engine.children(recursive=True) if whose == "all" else [])]:
            if each.name() != "ml:source":  # it notes its count in a file
                resource.prlimit(each.pid, resource.RLIMIT_NOFILE, (4, 4))
        shown, errors = process.communicate(timeout=TIMEOUT_SEC)
        assert process.returncode == 1
    assert not NEVER.search(errors.decode())
    result = json.loads(shown)
    assert any("Too many open files" in each["message"] for each in result["failures"])
    assert all("ulimit -n" in each["remedy"] for each in result["failures"])
    (recording,) = {path.parent for path in (tmp_path / "rec").rglob("run.log")}
    assert repair_recording(recording).ok
