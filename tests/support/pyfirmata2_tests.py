"""Downloads pyFirmata2's own test file for set-up: `python -m tests.support.pyfirmata2_tests`.

No package of it on PyPI contains the file, so it comes from its repository, checked by its SHA-256.
It stays in the user's cache: it is under the MIT licence of its authors and is not part of mlink.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from pathlib import Path

URL = (
    "https://raw.githubusercontent.com/berndporr/pyFirmata2/"
    "60f7a263d26a7164e6e80c2fa99488c8f2b7d0f8/tests.py"
)
SHA256 = "d5c301234c1e9198acd023d5a0b89cb237e73345fa1144c27b8e7b8119506d8b"
_TIMEOUT_S = 20


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


def main() -> int:
    """Download the file unless it is there; return the exit code."""
    if cached_tests() is not None:
        return 0
    try:
        with urllib.request.urlopen(URL, timeout=_TIMEOUT_S) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise OSError("it is not the file that was expected (SHA-256)")
        path = path_in_cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        sys.stderr.write(f"cannot download {URL}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
