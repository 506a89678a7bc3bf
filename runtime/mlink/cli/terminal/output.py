"""Tables, JSON and exit codes, the same for all commands."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from mlink.storage.failures import printable

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.encoding.recording import EncodeReport
    from mlink.recording.care.repair import RepairReport
    from mlink.recording.care.verify import VerifyReport
    from mlink.recording.progress import Progress


class ExitCode(enum.IntEnum):
    """Exit codes of `mlink`."""

    SUCCESS = 0
    FAILED = 1
    """The run or the check failed, or there is a bug in mlink."""
    WRONG_INPUT = 2
    """Wrong bench, file or usage; nothing was run."""
    INTERRUPTED = 130
    """Ended by Ctrl-C before there was a result: 128 + SIGINT, as shells expect. Another signal
    adds its own number to 128."""


_NOT_IN_JSON = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]")
"""What controls a terminal or hides other text, and has no escape in JSON of its own accord."""
_PIPE_WIDTH = 200
"""Columns of tables that are printed into a file or another program."""


def print_json(value: Any) -> None:
    """Print a value as indented JSON; objects that JSON has no form for are printed as text."""
    import msgspec

    text = msgspec.json.format(as_json(value)).decode()
    typer.echo(_NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def as_json(value: Any) -> bytes:
    """Return a value as JSON on one line; what is not valid UTF-8 in its texts is escaped."""
    import msgspec

    try:
        return msgspec.json.encode(value, enc_hook=str)
    except UnicodeEncodeError:  # a file name, for instance
        return msgspec.json.encode(_in_utf8(msgspec.to_builtins(value, enc_hook=str)))


def _in_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_in_utf8(key): _in_utf8(item) for key, item in value.items()}
    return [_in_utf8(item) for item in value] if isinstance(value, list) else value


def print_report(report: VerifyReport | RepairReport | EncodeReport) -> None:
    """Print a report as JSON: its fields, and whether it is `ok`."""
    import msgspec

    print_json(msgspec.to_builtins(report) | {"ok": report.ok})


def progress_lines(wanted: bool) -> Progress:
    """Return what prints a line on stderr for each part of a work, "2 of 7: verify video"."""
    from mlink.recording.progress import quiet

    def show(text: str, number: int, count: int) -> None:
        typer.echo(f"{number} of {count}: {printable(text)}", err=True)

    return show if wanted else quiet


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 run" or "2 runs"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class _Escapes(RenderHook):
    """Escapes what controls a terminal in all that is printed: it may be of a stranger."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the renderables, escaped as they are rendered."""
        return [_Escaped(each) for each in renderables]


class _Escaped:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for each in console.render(self._inner, options):
            text = each.text if each.control else printable(each.text, keep="\n\t")
            yield Segment(text, each.style, each.control)


def safe_console(**options: Any) -> Console:
    """Return a console that escapes control characters; its lines are wrapped by the terminal.

    Args:
        options: Other options of the console than `highlight` and `soft_wrap`.
    """
    console = Console(**{"soft_wrap": True} | options, highlight=False)
    console.push_render_hook(_Escapes())
    return console


def table_console(*, soft_wrap: bool = False) -> Console:
    """Return a console for tables: wide if the output is not a terminal, so nothing is cut.

    Args:
        soft_wrap: Whether to leave the wrapping of text lines to the terminal.
    """
    console = safe_console(soft_wrap=soft_wrap)
    if not console.is_terminal:
        console = safe_console(soft_wrap=soft_wrap, width=_PIPE_WIDTH)
    return console


def plain_table(*titles: str, right: Collection[str] = ()) -> Table:
    """Return an empty table without lines.

    Args:
        titles: Titles of the columns.
        right: Titles of the columns whose cells are aligned to the right.
    """
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return table
