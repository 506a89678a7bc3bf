"""The error that the script interface raises, and errors of user scripts in the user's words."""

from __future__ import annotations

import linecache
import sys
import traceback
from pathlib import Path
from types import TracebackType

from mlink.errors import ScriptError

_RUNTIME = Path(__file__).resolve().parents[2]
_OURS = (f"{_RUNTIME}/mlink/", f"{_RUNTIME}/syntalos_mlink/")


class SyntalosPyError(Exception):
    """The script interface was used wrongly, or an item could not be sent."""


def script_error(error: BaseException, what: str) -> ScriptError:
    """Say what went wrong in a script: the user's file, line and source line, none of our frames.

    `what` names the place in the script's life, e.g. "start()".
    """
    if isinstance(error, SyntaxError) and error.filename:
        location = f"{error.filename}:{error.lineno}"
        source = (error.text or "").strip()
        message = f"{location}: {source}\n  SyntaxError: {error.msg}"
        return ScriptError(message, remedy="Correct the script.")
    frames = user_frames(error.__traceback__)
    name = type(error).__name__
    text = f"{name}: {error}" if str(error) else name
    if not frames:
        return ScriptError(f"in {what}: {text}")
    last = frames[-1]
    source = linecache.getline(last.filename, last.lineno or 0).strip()
    message = f"{last.filename}:{last.lineno}: {source}\n  {text} (in {what})"
    if len(frames) > 1:
        calls = " → ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
        message += f"\n  called through {calls}"
    return ScriptError(message)


def user_frames(tb: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback that are the user's: not ours, not Python's own."""
    stdlib = str(Path(traceback.__file__).parent) + "/"
    frames = []
    for frame in traceback.extract_tb(tb):
        path = str(Path(frame.filename).resolve()) if frame.filename[:1] != "<" else ""
        outside = not path or path.startswith(_OURS) or path.startswith(stdlib)
        if not outside and not path.startswith(sys.prefix + "/lib/"):
            frames.append(frame)
    return frames
