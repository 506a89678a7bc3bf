"""The command `mlink`, also as `python -m mlink`.

It handles Ctrl-C and its like before it imports anything else, which takes a while.
"""

from typing import NoReturn

from mlink.ctrl_c import end_on_signals


def main() -> None:
    """Run the command line."""
    end_on_signals()
    from mlink.refusals import refusal, too_little_address_space

    if (limited := too_little_address_space()) is not None:
        _give_up(limited.message, limited.remedy)
    try:
        from mlink.cli import main as command_line
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        _give_up(refused.message, refused.remedy)
    command_line()


def _give_up(message: str, remedy: str) -> NoReturn:
    import sys

    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.write(f"error: {message}\n  → {remedy}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
