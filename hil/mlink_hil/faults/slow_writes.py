"""A slow disk for one process: delays its system calls that write below a folder.

The process is traced with ptrace(2). Before each write and sync of a file below the folder it is
held for as long as a disk of that speed would take. This slows whatever writes, C libraries
included; to the process it looks like a slow disk. Writes through mapped memory are not slowed, and
all other system calls take up to 1 ms longer. Linux on x86-64 and ARM64.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import threading
import time
from pathlib import Path

from mlink.errors import DeviceError

# include/uapi/linux/ptrace.h, wait.h, audit.h
_DETACH, _SYSCALL = 17, 24
_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E
_TRACE_SYSGOOD, _TRACE_CLONE = 0x1, 0x8
_EVENT_STOP = 128
_ENTRY = 1
_WALL, _WNOTHREAD = 0x40000000, 0x20000000
_SYSCALL_INFO = struct.Struct("=B3xIQQQ6Q")  # op, arch, ip, sp, nr, args
_WRITE, _WRITE_VECTOR, _SYNC = range(3)
_CALLS = {
    0xC000003E: {1: _WRITE, 18: _WRITE, 20: _WRITE_VECTOR, 296: _WRITE_VECTOR}
    | {74: _SYNC, 75: _SYNC},
    0xC00000B7: {64: _WRITE, 68: _WRITE, 66: _WRITE_VECTOR, 70: _WRITE_VECTOR}
    | {82: _SYNC, 83: _SYNC},
}
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

_BUSY_SEC, _IDLE_SEC = 50e-6, 1e-3
_BUSY_POLLS = 40
_START_SEC = 5.0
_STOP_SEC = 3.0
_MOST_VECTORS = 1024

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class SlowWrites:
    """Slows one process from `start` to `stop`, in one thread: only that may trace it.

    Args:
        pid: The process.
        folder: Only files below it are slow.
        bytes_per_sec: Speed of the disk.
        write_sec: Time that each write and each sync takes besides, in s.
    """

    def __init__(self, pid: int, folder: Path, bytes_per_sec: float, write_sec: float) -> None:
        self.slowed_bytes = 0
        """Bytes written at the slow rate so far."""
        self._pid = pid
        self._folder = str(folder.resolve()) + os.sep
        self._sec_per_byte = 1 / bytes_per_sec
        self._write_sec = write_sec
        self._running: set[int] = set()
        self._held: dict[int, float] = {}
        """Thread that waits for the disk → until when (time.monotonic)."""
        self._free_at = 0.0
        """When the disk has done all writes so far (time.monotonic)."""
        self._ready = threading.Event()
        self._ending = threading.Event()
        self._error = ""
        self._thread = threading.Thread(target=self._trace, name="slow-disk", daemon=True)

    def start(self) -> None:
        """Begin to slow the process.

        Raises:
            DeviceError: The system does not allow tracing.
        """
        self._thread.start()
        if not self._ready.wait(_START_SEC) or self._error:
            raise DeviceError(
                f"slow-disk: process {self._pid} cannot be traced: {self._error or 'no answer'}",
                remedy="Allow ptrace of own processes: sysctl kernel.yama.ptrace_scope=1 or 0, "
                "and in containers --cap-add SYS_PTRACE.",
            )

    def stop(self) -> None:
        """Let the process write at full speed again."""
        self._ending.set()
        self._thread.join(_STOP_SEC + 1)

    # the tracing thread ---------------------------------------------------------------------

    def _trace(self) -> None:
        try:
            for task in Path(f"/proc/{self._pid}/task").iterdir():
                self._seize(int(task.name))
        except OSError as error:
            self._error = error.strerror or str(error)
            self._detach_all()
            self._ready.set()
            return
        self._ready.set()
        polls = 0
        while not self._ending.is_set():
            self._resume_due()
            found = self._wait()
            if found is None:
                return  # the process has ended
            polls = 0 if found else polls + 1
            if not found:
                time.sleep(_BUSY_SEC if polls < _BUSY_POLLS else _IDLE_SEC)
        self._detach_all()

    def _seize(self, tid: int) -> None:
        _ptrace(_SEIZE, tid, 0, _TRACE_SYSGOOD | _TRACE_CLONE)
        self._running.add(tid)
        _ptrace(_INTERRUPT, tid)

    def _wait(self) -> bool | None:
        """Handle one stopped thread; False when none has stopped, None when none is left."""
        try:
            tid, status = os.waitpid(-1, os.WNOHANG | _WALL | _WNOTHREAD)
        except ChildProcessError:
            return None
        if not tid:
            return False
        if os.WIFSTOPPED(status):
            self._running.discard(tid)
            self._on_stop(tid, os.WSTOPSIG(status), status >> 16)
        else:
            self._running.discard(tid)
            self._held.pop(tid, None)
        return True

    def _on_stop(self, tid: int, number: int, event: int) -> None:
        if number == signal.SIGTRAP | 0x80:
            wait_sec = self._cost(tid)
            if wait_sec > 0:
                now = time.monotonic()
                self._free_at = self._held[tid] = max(now, self._free_at) + wait_sec
                return
            self._resume(tid)
        elif event == _EVENT_STOP and number in _STOPPING:
            self._resume(tid, request=_LISTEN)  # a SIGSTOP: the thread stays stopped until SIGCONT
        else:
            self._resume(tid, 0 if event else number)

    def _resume_due(self) -> None:
        now = time.monotonic()
        for tid in [tid for tid, until in self._held.items() if until <= now]:
            del self._held[tid]
            self._resume(tid)

    def _resume(self, tid: int, number: int = 0, *, request: int = _SYSCALL) -> None:
        try:
            _ptrace(request, tid, 0, number)
            self._running.add(tid)
        except OSError:
            pass  # the thread has been killed meanwhile

    def _cost(self, tid: int) -> float:
        """Return how long the system call that a thread is about to make shall take, in s."""
        buffer = ctypes.create_string_buffer(_SYSCALL_INFO.size + 64)
        try:
            _ptrace(_GET_SYSCALL_INFO, tid, len(buffer), ctypes.addressof(buffer))
        except OSError:
            return 0.0
        op, arch, _, _, number, fd, address, size, *_ = _SYSCALL_INFO.unpack_from(buffer)
        kind = _CALLS.get(arch, {}).get(number)
        if op != _ENTRY or kind is None or not self._is_slowed(fd):
            return 0.0
        if kind == _SYNC:
            return self._write_sec
        count = size if kind == _WRITE else self._vector_bytes(address, size)
        self.slowed_bytes += count
        return self._write_sec + count * self._sec_per_byte

    def _is_slowed(self, fd: int) -> bool:
        try:
            return str(Path(f"/proc/{self._pid}/fd/{fd}").readlink()).startswith(self._folder)
        except OSError:
            return False

    def _vector_bytes(self, address: int, count: int) -> int:
        """Return the bytes in all buffers of an array of `struct iovec` of the process."""
        try:
            with Path(f"/proc/{self._pid}/mem").open("rb", 0) as memory:
                memory.seek(address)
                data = memory.read(16 * min(count, _MOST_VECTORS))
        except OSError:
            return 0
        return sum(length for _, length in struct.iter_unpack("=QQ", data[: len(data) // 16 * 16]))

    def _detach_all(self) -> None:
        """Detach from all threads; each must be stopped for that."""
        for tid in self._held:
            _detach(tid)
        for tid in list(self._running):
            try:
                _ptrace(_INTERRUPT, tid)
            except OSError:
                self._running.discard(tid)
        deadline = time.monotonic() + _STOP_SEC
        while self._running and time.monotonic() < deadline:
            try:
                tid, status = os.waitpid(-1, os.WNOHANG | _WALL | _WNOTHREAD)
            except ChildProcessError:
                return
            if not tid:
                time.sleep(_BUSY_SEC)
                continue
            self._running.discard(tid)
            if os.WIFSTOPPED(status):
                number, event = os.WSTOPSIG(status), status >> 16
                traced = event or number == signal.SIGTRAP | 0x80
                _detach(tid, 0 if traced else number)


def _detach(tid: int, number: int = 0) -> None:
    try:
        _ptrace(_DETACH, tid, 0, number)
    except OSError:
        pass  # the thread has ended


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, tid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
