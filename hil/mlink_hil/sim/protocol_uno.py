"""`python -m mlink_hil.sim.protocol_uno`: an Uno without firmware, where yasimavr is missing."""

from __future__ import annotations

import sys

from mlink_hil.sim.boards.protocol_board import ProtocolBoard
from mlink_hil.sim.server.program import main

if __name__ == "__main__":
    sys.exit(main(__doc__ or "", lambda _arguments: ProtocolBoard()))
