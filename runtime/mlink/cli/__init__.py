"""The command line `mlink`: one file per command. An error is printed as one message with a remedy.

Commands import what they need when they are called, so that `mlink --help` starts fast.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from mlink.cli.board import board
from mlink.cli.check import check
from mlink.cli.devices import devices
from mlink.cli.doctor import doctor
from mlink.cli.encode import encode
from mlink.cli.export import export
from mlink.cli.info import info
from mlink.cli.line import line
from mlink.cli.list import list_recordings
from mlink.cli.listen import listen
from mlink.cli.modules import modules
from mlink.cli.new import new
from mlink.cli.output import ExitCode, safe_console
from mlink.cli.repair import repair
from mlink.cli.replay import replay
from mlink.cli.run import run
from mlink.cli.settings import settings
from mlink.cli.step import step
from mlink.cli.verify import verify
from mlink.cli.view import view
from mlink.ctrl_c import ended_by, raise_on_signals
from mlink.errors import MlinkError
from mlink.installed import entry_points
from mlink.refusals import refusal, text_of

__all__ = ["app", "main"]

COMMANDS_GROUP = "mlink.commands"
_IMPORT_MUCH = ("run", "replay")
"""Commands that call `raise_on_signals` themselves, when they have imported what they need."""


class _Group(TyperGroup):
    """Turns exceptions of commands into messages and exit codes."""

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


for command in (
    run,
    step,
    replay,
    listen,
    line,
    settings,
    check,
    new,
    modules,
    devices,
    doctor,
    board,
    info,
    view,
    verify,
    repair,
    encode,
    export,
):
    app.command()(command)
app.command("list")(list_recordings)


def _add_installed_commands() -> None:
    """Add the commands of installed packages (entry points of the group mlink.commands)."""
    for entry in sorted(entry_points(group=COMMANDS_GROUP), key=lambda found: found.name):
        try:
            app.command(entry.name)(entry.load())
        except Exception as error:  # noqa: BLE001 - a broken package must not disable the other commands
            _stderr().print(f"warning: 'mlink {entry.name}' cannot be loaded: {error}")


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


_add_installed_commands()
