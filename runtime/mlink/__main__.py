"""The command `mlink`, also as `python -m mlink`.

It handles Ctrl-C and its like before it imports anything else, which takes a while.
"""

import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until there is a handler Ctrl-C ends the process without a word, and without a traceback of
    # what is being imported. Even `typing` takes a while.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Run the command line."""
    from mlink.ctrl_c import end_on_signals

    _open_standard_streams()
    end_on_signals()
    from mlink.refusals import refusal, too_little_address_space

    if (limited := too_little_address_space()) is not None:
        _give_up(limited.message, limited.remedy)
    try:
        from mlink.cli import main as command_line

        command_line()
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        _give_up(refused.message, refused.remedy)


def _open_standard_streams() -> None:
    """Open those of descriptors 0 to 2 that are closed: the next file opened would be one of them.

    What is printed there would be written into that file, a recording for example.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                opened = os.open(os.devnull, os.O_RDWR)
            except OSError:
                return
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
            stream = open(fd, "w" if fd else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _give_up(message: str, remedy: str) -> None:
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.write(f"error: {message}\n  → {remedy}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
