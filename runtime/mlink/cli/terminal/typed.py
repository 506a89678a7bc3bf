"""Commands that are typed at a console of mlink, or piped into it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping

from mlink.errors import MlinkError


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


def execute_typed(
    line: str,
    commands: Mapping[str, Callable[[list[str]], object]],
    usage: str,
    error: type[MlinkError],
) -> bool:
    """Execute one line of a console.

    Args:
        line: A command and its words, as typed.
        commands: The commands by name; a wrong argument is an IndexError or ValueError.
        usage: Lines that begin with the name of a command each.
        error: What is raised for a line that is wrong.

    Returns:
        False when the command was `quit`.

    Raises:
        MlinkError: The command is unknown or its arguments are wrong, or it has failed.
    """
    try:
        words = shlex.split(line, comments=True)
    except ValueError as reason:
        raise error(f"'{line.strip()}' cannot be parsed: {reason}") from reason
    if not words:
        return True
    if words[0] in ("quit", "exit", "q"):
        return False
    command = commands.get(words[0])
    if command is None:
        known = ", ".join(commands)
        raise error(f"unknown command '{words[0]}'", remedy=f"Known: {known}, quit.")
    try:
        command(words[1:])
    except (IndexError, ValueError) as reason:
        how = next((each for each in usage.splitlines() if each.startswith(f"{words[0]} ")), "")
        raise error(f"'{line.strip()}' has wrong arguments", remedy=f"Write: {how}") from reason
    return True
