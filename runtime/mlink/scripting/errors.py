"""The error that the script interface raises, and reports of errors in user scripts.

A report names the user's file, line and source line; frames of mlink and of Python's library are
left out, since the user cannot change anything there.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import linecache
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from mlink.errors import MlinkError, ScriptError
from mlink.proposals import nearest
from mlink.refusals import text_of

_RUNTIME = Path(__file__).resolve().parents[2]
_OURS = (f"{_RUNTIME}/mlink/", f"{_RUNTIME}/syntalos_mlink/")
_LIBRARY = str(Path(traceback.__file__).parent) + "/"
_INSTALLED = ("/site-packages/", "/dist-packages/")
_SHOWN_CALLS = 6

_EXIT_REMEDY = "To end a run as failed, call syl.raise_error(message); to go on, return."
_OWN_REMEDY = "Correct the script there, or let it catch what may happen in a run."
_INTERRUPT_REMEDY = (
    "Loops must ask `syl.is_running()`, and wait with syl.wait() or syl.await_data()."
)


class SyntalosPyError(Exception):
    """The script interface was used wrongly, or an item could not be sent.

    Not an MlinkError: Syntalos scripts catch it by this name. The worker reports it as ScriptError.
    """


def script_error(error: BaseException, what: str, remedy: str = "") -> ScriptError:
    """Return the report of an exception that left a user's script.

    Args:
        error: The exception. It becomes the report's `__cause__`, so that `--debug` shows the
            whole traceback.
        what: The function of the script that was called, such as "start".
        remedy: What to do about it; empty takes the usual advice for this kind of exception.
    """
    made = _script_error(error, what, remedy)
    made.__cause__ = error
    return made


def _script_error(error: BaseException, what: str, remedy: str) -> ScriptError:
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        location = f"{error.filename}:{error.lineno}"
        source = (error.text or "").strip()
        name = type(error).__name__
        message = f"{location}: {source}\n  {name}: {error.msg}"
        return ScriptError(message, remedy="Correct the script.")
    frames = user_frames(error.__traceback__)
    text, known_remedy = _described(error)
    text = f"{text} (in {what})"
    remedy = remedy or known_remedy
    if not frames:
        return ScriptError(text, remedy=remedy)
    last = frames[-1]
    source = linecache.getline(last.filename, last.lineno or 0).strip()
    message = f"{last.filename}:{last.lineno}: {source}\n  {text}"
    if (cause := _cause(error)) is not None:
        message += f"\n  caused by {_described(cause)[0]}"
    if len(frames) > 1:
        calls = [f"{frame.name}:{frame.lineno}" for frame in frames]
        if len(calls) > _SHOWN_CALLS:  # endless recursion has a thousand
            calls = [*calls[: _SHOWN_CALLS // 2], "…", *calls[-(_SHOWN_CALLS // 2) :]]
        message += f"\n  called through {' → '.join(calls)}"
    return ScriptError(message, remedy=remedy)


def _described(error: BaseException) -> tuple[str, str]:
    """Return (description, advice) of an exception."""
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:  # our own handler
        return "SystemExit: the script was ended here by SIGTERM", _INTERRUPT_REMEDY
    if isinstance(error, SystemExit):
        shown = "" if error.code is None else repr(error.code)
        return f"SystemExit: the script called exit({shown})", _EXIT_REMEDY
    if isinstance(error, KeyboardInterrupt):
        why = f": {text}" if (text := text_of(error)) else ""  # by mlink itself
        return f"KeyboardInterrupt: the script was interrupted here{why}", _INTERRUPT_REMEDY
    name, text, remedy = type(error).__name__, text_of(error), _OWN_REMEDY
    if isinstance(error, SyntalosPyError) and isinstance(error.__cause__, MlinkError):
        ours = error.__cause__
        text = text.removesuffix(str(ours).removeprefix(ours.message))
        remedy = ours.remedy or remedy
    if (close := _misspelt(error)) is not None:
        remedy = f"Did you mean '{close}'?"
    elif isinstance(error, ModuleNotFoundError):
        remedy = (
            "Correct the name, or install its package for the Python that runs mlink: "
            f"{sys.executable} -m pip install …"
        )
    lines = [f"{name}: {text}" if text else name]
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        lines += [note for note in notes if isinstance(note, str)]
    return "\n  ".join(lines), remedy


def _misspelt(error: BaseException) -> str | None:
    """Return the known name that an unknown one of an AttributeError or NameError is near to."""
    known: list[str] = []
    with contextlib.suppress(Exception):  # a user's object may have any `__dir__`
        if isinstance(error, AttributeError):
            known = [each for each in dir(error.obj) if each[:1] != "_"]
        elif isinstance(error, NameError) and error.__traceback__ is not None:
            *_, (frame, _) = traceback.walk_tb(error.__traceback__)
            known = [*frame.f_locals, *frame.f_globals, *dir(builtins)]
        return nearest(getattr(error, "name", None) or "", known)
    return None


def _cause(error: BaseException) -> BaseException | None:
    """Return the cause when the user's code set it; causes of our own errors are internal."""
    if isinstance(error, SyntalosPyError) or error.__cause__ is None:
        return None
    return error.__cause__


def user_frames(tb: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback in the user's code; others are left out."""
    return only_users(traceback.extract_tb(tb))


def only_users(stack: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames in the user's code: not those in mlink and in Python's library."""
    return [frame for frame in stack if is_users(frame.filename)]


@functools.cache
def is_users(filename: str) -> bool:
    """Return whether the code of a file is the user's: not mlink's, Python's, or of a package."""
    if filename[:1] == "<":
        return False
    path = str(Path(filename).resolve())
    outside = path.startswith((*_OURS, _LIBRARY, sys.prefix + "/lib/"))
    return not outside and not any(folder in path for folder in _INSTALLED)


@functools.cache
def is_library(filename: str) -> bool:
    """Return whether a file is one of Python's library."""
    path = str(Path(filename).resolve())
    return path.startswith(_LIBRARY) and not any(folder in path for folder in _INSTALLED)
