"""The one hierarchy of errors. A message says what happened, where, and what to do.

MlinkError
├── BenchError              the bench file or the command line is wrong (exit code 2)
├── ModuleError             a module failed during a run (exit code 1)
│   ├── ScriptError         the user's script failed; carries file, line and source line
│   └── DeviceError         a device is absent, busy, silent, or went away
├── StreamError             an item cannot be sent or was lost where nothing may be lost
├── StorageError            a recording cannot be written or read
└── ControlError            engine and worker do not understand each other
"""

from __future__ import annotations


class MlinkError(Exception):
    """Base of all errors that mlink raises on purpose.

    `message` says what happened and where; `remedy`, when known, what to do about it.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class BenchError(MlinkError):
    """The bench file, a device table or an option is wrong; nothing was started."""


class ModuleError(MlinkError):
    """A module failed; the run ends and every other module closes its files."""


class ScriptError(ModuleError):
    """The user's script failed; the message holds the user's file, line and source line."""


class DeviceError(ModuleError):
    """A device is absent, busy, silent, of the wrong kind, or went away."""


class StreamError(MlinkError):
    """An item does not fit its stream, or was lost on a stream that may lose nothing."""


class StorageError(MlinkError):
    """A recording cannot be written or read."""


class ControlError(MlinkError):
    """Engine and worker do not understand each other, or one of them went away."""
