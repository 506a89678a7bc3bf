"""Firmata boards: protocol, session, the module `firmata-io` and a pyFirmata2-compatible board.

`Board` and `Session` are imported on first use, so that listing the module types imports neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlink_drivers.firmata.link.session import Session
    from mlink_drivers.firmata.pyfirmata.board import Board

__all__ = ["Board", "Session"]


def __getattr__(name: str) -> Any:
    if name == "Board":
        from mlink_drivers.firmata.pyfirmata.board import Board

        return Board
    if name == "Session":
        from mlink_drivers.firmata.link.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
