"""Runs cases of a fuzzer within bounds of memory and time; a case is its seed.

It is meant for a process of its own. A case that raises something else than an MlinkError, needs
500 MB more than its libraries, or more than 10 s of processor time, or waits, or changes a file
that is not its own, ends the process with an error that has the seed.
"""

from __future__ import annotations

import faulthandler
import hashlib
import random
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mlink.errors import MlinkError

MEMORY = 500 << 20
CPU_S = 10
_WAIT_S = 200.0
"""A case that has not ended after this time hangs, however busy the machine is."""
_WORDS = (
    b"\0", b"\xff", b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"NaN", b"null",
    b"[" * 2000,
    b"{" * 2000, b"a." * 500, b'"', b"'", b"\n", b"../../outside/x", b"/etc/passwd", b"[]", b"{}",
    b"9" * 400, b"99999999999", b"\x28\xb5\x2f\xfd", b"\xdd\xff\xff\xff\xff", b"nan", b"inf",
    b'""""',
    b"\xc3\x28", b"true", b"= 5\n", b"[[data]]\n", b";" * 3000, b"\r", b"\x1b]0;x\x07", b"=1+1",
    b"\\u202e",
)  # fmt: skip


class Cases(Protocol):
    """What is changed, and what reads it."""

    watched: list[Path]
    """Folders that no case may change."""

    def run(self, choose: random.Random) -> None:
        """Run one case, which may raise an MlinkError."""


def run_cases(cases: Cases, first: int, count: int, until_cpu_s: float) -> int:
    """Run cases; return how many were run within the processor time."""
    before = [digest(folder) for folder in cases.watched]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _too_long)
    for done, seed in enumerate(range(first, first + count)):
        if resource.getrusage(resource.RUSAGE_SELF).ru_utime > until_cpu_s:
            return done
        faulthandler.dump_traceback_later(_WAIT_S, exit=True)
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            with suppress(MlinkError):
                cases.run(random.Random(seed))
        except BaseException:
            print(f"seed {seed}", flush=True)
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        if [digest(folder) for folder in cases.watched] != before:
            raise AssertionError(f"seed {seed}: a file that is not its own was changed")
    return count


class _TooLong(BaseException):
    """No `except Exception` takes it for a damaged file."""


def _too_long(_number: int, _frame: object) -> None:
    raise _TooLong(f"the case took more than {CPU_S} s of processor time")


def mutated(data: bytes, choose: random.Random) -> bytes:
    """Return bytes with one to four changes."""
    found = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(found) + 1)
        match choose.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << choose.randrange(8)
            case 1:
                found[at:at] = choose.choice(_WORDS)
            case 2:
                del found[at : at + choose.choice((1, 4, 40, 4000))]
            case 3:
                size = choose.choice((1, 2, 4, 8))
                number = choose.choice((0, 1, -1, 2**31, 2**63 - 1, choose.getrandbits(62)))
                found[at : at + size] = (number % 256**size).to_bytes(size, "little")
            case 4:
                del found[at:]
            case 5:
                piece = found[at : at + choose.randrange(1, 200)]
                found[at:at] = piece * choose.choice((1, 50))
            case _:
                words = [b for b in bytes(found).split() if b] or [b"x"]
                old = choose.choice(words)
                found = bytearray(bytes(found).replace(old, choose.choice(_WORDS), 1))
    return bytes(found)


def digest(folder: Path) -> str:
    """Return a digest of all that is in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode(errors="surrogateescape"))
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()
