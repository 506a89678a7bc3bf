"""Programs as forks of a process that has imported them: what they are given, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, random, signal, socket, sys, time

def main():
    sys.stdin.read()
    if "sleep" in sys.argv:
        print("sleeps", flush=True)
        time.sleep(600)
    if "fail" in sys.argv:
        raise RuntimeError("on purpose")
    told = ""
    if sys.argv[1].isdecimal():
        told = socket.socket(fileno=int(sys.argv[1])).recv(100).decode()
    print(json.dumps({
        "arguments": sys.argv[1:], "told": told, "variable": os.environ.get("WARM_TEST"),
        "home": os.environ.get("HOME"), "parent": os.getppid(), "drawn": random.random(),
        "folder": os.getcwd(), "leader": os.getsid(0) == os.getpid(),
        "default": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "open": [fd for fd in map(int, os.listdir("/proc/self/fd")) if is_file(fd)],
    }))
    return 3

def is_file(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").endswith("secret.txt")
    except OSError:
        return False
"""
CALLER = """
import json, os, signal, socket, subprocess, sys
from mlink.worker.forking import warm

secret = open("secret.txt", "w")
signal.signal(signal.SIGTERM, lambda *_: None)
import program
warm.begin()
found = {"me": os.getpid(), "programs": []}
for number in range(2):
    ours, theirs = socket.socketpair()
    ours.send(b"hello")
    with theirs:
        one = warm.start("program", ["a b"], stdout=subprocess.PIPE, stderr=2,
                         environment={"WARM_TEST": "x", "PATH": ""}, takes=theirs)
    found["programs"].append(json.loads(one.stdout.read()))
    found["code"] = one.wait(60)
failing = warm.start("program", ["fail"], stdout=subprocess.DEVNULL, stderr=2)
found["failed"] = failing.wait(60)
sleeping = warm.start("program", ["sleep"], stdout=subprocess.PIPE, stderr=2)
sleeping.stdout.readline()
found["runs"] = sleeping.poll()
try:
    sleeping.wait(0.01)
except subprocess.TimeoutExpired:
    found["waited"] = True
sleeping.kill()
found["killed"] = sleeping.wait(60)
sleeping.terminate()  # it has ended: that does nothing
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("warm")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "caller.py").write_text(CALLER)
    done = subprocess.run(
        [sys.executable, "caller.py"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "RuntimeError: on purpose" in done.stderr
    return json.loads(done.stdout) | {"folder": str(folder)}


def test_a_program_gets_its_arguments_environment_and_socket_and_nothing_of_its_parent(
    found: dict,
) -> None:
    for each in found["programs"]:
        assert each["arguments"][1:] == ["a b"]
        assert each["told"] == "hello"
        assert (each["variable"], each["home"]) == ("x", None)
        assert each["folder"] == str(Path(found["folder"]).resolve())
        assert each["leader"]
        assert each["default"], "it has a signal handler of its parent"
        assert each["open"] == [], "it has a descriptor of its parent"


def test_programs_do_not_draw_the_same_random_numbers(found: dict) -> None:
    first, second = found["programs"]
    assert first["drawn"] != second["drawn"]


def test_a_program_is_a_child_of_who_has_started_it_which_sees_how_it_ends(found: dict) -> None:
    assert {each["parent"] for each in found["programs"]} == {found["me"]}
    assert found["code"] == 3
    assert found["failed"] == 1
    assert found["runs"] is None
    assert found["waited"]
    assert found["killed"] == -9
