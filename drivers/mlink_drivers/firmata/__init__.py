"""Firmata boards: codec, session, a pyfirmata2-compatible board and the module `firmata-io`.

The names below are imported on first use, so that the catalogue of module types stays light.
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
