"""All errors that mlink raises on purpose.

    MlinkError
    ├── BenchError           a bench file, a devices file, an option or a call is wrong;
    │                        nothing was started (exit code 2)
    ├── ModuleError          a module failed during a run (exit code 1)
    │   ├── ScriptError      a user's script failed: an exception, no answer, wrong use of a port
    │   └── DeviceError      a device is absent, busy, silent, of the wrong kind, or was unplugged
    ├── RunFailedError       a run started from Python failed; carries its RunResult (mlink.api)
    ├── StreamError          an item does not fit its stream, or the stream has ended, or an item
    │                        was lost where none may be lost
    ├── HostError            another machine is not there, refuses, or cannot be reached
    ├── StorageError         a recording cannot be written or read: no such folder, a full disk,
    │                        a damaged file
    └── ControlError         engine and worker exchanged something invalid, or one of them died

To handle all of them, catch MlinkError. Any other exception that leaves mlink is a fault in mlink,
or comes from the caller's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MlinkError(Exception):
    """Base of all errors that mlink raises on purpose.

    Attributes:
        message: What happened, and where.
        remedy: What to do about it; empty when that is not known.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a bench or devices file.

    Attributes:
        where: The place as the file's author knows it: "[modules.cam] size", "--set cam.size".
        what: What is wrong there.
        remedy: What to do about it; may be empty.
    """

    where: str
    what: str
    remedy: str = ""


class BenchError(MlinkError):
    """A bench file, a devices file, an option or a call is wrong; nothing was started.

    Attributes:
        problems: Everything that is wrong in the file, one by one; empty when the error is not
            about the contents of a file.
    """

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)


class ModuleError(MlinkError):
    """A module failed. The run ends, and every other module still closes its files.

    Examples: its settings do not fit the device, its process died, it did not end in time.
    """


class ScriptError(ModuleError):
    """A user's script failed; the message begins with the script's file, line and source line.

    Examples: an exception that the script does not catch, a loop that does not end at the stop,
    `syl.raise_error()`.
    """


class DeviceError(ModuleError):
    """A device cannot be used.

    Examples: it is not plugged in, another program has it open, it does not reply, it was unplugged
    during the run, this user has no access to it.
    """


class StreamError(MlinkError):
    """An item cannot be sent, or was lost where none may be lost.

    Examples: it is of another type than its port, it is too large, the stream has ended, shared
    memory is used up.
    """


class HostError(MlinkError):
    """Another machine of a run is not there, refuses what it is asked for, or cannot be reached.

    Examples: its agent does not run, its version does not fit, its certificate has expired, another
    controller has taken it.

    Attributes:
        host: Name of the machine; empty when the error is about none in particular.
    """

    def __init__(self, message: str, *, host: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.host = host


class StorageError(MlinkError):
    """A recording cannot be written or read.

    Examples: the disk is full, there is no recording at the path, a file is damaged, a run is still
    writing to it.
    """


class ControlError(MlinkError):
    """Engine and worker exchanged an invalid message, or one of them died.

    Usually a fault in mlink, or a process that the system killed.
    """
