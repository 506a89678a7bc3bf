"""A run of root beside another user, who can neither read, write, stop, fail nor delay it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlink.modules.video import speed
from mlink_hil.sim import fetch_firmware
from tests.support import ROOT
from tests.support.second_user import NOBODY, become_nobody, take_names
from tests.support.shown_run import BENCH, SCRIPT, Served, post

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user"),
    pytest.mark.timeout(900),
]
TIMEOUT_S = 250
SMALL = ("--set", "cam.size=[160, 120]", "--set", "cam.framerate=5")


@pytest.fixture
def taken() -> Iterator[list[Path]]:
    """Names that nobody has taken before the run."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        become_nobody()
        os.write(write, json.dumps([str(path) for path in take_names()]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    paths = [Path(each) for each in json.loads(os.read(read, 1 << 16))]
    os.close(read)
    os.close(write)
    yield paths
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter, and read."""
    folder = Path(tempfile.mkdtemp(prefix="mlink-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    bench = folder / "bench"
    if not bench.exists():
        shutil.copytree(
            ROOT / "hil/benches/led-follows-button",
            bench,
            ignore=shutil.ignore_patterns("recordings", "__pycache__"),
        )
    environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    return subprocess.Popen(
        [sys.executable, "-m", "mlink", "run", str(bench), "--out", str(folder), *SMALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def folder_of(run: subprocess.Popen[str], out: Path) -> Path:
    """Wait until a run has recorded rows; return its own folder."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and run.poll() is None:
        if any(path.read_bytes().count(b"\n") > 1 for path in out.rglob("*.csv")):
            (child, *_) = psutil.Process(run.pid).children()
            return Path(child.environ()["MLINK_RUN"])
        time.sleep(0.2)
    run.kill()
    raise AssertionError(run.communicate()[0])


def decoy_of(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process of another user that looks like the fork server of a run."""
    return subprocess.Popen(
        ["mlink.worker.forking.forkserver", "600"],
        executable="/bin/sleep",
        env={"MLINK_RUN": str(folder), "MLINK_MODULE": "loop"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )


@pytest.mark.parametrize("options", [(), ("--time", "virtual")], ids=["real time", "virtual time"])
def test_another_user_cannot_reach_a_run(
    open_folder: Path, taken: list[Path], options: tuple[str, ...]
) -> None:
    assert taken
    run = start(open_folder, *options)
    folder = folder_of(run, open_folder)
    everyone = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    pids = [str(process.pid) for process in everyone]
    decoy = decoy_of(folder)
    try:
        attack = [sys.executable, "-m", "tests.support.second_user", str(folder), *pids]
        done = subprocess.run(attack, capture_output=True, text=True, check=True, cwd=ROOT)
        assert json.loads(done.stdout) == []
        recorded = [path for path in open_folder.rglob("*") if path.is_file()]
        assert recorded
        assert not any(path.stat().st_mode & 0o022 for path in recorded)
        run.send_signal(signal.SIGINT)
        printed, _ = run.communicate(timeout=TIMEOUT_S)
        assert run.returncode == 0, printed
        assert not folder.exists()
        second = start(open_folder, "--for", "1", *options)
        printed, _ = second.communicate(timeout=TIMEOUT_S)
        assert second.returncode == 0, printed
        assert "left behind" not in printed
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()
        run.kill()
    assert all(os.path.lexists(path) for path in taken)


def test_the_process_of_another_user_does_not_keep_what_a_killed_run_has_left(
    open_folder: Path,
) -> None:
    run = start(open_folder)
    folder = folder_of(run, open_folder)
    decoy = decoy_of(folder)
    try:
        everyone = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        for process in everyone:
            process.kill()
        run.communicate()
        second = start(open_folder, "--for", "1")
        printed, _ = second.communicate(timeout=TIMEOUT_S)
        assert second.returncode == 0, printed
        assert "still closes its files" not in printed
        assert not folder.exists()
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()


def test_another_user_cannot_reach_the_page_of_a_folder_nor_the_runs_that_it_starts(
    open_folder: Path, taken: list[Path]
) -> None:
    assert taken
    for name, text in (("bench.toml", BENCH), ("loop.py", SCRIPT)):
        (open_folder / name).write_text(text)
    shared = Path(tempfile.gettempdir())
    before = set(shared.glob("mlink-view-*"))
    served = Served(open_folder, "view", ".")
    try:
        own = {"Cookie": served.cookie(), "Origin": served.origin}
        status, _ = post(served, "/home/start", {"bench": "bench.toml"}, **own)
        assert status == 200
        process = psutil.Process(served.process.pid)
        deadline = time.monotonic() + TIMEOUT_S
        while not (rows := list(open_folder.rglob("*.csv"))) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert rows
        everyone = [process, *process.children(recursive=True)]
        folders = {Path(path) for each in everyone if (path := each.environ().get("MLINK_RUN"))}
        folders |= set(shared.glob("mlink-view-*")) - before
        secrets = " ".join(url.partition("=")[2] for url in (served.url, served.guest_url))
        pids = [str(each.pid) for each in everyone]
        assert len(folders) >= 2
        for folder in folders:
            attack = [sys.executable, "-m", "tests.support.second_user", str(folder), *pids]
            done = subprocess.run(
                attack, capture_output=True, text=True, check=True, cwd=ROOT,
                env=os.environ | {"SECRETS": secrets},
            )  # fmt: skip
            of_all = {f"{what} {shared}" for what in ("list", "read", "make a file in")}
            assert set(json.loads(done.stdout)) <= of_all
        for path in ("/", "/home/benches", "/home/runs", "/recording/list", "/run/1"):
            assert served.get(path)[0] == 401, path
        for path in ("/home/start", "/home/stop", "/recording/begin"):
            assert post(served, path, {"number": 1}, Origin=served.origin)[0] == 401, path
        assert json.loads(served.get("/home/runs", **own)[2])[0]["code"] is None  # it lasts
    finally:
        served.close()
        (shared / "other").unlink(missing_ok=True)
    assert all(os.path.lexists(path) for path in taken)


def test_a_cache_that_another_user_has_made_holds_up_nothing(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "mlink").mkdir()
    os.mkfifo(open_folder / "mlink" / "encoders.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_folder))
    assert speed._read(speed._cache()) == {}
    firmware = fetch_firmware.cached_path()
    firmware.parent.mkdir(parents=True)
    os.mkfifo(firmware)
    assert not fetch_firmware.is_cached()
