"""`python -m mlink_hil.sim.avr_uno`: one Uno with real firmware on the AVR simulator."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from mlink_drivers.firmware.images import firmware_path
from mlink_hil.sim.boards.board import Board
from mlink_hil.sim.boards.load_avr import load_avr_board
from mlink_hil.sim.fetch_firmware import NAME, cached_path
from mlink_hil.sim.server.program import main


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--hex",
        type=Path,
        default=firmware_path("uno"),
        metavar="FILE",
        help="the firmware, as Intel hex (default: mlink's own)",
    )


def _make_board(arguments: Namespace) -> Board:
    return load_avr_board(arguments.hex, NAME if arguments.hex == cached_path() else "")


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", _make_board, _add_arguments))
