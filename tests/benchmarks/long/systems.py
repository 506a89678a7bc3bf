"""Other systems: a clone of this project is set up, `make demo` and the unit tests run there.

Each system is made by debootstrap below --folder (kept for the next time, about 1.5 GB each), and
entered by chroot in a mount namespace of its own. One of another processor runs by qemu-user, which
the kernel starts for its programs (binfmt_misc): slowly, so that real-time behaviour is not judged
there. Needs root and the Debian packages debootstrap, and qemu-user-static for another processor.
The exit code is 1 when a step failed; the end of each step's output is printed, all of it is in
NAME.log below --folder.
Run: python -m tests.benchmarks.long.systems debian13 debian12-arm64
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = "ca-certificates,git,make,python3,python3-venv"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_LAST_LINES = 15
_STEP_LIMIT_S = 6 * 3600
_REAL_TIME = "not long and not real_time"
# An own mount namespace: what is mounted vanishes with the last process in it.
_ENTER = """
set -e
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
exec chroot "$@"
"""


@dataclass(frozen=True)
class System:
    """A release of a distribution, for a kind of processor."""

    release: str
    script: str = ""
    """Of debootstrap, where it does not know the release."""
    processor: str = "amd64"
    needs_mirror: bool = False
    """Whether it is not of the distribution whose mirror debootstrap uses by itself."""


SYSTEMS = {
    "debian12": System("bookworm"),
    "debian12-arm64": System("bookworm", processor="arm64"),
    "debian13": System("trixie"),  # Python 3.13
    "debian-testing": System("forky", script="sid"),  # Python 3.14
    "ubuntu24.04": System("noble", script="gutsy", needs_mirror=True),  # Python 3.12
}


class StepError(Exception):
    """A step failed; the message is for people."""


class Place:
    """A system in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.system = SYSTEMS[name]
        self.root = folder / name
        self.log = folder / f"{name}.log"

    def make(self, mirror: str) -> None:
        """Make the system, unless it is there."""
        if (self.root / "root" / "ready").exists():
            return
        if self.system.needs_mirror and not mirror:
            raise StepError(f"{self.system.release} needs --mirror")
        shutil.rmtree(self.root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
        command += [f"--arch={self.system.processor}", self.system.release, str(self.root)]
        if mirror or self.system.script:
            command.append(mirror)
        if self.system.script:
            command.append(f"/usr/share/debootstrap/scripts/{self.system.script}")
        self._run("debootstrap", command)
        apt = self.root / "etc/apt/apt.conf.d"
        (apt / "99mirror").write_text('Acquire::Check-Valid-Until "false";\n')  # a frozen mirror
        for path in (Path("/etc/resolv.conf"), Path("/etc/hosts"), _CERTIFICATES):
            if path.exists():
                shutil.copyfile(path, self.root / path.relative_to("/"))
        (self.root / "root" / "ready").touch()

    def clone(self) -> None:
        """Clone the project as it is committed."""
        clone = self.root / "root" / "mlink"
        shutil.rmtree(clone, ignore_errors=True)
        self._run("clone", ["git", "clone", "-q", "--no-local", str(ROOT), str(clone)])

    def enter(self, step: str, command: str) -> None:
        """Run a shell command in the clone."""
        pip = [f"{key}={value}" for key, value in os.environ.items() if key.startswith("PIP_DEF")]
        environment = ["HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", *pip]
        if _CERTIFICATES.exists():
            environment.append(f"PIP_CERT={_CERTIFICATES}")
        inside = ["env", "-i", *environment, "sh", "-c", f"cd /root/mlink && {command}"]
        enter = ["unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", _ENTER, "enter"]
        self._run(step, [*enter, str(self.root), *inside])

    def _run(self, step: str, command: list[str]) -> None:
        print(f"{self.root.name}: {step} …", flush=True)
        began = time.monotonic()
        with self.log.open("ab") as log:
            start = log.tell()
            code = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                timeout=_STEP_LIMIT_S, check=False,
            ).returncode  # fmt: skip
        with self.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        print(*(f"    {line}" for line in lines), sep="\n")
        print(f"{self.root.name}: {step} took {(time.monotonic() - began) / 60:.1f} min, "
              f"exit code {code}", flush=True)  # fmt: skip
        if code:
            raise StepError(f"{step} failed; all of its output is in {self.log}")


def can_run(processor: str) -> bool:
    """Return whether the kernel starts programs of this processor."""
    if processor == "amd64":
        return True
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], check=False)
    if (import_all := shutil.which("update-binfmts")) is not None:
        subprocess.run([import_all, "--import"], check=False, capture_output=True)
        subprocess.run([import_all, "--enable"], check=False, capture_output=True)
    return (_BINFMT / "qemu-aarch64").exists()


def check(place: Place, mirror: str, tests: list[str], *, simulator: bool) -> None:
    """Make a system, and run demo and tests there.

    Raises:
        StepError: A step failed.
    """
    if not can_run(place.system.processor):
        raise StepError("the kernel does not start its programs: install qemu-user-static")
    place.make(mirror)
    place.clone()
    place.enter("make demo", f"{'' if simulator else 'MLINK_SIMULATOR=no '}make demo")
    install = ".venv/bin/python -m pip install -qq --no-build-isolation --root-user-action=ignore"
    place.enter("test tools", f"{install} --require-hashes -r .ci/lock/test.txt")
    chosen = " ".join(tests or ["tests/unit"])
    place.enter(
        "tests", f".venv/bin/python -m pytest -q -n 2 --timeout 3600 -m '{_REAL_TIME}' {chosen}"
    )


def main() -> int:
    """Check the systems in turn; return the exit code."""
    parser = argparse.ArgumentParser(description="Run demo and unit tests on other systems.")
    parser.add_argument("names", nargs="+", choices=SYSTEMS, metavar="NAME",
                        help=", ".join(SYSTEMS))  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/mlink-systems"))
    parser.add_argument("--mirror", default="", help="instead of debootstrap's own")
    parser.add_argument("--no-simulator", action="store_true",
                        help="do not compile the AVR simulator: hours, in emulation")  # fmt: skip
    parser.add_argument("--tests", nargs="*", default=[], help="instead of tests/unit")
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("this needs root, and debootstrap (sudo apt-get install debootstrap)")
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.names:
        try:
            place = Place(name, options.folder)
            check(place, options.mirror, options.tests, simulator=not options.no_simulator)
        except (StepError, subprocess.TimeoutExpired) as error:
            print(f"{name}: FAILED: {error}", flush=True)
            failed.append(name)
    print(f"{len(options.names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
