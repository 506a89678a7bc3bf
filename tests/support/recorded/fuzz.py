"""Changes files of a recording at random, and lets all readers at it: `python -m …fuzz SEED COUNT`.

It runs as a child with 500 MB more than its libraries need, and 10 s of processor time per case. A
case that raises something else than an MlinkError, needs more, or changes a file outside of the
recording ends it with the case's seed; `python -m …fuzz SEED 1` repeats it.
"""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zarr  # noqa: F401 - its memory is not that of a case
import zstandard

import mlink.recording
from mlink.encoding.jobs import jobs_of, pending_units
from mlink.errors import MlinkError
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.recording.export import export_recording
from mlink.recording.times import add_times
from mlink.storage.inspect import inspect_recording
from tests.support.recorded.hostile import every_kind

_MEMORY = 500 << 20
_CPU_S = 10
_WORDS = (
    b"\0", b"\xff", b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"NaN", b"null",
    b"[" * 2000,
    b"{" * 2000, b"a." * 500, b'"', b"'", b"\n", b"../../outside/x", b"/etc/passwd", b"[]", b"{}",
    b"9" * 400, b"99999999999", b"\x28\xb5\x2f\xfd", b"\xdd\xff\xff\xff\xff", b"nan", b"inf",
    b'""""',
    b"\xc3\x28", b"true", b"= 5\n", b"[[data]]\n", b";" * 3000, b"\r",
)  # fmt: skip


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


def change(recording: Path, choose: random.Random) -> None:
    """Change one to three files; compressed ones inside as often as outside."""
    files = sorted(path for path in recording.rglob("*") if path.is_file())
    for path in choose.sample(files, choose.randint(1, 3)):
        data = path.read_bytes()
        inside = None
        if path.suffix == ".zst" and choose.random() < 0.5:
            with suppress(zstandard.ZstdError):
                inside = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if inside is not None:
            path.write_bytes(zstandard.compress(mutated(inside, choose)))
        else:
            path.write_bytes(mutated(data, choose))


def read_all(recording: Path, out: Path) -> None:
    """Let each reader read the recording, and repair it at last."""
    for read in (_verify, _info, _export, _encode, lambda path, _out: repair_recording(path)):
        with suppress(MlinkError):
            read(recording, out)  # type: ignore[operator]


def _verify(recording: Path, _out: Path) -> None:
    verify_recording(recording, decode=True)


def _info(recording: Path, _out: Path) -> None:
    summary = inspect_recording(recording)
    with mlink.recording.open(recording) as opened:
        add_times(summary.datasets, opened)


def _export(recording: Path, out: Path) -> None:
    with mlink.recording.open(recording) as opened:
        export_recording(opened, "csv", out, failed=[])


def _encode(recording: Path, _out: Path) -> None:
    for unit, wanted in pending_units(recording, []):
        jobs_of(unit, wanted)


def digest(folder: Path) -> str:
    """Return a digest of all that is in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode(errors="surrogateescape"))
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def fuzz(first: int, count: int, until_cpu_s: float, report: Callable[[str], None]) -> int:
    """Run cases; return how many were run within the processor time."""
    with tempfile.TemporaryDirectory(prefix="mlink-fuzz-") as folder:
        base = Path(folder)
        good = every_kind(base / "good")
        outside = base / "outside"
        outside.mkdir()
        (outside / "x").write_text("a;b\n1;2\ntorn")
        before = digest(outside), digest(good)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGPROF, _too_long)
        done = 0
        for seed in range(first, first + count):
            if resource.getrusage(resource.RUSAGE_SELF).ru_utime > until_cpu_s:
                break
            recording, out = base / "r" / "recording", base / "r" / "out"
            shutil.copytree(good, recording)
            change(recording, random.Random(seed))
            signal.setitimer(signal.ITIMER_PROF, _CPU_S)
            try:
                read_all(recording, out)
            except BaseException:
                report(f"seed {seed}")
                raise
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            if (digest(outside), digest(good)) != before:
                raise AssertionError(f"seed {seed}: a file outside of the recording was changed")
            shutil.rmtree(base / "r")
            done += 1
    return done


def _too_long(_number: int, _frame: object) -> None:
    raise TimeoutError(f"a case took more than {_CPU_S} s of processor time")


if __name__ == "__main__":
    most = float(sys.argv[3]) if len(sys.argv) > 3 else 1e9
    print(fuzz(int(sys.argv[1]), int(sys.argv[2]), most, lambda text: print(text, flush=True)))
