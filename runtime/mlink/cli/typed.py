"""Commands that are typed at a console of mlink, or piped into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator


def typed_lines(prompt: str) -> Iterator[str]:
    """Yield lines of the terminal, with editing and history, or of a pipe without a prompt."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # imported for its effect: input() gets line editing

    del readline
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return
        except KeyboardInterrupt:
            sys.stderr.write("\n")
