"""Converts an exception to texts for users: message, remedy, and a traceback for --debug."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass

from mlink.errors import MlinkError
from mlink.refusals import refusal, text_of


@dataclass(frozen=True, slots=True)
class FailureText:
    """What to report about a failure; `detail` is the traceback, and may be empty."""

    message: str
    remedy: str
    detail: str = ""


_OWN_REMEDY = "The module itself ended the run, with this text; its lines in the log may help."
_SYSTEM_REMEDY = "The system refused this: check that file or device, and look into `dmesg`."
_SIGNAL_REMEDY = (
    "If mlink has not ended it because it did not go on, another program or person sent the signal."
)


def describe(error: BaseException | str, *, debug: bool = False) -> FailureText:
    """Return the texts for an error.

    Args:
        error: An exception, or the message itself.
        debug: Whether to include the traceback.
    """
    if isinstance(error, str):
        return FailureText(error, _OWN_REMEDY)
    detail = "".join(traceback.format_exception(error)) if debug else ""
    known = error if isinstance(error, MlinkError) else refusal(error)
    if known is not None:
        return FailureText(known.message, known.remedy or _OWN_REMEDY, detail)
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename else ""
        text = f"{error.strerror or text_of(error)}{where}"
        return FailureText(text, _SYSTEM_REMEDY, detail)
    if (number := _signal_of(error)) is not None:
        return FailureText(f"its process was asked to end ({number.name})", _SIGNAL_REMEDY, detail)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return FailureText(
        f"{type(error).__name__}: {text_of(error)}{where}",
        "This looks like a fault in the module; run again with --debug (in Python: debug=True) for "
        "the traceback.",
        detail,
    )


def _signal_of(error: BaseException) -> signal.Signals | None:
    """Return the signal that raised this error in a worker; None for other errors."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        return signal.SIGTERM
    return None
