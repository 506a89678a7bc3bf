"""Messages of the protocol: JSON in ZeroMQ frames, its limits, and the token on top of it.

A command is published as two frames, the topic and the JSON; an acknowledgement is one frame. With
a token, which only mlink knows, one more frame follows: the HMAC-SHA256 of the others.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
import time
import unicodedata
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from mlink.errors import ControlError

TOPIC: Final = b"sy.cmd"
VERSION: Final = 1
CONTROL_PORT: Final = 5556
FEEDBACK_PORT: Final = 5557
MOST_BYTES: Final = 65_536
LINGER_MSEC: Final = 1000
_FRESH_S: Final = 60.0
"""With a token: how old a message may be."""
_LEAST_TOKEN: Final = 16
_MOST_TOKEN: Final = 4096

Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]


class Ours(msgspec.Struct, omit_defaults=True):
    """What mlink adds to messages; others ignore it."""

    boot: Name = ""
    """Id of the machine's boot: equal ids have one clock."""
    clock_error_us: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    """How wrong the system clock may be, by its synchronisation; None if that is not known."""
    sent_us: int = 0
    """When it was sent, µs of the system clock."""


class Message(msgspec.Struct, omit_defaults=True):
    """Any message; which fields are used depends on `type`."""

    v: int
    type: Name
    """prepare, start, stop, ack"""
    sender: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    run_id: Name
    project: Name = ""
    subject_id: Name = ""
    subject_group: Name = ""
    experiment_id: Name = ""
    ts_start_us: int | float | None = None
    """With start: when the controller's run began, µs of its system clock."""
    success: bool | None = None
    """With stop and ack: whether the run succeeded."""
    ack_for: Name = ""
    error: Text = ""
    mlink: Ours = msgspec.field(default_factory=Ours)

    @property
    def names(self) -> tuple[str, ...]:
        """Texts that are shown, or become names of files."""
        return (self.sender, self.project, self.subject_id, self.subject_group, self.experiment_id)

    @property
    def run_uuid(self) -> bytes:
        """The run's id, 16 bytes.

        Raises:
            ValueError: It is no UUID.
        """
        return uuid.UUID(self.run_id).bytes


_decoder: Final = msgspec.json.Decoder(Message)


class Wire:
    """Writes and reads the frames of messages.

    Args:
        token: Secret of both ends; b"" for none, as with Syntalos.
    """

    def __init__(self, token: bytes = b"") -> None:
        self._token = token
        self.refused = 0
        """Messages that were not taken: damaged, too old, of another version or token."""
        self.why = ""
        """Why the last one was not."""

    def frames(self, message: Message, topic: bytes = b"") -> list[bytes]:
        """Return the frames of a message."""
        message.mlink.sent_us = time.time_ns() // 1000
        frames = [*([topic] if topic else []), msgspec.json.encode(message)]
        return [*frames, self._mac(frames)] if self._token else frames

    def read(self, frames: list[bytes], topic: bytes = b"") -> Message | None:
        """Return the message in frames; None if it is refused."""
        message = self._read(frames, topic)
        if isinstance(message, Message):
            return message
        self.refused += 1
        self.why = message
        return None

    def _read(self, frames: list[bytes], topic: bytes) -> Message | str:
        count = (2 if topic else 1) + bool(self._token)
        if self._token and len(frames) == count - 1:
            return "it has no token, and this end has one"
        if len(frames) != count or (topic and frames[0] != topic):
            return f"it has {len(frames)} parts where {count} belong"
        if self._token and not hmac.compare_digest(frames[-1], self._mac(frames[:-1])):
            return "its token is another one"
        try:
            message = _decoder.decode(frames[1 if topic else 0])
            message.run_uuid  # noqa: B018 - must be a UUID
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return f"it cannot be read: {str(error)[:200]}"
        if not all(map(_is_printable, "".join(message.names))):
            return "its names have control characters"
        if message.ts_start_us is not None and not 0 <= message.ts_start_us < 1 << 60:
            return "it starts at no time"
        if message.v != VERSION:
            return f"it has version {message.v} of the protocol; known is {VERSION}"
        if self._token and abs(time.time() - message.mlink.sent_us / 1e6) > _FRESH_S:
            return f"it is older than {_FRESH_S:g} s, or the clocks differ by that"
        return message

    def _mac(self, frames: list[bytes]) -> bytes:
        return hmac.digest(self._token, b"\0".join(frames), hashlib.sha256)


def _is_printable(character: str) -> bool:
    """Return whether a character is for print; blanks of other widths are, too."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def read_token(path: Path) -> bytes:
    """Return the token in a file.

    Raises:
        ControlError: It cannot be read, is too short, or others may read it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > _MOST_TOKEN:
            raise ControlError(f"{path} is no file with a token", remedy=_remedy(path))
        if path.stat().st_mode & 0o077:
            raise ControlError(f"others may read {path}", remedy=f"chmod 600 {path}")
        token = path.read_bytes().strip()
    except OSError as error:
        raise ControlError(
            f"{path} cannot be read: {error.strerror}", remedy=_remedy(path)
        ) from error
    if len(token) < _LEAST_TOKEN:
        what = f"the token in {path} has less than {_LEAST_TOKEN} characters"
        raise ControlError(what, remedy=_remedy(path))
    return token


def _remedy(path: Path) -> str:
    return f"Make one, and copy it to the other machine: (umask 077; openssl rand -hex 32 > {path})"


def instance_id() -> str:
    """Return an id for this end, which messages carry as their sender."""
    return f"mlink-{secrets.token_hex(8)}"


def bounded_socket(zmq: Any, context: Any, kind: int) -> Any:
    """Return a socket that takes no large messages, and may send for a second after its end."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MSEC)
    socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
    return socket


def zmq_module() -> Any:
    """Return pyzmq.

    Raises:
        ControlError: It is not installed.
    """
    try:
        import zmq
    except ImportError as error:
        raise ControlError(
            "run control over the network needs pyzmq",
            remedy="pip install 'mlink-hil[network]'",
        ) from error
    return zmq
