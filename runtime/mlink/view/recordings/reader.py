"""`python -m mlink.view.recordings.reader RECORDING`: reads one recording for a view's program.

A recording may come from a stranger. Whatever its files do to what reads them ends this process,
and not the program that serves runs and other recordings.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mlink.errors import MlinkError

LIMIT_S = 120.0
"""Longest time for an answer: a long recording of signals is read as a whole."""
_LENGTH = struct.Struct("<I")
_MOST_BYTES = 256 << 20


class Ask(msgspec.Struct):
    """A question: what, of which stream, about which time."""

    what: str
    """"overview", "part" or "picture"."""
    stream: str = ""
    begin_usec: int = 0
    end_usec: int = 0
    most: int = 0
    """Points of a part, or the width of a picture."""


class Answer(msgspec.Struct):
    """JSON or a picture in its bytes; or an error with its remedy."""

    data: bytes = b""
    error: str = ""
    remedy: str = ""


class Reader:
    """The program's end: starts the process, asks it one question at a time.

    Args:
        path: The folder of the recording.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()
        self._asking = 0
        self._is_last = False

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._asking > 0

    async def ask(self, ask: Ask) -> bytes:
        """Return the answer to a question.

        Raises:
            MlinkError: The recording cannot be read, or takes too long.
        """
        self._asking += 1
        try:
            async with self._turn:
                answering = asyncio.create_task(asyncio.to_thread(self._answer, ask))
                done, _ = await asyncio.wait({answering}, timeout=LIMIT_S)
                if not done:
                    self.close()  # ends the thread, too
                answer = await answering
        finally:
            self._asking -= 1
            if self._is_last and not self._asking:
                self.close()
        if not done:
            answer = Answer(error=f"reading the recording took more than {LIMIT_S:g} s")
        if answer is None:
            self.close()
            answer = Answer(
                error="the process that reads the recording has ended: a file in it is damaged, or "
                "needs more memory than there is"
            )
        if answer.error:
            raise MlinkError(answer.error, remedy=answer.remedy or "Check it: mlink verify.")
        return answer.data

    def _answer(self, ask: Ask) -> Answer | None:
        """Return what the process answers; None if it ends before."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlink.view.recordings.reader", str(self._path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        try:
            into.write(msgspec.json.encode(ask) + b"\n")
            into.flush()
            size = out.read(_LENGTH.size)
            data = out.read(_LENGTH.unpack(size)[0]) if len(size) == _LENGTH.size else b""
            return msgspec.msgpack.decode(data, type=Answer)
        except (OSError, ValueError):  # it has ended, or `close` was quicker
            return None

    def retire(self) -> None:
        """End the process when the last question that waits is answered."""
        self._is_last = True
        if not self._asking:
            self.close()

    def close(self) -> None:
        """End the process; the next question starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        with suppress(OSError), process:
            pass  # closes its pipes


def _answers(view: Any, ask: Ask) -> bytes:
    if ask.what == "overview":
        return msgspec.json.encode(view.overview)
    if ask.what == "part":
        part = view.part(ask.stream, ask.begin_usec, ask.end_usec, ask.most)
        return msgspec.json.encode(part)
    data: bytes = view.picture(ask.stream, ask.end_usec, ask.most)
    return data


def main() -> None:
    """Answer questions until the standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    os.nice(10)
    from mlink.storage.failures import UNEXPECTED, damage_of
    from mlink.view.recordings.recorded import RecordedView

    view = None
    for line in sys.stdin.buffer:
        try:
            view = view or RecordedView(Path(sys.argv[1]))
            answer = Answer(_answers(view, msgspec.json.decode(line, type=Ask)))
            if len(answer.data) > _MOST_BYTES:
                answer = Answer(error="the answer is too large for a page")
        except MlinkError as error:
            answer = Answer(error=error.message, remedy=error.remedy)
        except UNEXPECTED as error:
            answer = Answer(error=damage_of(error))
        data = msgspec.msgpack.encode(answer)
        out.write(_LENGTH.pack(len(data)) + data)
        out.flush()


if __name__ == "__main__":
    main()
