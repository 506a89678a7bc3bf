"""The command `mlink`, also as `python -m mlink`.

It handles Ctrl-C before it imports the command line, which takes a while.
"""

from mlink.ctrl_c import end_on_ctrl_c


def main() -> None:
    """Run the command line."""
    end_on_ctrl_c()
    from mlink.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
