"""What the operating system refuses, in words: no file may be opened any more, no memory is left.

Such an error can come from any call and is no fault in mlink. It is converted where an exception
leaves a worker, a run or a command, not at each call.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.errors import MlinkError, StorageError

_DISK_FULL = "Free space on that disk, or use a folder on another one."
_PERMISSION = "Check the permissions of that path."
_PROCESSES = "End other processes of this user, or allow more: ulimit -u."
_MEMORY = "End other programs, or give this one more memory"

REMEDIES = {
    errno.EMFILE: "Allow more open files: ulimit -n 4096.",
    errno.ENFILE: "Close programs, or raise the number of files that the system may have open: "
    "sysctl fs.file-max.",
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EFBIG: "Allow larger files (ulimit -f), or use a file system that holds them, e.g. ext4.",
    errno.EROFS: "The file system is read-only: remount it, or use a folder on another one.",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENAMETOOLONG: "Choose shorter names.",
    errno.EIO: "The disk or device reports an input/output error: check its cable and `dmesg`.",
    errno.EAGAIN: _PROCESSES,
    errno.ENOMEM: f"{_MEMORY}.",
    errno.ESTALE: "The file system of that path has gone: mount it again.",
}
"""Advice for an `errno` that is about the machine, its disks and limits, not about a wrong call."""

LEAST_BYTES = 1 << 30
"""Address space that NumPy, OpenCV and their threads need; with less they end the process."""
_NO_FILES = "too many open files"
_NO_LIBRARY = ("failed to map segment", "cannot allocate memory", _NO_FILES)
_MISSING = "cannot open shared object file: no such file"
_OF_OPENCV = ("libgl.so", "libglib-2.0.so", "libgthread-2.0.so", "libx11.so", "libxcb.so")
"""What opencv-python needs of the system, for windows; opencv-python-headless needs none of it."""
_NO_OPENCV = "no module named 'cv2'"
_OPENCV_LIBRARIES = "sudo apt-get install libgl1 libglib2.0-0"
_HEADLESS = "pip install --force-reinstall --no-deps opencv-python-headless"
_NO_DEVICES = "Mount the system's /dev; in a chroot: mount --rbind /dev ROOT/dev."
_NO_THREAD = "can't start new thread"


def refusal(error: BaseException) -> MlinkError | None:
    """Return what the system has refused, with a remedy; None when the error is none of that.

    Args:
        error: Any exception.
    """
    if isinstance(error, MemoryError):
        return MlinkError("no memory is left", remedy=memory_remedy())
    if isinstance(error, ImportError):
        reason = text_of(error)
        if (line := _line_of_system(reason)) is not None:
            return MlinkError(f"a library cannot be loaded: {line}", remedy=import_remedy(reason))
        return None
    if isinstance(error, RuntimeError) and _NO_THREAD in text_of(error):
        return MlinkError("no further thread can be started", remedy=_PROCESSES)
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return StorageError(
            f"not valid UTF-8: {shown(error.object[max(0, error.start - 80) : error.end + 80])}",
            remedy="Give that folder, file, name or text a form in UTF-8.",
        )
    if isinstance(error, OSError) and error.filename == os.devnull:
        return StorageError(f"{error.strerror}: {os.devnull}", remedy=_NO_DEVICES)
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return _of_system_call(error)
    return None


def text_of(error: BaseException) -> str:
    """Return the text of any exception, also of one whose `__str__` raises."""
    try:
        return str(error)
    except BaseException as raised:  # noqa: BLE001 - code of users, which may raise anything
        return f"(no text: its __str__ raised {type(raised).__name__})"


@contextmanager
def refusals_as_errors() -> Iterator[None]:
    """Convert what the system refuses inside the block; other exceptions pass unchanged.

    Raises:
        MlinkError: The system has refused something.
    """
    try:
        yield
    except MlinkError:
        raise
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        raise refused from error


def too_little_address_space() -> MlinkError | None:
    """Return the error of a limit on address space that ends the libraries mlink needs, or None."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or limit >= LEAST_BYTES:
        return None
    return MlinkError(
        f"the address space of this program is limited to {limit >> 20} MB (ulimit -v), and it "
        f"needs {LEAST_BYTES >> 20} MB",
        remedy="Allow more: ulimit -v unlimited.",
    )


def proc_is_missing() -> MlinkError | None:
    """Return the error of a system without /proc, by which a run finds its threads and processes.

    None if it is there.
    """
    if Path("/proc/self/task").exists():
        return None
    return MlinkError(
        "/proc is not mounted: without it a run finds neither its threads nor what modules leave",
        remedy="Mount it: mount -t proc proc /proc (in a container: do not switch it off).",
    )


def import_remedy(reason: str) -> str:
    """Return what to do when an installed package cannot be imported.

    Args:
        reason: Text of the exception; may be that of a limit of the system.
    """
    reason = reason.casefold()
    if reason.partition(":")[0].endswith("/module.toml"):
        return "Correct it, or remove its folder."
    if _NO_FILES in reason:
        return REMEDIES[errno.EMFILE]
    if "memoryerror" in reason or any(text in reason for text in _NO_LIBRARY):
        return memory_remedy()
    if _NO_OPENCV in reason:
        return f"Install OpenCV: {_HEADLESS} (to show windows: opencv-python)."
    if _MISSING not in reason:
        return "Reinstall the package that provides it, with its extras."
    if any(library in reason for library in _OF_OPENCV):
        return f"{_OPENCV_LIBRARIES}   (or, where no window is shown, {_HEADLESS})"
    return "Install the package of your system that has this library (Debian: apt-file finds it)."


def crash_remedy(usual: str) -> str:
    """Return what to do when a process has crashed: a limit of its memory may be the cause.

    Args:
        usual: What to do without such a limit.
    """
    if not (limits := _memory_limits()):
        return usual
    return f"If memory was short, allow more: {limits}. {usual}"


def memory_remedy() -> str:
    """Return what to do when memory is short; names the limits of this process that it has."""
    limits = _memory_limits()
    return f"{_MEMORY}{': ' if limits else ''}{limits}."


def _memory_limits() -> str:
    limits = [
        f"{words} is limited to {limit >> 20} MB (ulimit {option})"
        for words, option, limit in (
            ("its address space", "-v", resource.getrlimit(resource.RLIMIT_AS)[0]),
            ("its data", "-d", resource.getrlimit(resource.RLIMIT_DATA)[0]),
        )
        if limit != resource.RLIM_INFINITY
    ]
    return "; ".join(limits)


def shown(text: str, limit: int = 200) -> str:
    """Return a text for a message: valid UTF-8, and not longer than a line or two."""
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if len(valid) <= limit else f"{valid[:limit]} …"


def _of_system_call(error: OSError) -> MlinkError:
    assert error.errno is not None
    remedy = memory_remedy() if error.errno == errno.ENOMEM else REMEDIES[error.errno]
    where = f": {shown(os.fsdecode(error.filename))}" if _is_path(error.filename) else ""
    reason = error.strerror or os.strerror(error.errno)
    return StorageError(f"{reason}{where}", remedy=remedy)


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _line_of_system(message: str) -> str | None:
    """Return the line of an import's message that has the system's reason; NumPy's has thirty."""
    known = (*_NO_LIBRARY, _MISSING, _NO_OPENCV)
    lines = (
        line for line in message.splitlines() if any(text in line.casefold() for text in known)
    )
    return next(lines, None)
