"""`make dist`: build the sdist and the wheel into dist/, and check both outside the work tree.

The wheel is built from the sdist, so a file missing there makes the build fail. It is installed
into a fresh venv with the locked dependencies, where `mlink` must run a bench on a virtual board.
In the unpacked sdist every tracked file must exist, style must pass and the tests be collected.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / ".ci" / "lock"
_MOST_BYTES = 5_000_000
"""Largest wheel."""
_BENCH = "hil/benches/led-follows-button"


def main() -> int:
    """Build and check; return 0, or 1 with the reason on stderr."""
    dist = ROOT / "dist"
    for old in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        old.unlink()
    try:
        # No isolation: the build requirements are those of .ci/lock/build.txt, already installed.
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT)
        (wheel,) = dist.glob("*.whl")
        (sdist,) = dist.glob("*.tar.gz")
        with tempfile.TemporaryDirectory(prefix="mlink-dist-") as folder:
            tree = unpack(sdist, Path(folder))
            check_tree(tree)
            check_wheel(wheel, tree, Path(folder))
    except subprocess.CalledProcessError as error:
        output = error.stdout.decode(errors="replace")[-4000:]
        sys.stderr.write(f"failed ({error.returncode}): {error.cmd}\n{output}\n")
        return 1
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"built and checked: {wheel.name}, {sdist.name} in {dist}\n")
    return 0


def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> bytes:
    """Run a command quietly and return its output.

    Raises:
        subprocess.CalledProcessError: With the output, when it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    return done.stdout


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack the sdist and return its root folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def check_tree(tree: Path) -> None:
    """Check that the unpacked sdist is a whole source tree.

    Raises:
        ValueError: When tracked files are missing.
        subprocess.CalledProcessError: When a check fails there.
    """
    if (ROOT / ".git").exists():
        tracked = run("git", "ls-files", "-z").decode().split("\0")
        missing = [name for name in tracked if name and not os.path.lexists(tree / name)]
        if missing:
            raise ValueError(f"the sdist lacks {len(missing)} tracked files: {missing[:10]}")
    packages = os.pathsep.join(str(tree / room) for room in ("runtime", "drivers", "hil"))
    environment = {**os.environ, "PYTHONPATH": packages}
    tools = Path(sys.executable).parent
    run(tools / "ruff", "check", cwd=tree)
    run(tools / "lint-imports", cwd=tree, env=environment)
    run(tools / "pytest", "--collect-only", "-q", cwd=tree, env=environment)


def check_wheel(wheel: Path, tree: Path, folder: Path) -> None:
    """Install the wheel into a fresh venv and run a bench with it.

    Raises:
        subprocess.CalledProcessError: When the installation or a command fails.
        ValueError: The wheel is too large, or has no manual page.
    """
    if wheel.stat().st_size > _MOST_BYTES:
        raise ValueError(
            f"{wheel.name} has {wheel.stat().st_size:,} bytes; at most {_MOST_BYTES:,}"
        )
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    pip = [environment / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "-r", LOCK / "run.txt")
    run(*pip, "--no-deps", wheel)
    mlink = environment / "bin/mlink"
    if not (environment / "share/man/man1/mlink.1").is_file():
        raise ValueError(f"{wheel.name} brings no manual page")
    out = folder / "recordings"
    run(mlink, "--help", cwd=folder)
    run(mlink, "modules", cwd=folder)
    board = folder / "lab.toml"
    board.write_text('[devices]\nuno = "virtual:uno?simulator=protocol"\neye = "virtual:scene"\n')
    bench = tree / _BENCH
    run(mlink, "run", bench, "--devices", board, "--for", "2", "--out", out, cwd=folder)
    recording = next(out.rglob("manifest.toml")).parent
    run(mlink, "verify", recording, cwd=folder)


if __name__ == "__main__":
    sys.exit(main())
