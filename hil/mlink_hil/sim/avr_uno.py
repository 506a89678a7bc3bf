"""`python -m mlink_hil.sim.avr_uno`: one board with real firmware on the AVR simulator."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from mlink_drivers.firmware.images import firmware_path
from mlink_hil.board_kinds import KINDS, UNO
from mlink_hil.sim.boards.board import Board
from mlink_hil.sim.boards.load_avr import load_avr_board
from mlink_hil.sim.fetch_firmware import NAME, cached_path
from mlink_hil.sim.server.program import main


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--board", choices=KINDS, default=UNO.name, help="kind of the board")
    parser.add_argument(
        "--hex",
        type=Path,
        metavar="FILE",
        help="the firmware, as Intel hex (default: mlink's own)",
    )


def _make_board(arguments: Namespace) -> Board:
    kind = KINDS[arguments.board]
    image = arguments.hex or firmware_path(kind.name)
    return load_avr_board(image, NAME if image == cached_path() else "", kind)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", _make_board, _add_arguments))
