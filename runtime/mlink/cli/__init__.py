"""The command line `mlink`: one file per command. An error is printed as one message with a remedy.

A command's file is imported, and its options made, when it is used or `--help` lists it. It imports
what it needs when it is called.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from mlink.cli.terminal.output import ExitCode, safe_console
from mlink.ctrl_c import ended_by, raise_on_signals
from mlink.errors import MlinkError
from mlink.installed import entry_points
from mlink.refusals import refusal, text_of

__all__ = ["app", "main"]

COMMANDS_GROUP = "mlink.commands"
_OURS = (
    "run", "step", "replay", "listen", "line", "settings", "check", "new", "examples", "modules",
    "devices", "doctor", "board", "info", "view", "verify", "repair", "encode", "export", "list",
    "agent", "hosts", "gather",
)  # fmt: skip
"""Commands of this package: function NAME of `mlink.cli.NAME`."""
_ELSEWHERE = {
    "agent": "hosts.agent:agent",
    "doctor": "doctor.command:doctor",
    "encode": "recorded.encode:encode",
    "examples": "new:examples",
    "export": "recorded.export:export",
    "gather": "hosts.gather:gather",
    "hosts": "hosts.listing:hosts",
    "info": "recorded.info:info",
    "list": "recorded.list:list_recordings",
    "repair": "recorded.repair:repair",
    "verify": "recorded.verify:verify",
}
"""Commands whose function is elsewhere below `mlink.cli`."""
_IMPORT_MUCH = ("run", "replay")
"""Commands that call `raise_on_signals` themselves, when they have imported what they need."""


class _Commands(Mapping[str, Any]):
    """The commands by name: those of this package, then those of installed packages."""

    def __init__(self) -> None:
        ours = (
            EntryPoint(name, f"mlink.cli.{_ELSEWHERE.get(name, f'{name}:{name}')}", COMMANDS_GROUP)
            for name in _OURS
        )
        others = sorted(entry_points(group=COMMANDS_GROUP), key=lambda found: found.name)
        self._points = {point.name: point for point in (*ours, *others)}
        self._made: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, name: str) -> Any:
        """Return a command; it is made once.

        Raises:
            KeyError: There is no such command, or its package is broken, which is printed.
        """
        if name not in self._made:
            point = self._points[name]
            try:
                info = CommandInfo(name, callback=point.load())
            except Exception as error:
                if name in _OURS:
                    raise
                # a broken package must not disable the other commands
                _stderr().print(f"warning: 'mlink {name}' cannot be loaded: {text_of(error)}")
                raise KeyError(name) from error
            self._made[name] = get_command_from_info(
                info, pretty_exceptions_short=False, rich_markup_mode=None
            )
        return self._made[name]


_commands = functools.cache(_Commands)


class _Group(TyperGroup):
    """Turns exceptions of commands into messages and exit codes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": _commands()})

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in their order."""
        return [name for name in self.commands if self.get_command(ctx, name)]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print its exceptions as messages and exit with the matching code."""
        state = ctx.ensure_object(dict)
        try:
            return super().invoke(ctx)
        except MlinkError as error:
            _show_error(error, debug=bool(state.get("debug")))
            raise typer.Exit(ExitCode.WRONG_INPUT) from error
        except KeyboardInterrupt as error:
            text, number = ended_by(error)
            _stderr().print(text, style="yellow")
            raise typer.Exit(ExitCode.INTERRUPTED + number - signal.SIGINT) from error
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if hasattr(error, "exit_code"):
                raise  # wrong usage, which typer reports
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of the output has closed the pipe; typer exits silently
            if (refused := refusal(error)) is not None:
                _show_error(refused, debug=bool(state.get("debug")))
                raise typer.Exit(ExitCode.FAILED) from error
            _show_bug(error, debug=bool(state.get("debug")))
            raise typer.Exit(ExitCode.FAILED) from error


app = typer.Typer(
    name="mlink",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"mlink {version('mlink-hil')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.", is_eager=True)
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, help="Show the version and exit.", is_eager=True
        ),
    ] = False,
) -> None:
    """Hardware-in-the-loop runs: boards, cameras and your scripts on one clock."""
    context.ensure_object(dict)["debug"] = debug
    if context.invoked_subcommand not in _IMPORT_MUCH:
        raise_on_signals()


def main() -> None:
    """Run the command line; characters that the output cannot hold are printed as escapes."""
    os.umask(os.umask(0o077) | 0o002)  # no file that other users may write, whatever the shell has
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _stderr() -> Console:
    return safe_console(stderr=True)


def _show_error(error: MlinkError, *, debug: bool) -> None:
    console = _stderr()
    console.print(Text("error: ", style="bold red").append(error.message, style="not bold red"))
    if error.remedy:
        console.print(Text(f"  → {error.remedy}"))
    if debug:
        _show_traceback(error, console)


def _show_bug(error: Exception, *, debug: bool) -> None:
    console = _stderr()
    text = f"internal error: {type(error).__name__}: {text_of(error)}"
    console.print(Text(text, style="bold red"))
    if debug:
        _show_traceback(error, console)
    else:
        console.print("  → This is a bug in mlink. For the traceback: mlink --debug …")


def _show_traceback(error: BaseException, console: Console) -> None:
    import traceback

    console.print(Text("".join(traceback.format_exception(error)), style="dim"))
