"""The command `mlink`, also as `python -m mlink`.

It handles Ctrl-C before it imports the command line, which takes a while.
"""

import resource
import sys
from typing import NoReturn

from mlink.ctrl_c import end_on_ctrl_c
from mlink.refusals import refusal

LEAST_BYTES = 1 << 30
"""Address space that NumPy, OpenCV and their threads need; with less they end the process."""


def main() -> None:
    """Run the command line."""
    end_on_ctrl_c()
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_BYTES:
        _give_up(
            f"the address space of this program is limited to {limit >> 20} MB (ulimit -v), and it "
            f"needs {LEAST_BYTES >> 20} MB",
            "Allow more: ulimit -v unlimited.",
        )
    try:
        from mlink.cli import main as command_line
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        _give_up(refused.message, refused.remedy)
    command_line()


def _give_up(message: str, remedy: str) -> NoReturn:
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.write(f"error: {message}\n  → {remedy}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
