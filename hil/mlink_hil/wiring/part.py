"""Base of the parts that a `[virtual]` table can hold: plain values, checked one by one.

Each kind of part is a struct whose fields are its settings. What concerns several parts at once,
such as two parts on one line, is checked in `table.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TypeAlias

import msgspec

Problem: TypeAlias = tuple[str, str]
"""(key of the part's table, what is wrong with it)."""


class Part(msgspec.Struct, kw_only=True):
    """A part of a `[virtual]` table.

    `kind` is the value of the key `type`; the other keys are the fields of the struct.
    """

    kind: ClassVar[str]

    def problems(self, bench_dir: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Yield each setting that is wrong by itself.

        Args:
            bench_dir: Folder that the paths among the settings are relative to.
        """
        yield from ()

    def lines(self) -> dict[str, str]:
        """Return the lines that the part is wired to, such as "uno.8".

        The keys are those of the part's table, such as "line" or "wires.2", for messages.
        """
        return {}

    def scene_key(self) -> str | None:
        """Return the device name of the scene that shows the part; None without one.

        A part of a scene that the run does not use is left out.
        """
        return None

    def board_key(self) -> str | None:
        """Return the device name of the board that the part describes; None without one."""
        return None

    def wired(self) -> list[str]:
        """Return the part's connections as `mlink check` prints them, one each.

        By default the lines; a part that connects two lines returns one connection for both.
        """
        return list(self.lines().values())

    def detail(self) -> str:
        """Return the settings that `mlink check` prints, in a few words.

        Empty when the kind and the lines are all there is.
        """
        return ""
