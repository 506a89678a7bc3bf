"""Checks of `mlink doctor`: each returns what it found, and a command that would improve it."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlink import rtkit
from mlink.cli.doctor.finding import Finding, read_text
from mlink.cli.doctor.rivals import rivals
from mlink.realtime import DEFAULT_NICE, DEFAULT_PRIORITY, RIGHTS_REMEDY, may_lock_memory
from mlink.refusals import import_remedy, text_of
from mlink.transport.memory import available_bytes

_ENOUGH_MEMORY = 1 << 30
"""Bytes: each subscription to frames may queue 256 MB."""
_GOOD_LATENCY_MSEC = 1
_ENOUGH_SPEED = 30e6
"""Bytes per second: two cameras with lossless video."""
_SPEED_BYTES, _SPEED_SEC = 32 << 20, 1.0
_WEIGHTS = {"bad": 0, "better": 1, "good": 2}
_VIDEO_CLASS = "0e"


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts of the machine that are checked; tests replace them."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    usr: Path = Path("/usr")
    systemd: Path = Path("/etc/systemd/system")
    udev_rules: tuple[Path, ...] = tuple(
        Path(root, "udev/rules.d") for root in ("/etc", "/run", "/usr/lib", "/lib")
    )
    """Folders of rules; a file hides those of its name in later folders."""
    set_fifo: Callable[[], None] | None = None
    """Requests SCHED_FIFO for the calling thread; raises PermissionError when it is refused."""
    rtkit_priority: Callable[[], int] = rtkit.highest_priority
    groups: Callable[[], set[str]] | None = None
    noted_groups: Callable[[], set[str]] | None = None
    """Groups of this user in the system's files, which count from the next login."""
    has_package: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    available_bytes: Callable[[], int] = available_bytes
    disk_speed: Callable[[Path], float] | None = None
    can_write: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK)
    opencv: Callable[[], str] | None = None
    """Describes the installed OpenCV; raises ImportError when it cannot be loaded."""


def examine(machine: Machine | None = None) -> list[Finding]:
    """Run all checks that apply to this machine; what blocks devices or runs comes first."""
    here = machine or Machine()
    findings = [
        *_priority(here),
        _memory(),
        _governor(here),
        _awake(here),
        _usb_power(here),
        _latency_timer(here),
        *_groups(here),
        *rivals(here.proc, here.sys, here.usr, here.systemd, here.udev_rules),
        _available_memory(here),
        _disk(here),
        _opencv(here),
        _simulator(here),
    ]
    found = [finding for finding in findings if finding is not None]
    return sorted(found, key=lambda finding: _WEIGHTS[finding.state])


def _priority(here: Machine) -> list[Finding]:
    """Try what `mlink.realtime` tries in a run: SCHED_FIFO, rtkit, nice."""
    fifo = _try_fifo(here.set_fifo or _ask_for_fifo)
    has_rtkit = False
    try:
        highest = here.rtkit_priority()
        has_rtkit = True
        rtkit_finding = Finding(
            check="rtkit", state="good", found=f"grants priority up to {highest}"
        )
    except rtkit.RtkitUnavailableError as error:
        rtkit_finding = Finding(
            check="rtkit",
            state="good" if not fifo else "better",
            found=str(error) + ("; not needed" if not fifo else ""),
        )
    real_time = Finding(
        check="real-time priority",
        state="good" if not fifo or has_rtkit else "better",
        found=f"refused ({fifo})" + ("; rtkit is used instead" if has_rtkit else "")
        if fifo
        else "SCHED_FIFO is granted",
        remedy=RIGHTS_REMEDY if fifo and not has_rtkit else "",
    )
    return [real_time, rtkit_finding, _nice(granted=not fifo or has_rtkit)]


def _ask_for_fifo() -> None:
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    os.sched_setscheduler(threading.get_native_id(), policy, os.sched_param(DEFAULT_PRIORITY))


def _try_fifo(set_fifo: Callable[[], None]) -> str:
    """Return why real-time priority is refused; "" when it is granted."""
    reasons: list[str] = []

    def attempt() -> None:
        try:
            set_fifo()
        except OSError as error:
            reasons.append(error.strerror or str(error))

    # in a separate thread: its priority ends with it
    thread = threading.Thread(target=attempt, name="doctor")
    thread.start()
    thread.join()
    return reasons[0] if reasons else ""


def _nice(*, granted: bool) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    best = -20 if soft == resource.RLIM_INFINITY else 20 - soft
    if os.geteuid() == 0 or best <= DEFAULT_NICE:
        return Finding(check="nice", state="good", found=f"threads may use nice {DEFAULT_NICE}")
    return Finding(
        check="nice",
        state="good" if granted else "better",
        found=f"threads may use nice {min(best, 0)} at best" + ("; not needed" if granted else ""),
        remedy="" if granted else RIGHTS_REMEDY,
    )


def _memory() -> Finding:
    if refusal := may_lock_memory():
        return Finding(check="locked memory", state="better", found=refusal, remedy=RIGHTS_REMEDY)
    return Finding(check="locked memory", state="good", found="all memory may be locked")


def _governor(here: Machine) -> Finding | None:
    files = sorted(here.sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    governors = sorted({read_text(file) for file in files} - {""})
    if not governors:
        return None  # a virtual machine, or a processor with a fixed speed
    pattern = here.sys / "devices/system/cpu/cpu*/cpufreq/scaling_governor"
    good = governors == ["performance"]
    return Finding(
        check="processor speed",
        state="good" if good else "better",
        found=f"governor {', '.join(governors)}",
        remedy="" if good else f"echo performance | sudo tee {pattern}",
    )


def _usb_power(here: Machine) -> Finding | None:
    """Find cameras and serial devices that the kernel may suspend while they are idle."""
    devices = [
        device
        for device in sorted(here.sys.glob("bus/usb/devices/*"))
        if (device / "power" / "control").is_file() and _is_ours(device)
    ]
    if not devices:
        return None
    asleep = [device for device in devices if read_text(device / "power" / "control") == "auto"]
    if not asleep:
        return Finding(check="USB power saving", state="good", found="off for cameras and boards")
    names = ", ".join(read_text(device / "product") or device.name for device in asleep)
    return Finding(
        check="USB power saving",
        state="better",
        found=f"on for {names}",
        remedy=RIGHTS_REMEDY,
    )


def _is_ours(device: Path) -> bool:
    """Return whether a USB device contains a camera or a serial port."""
    if any(read_text(each) == _VIDEO_CLASS for each in device.glob("*:*/bInterfaceClass")):
        return True
    return any(device.glob("*:*/tty*"))


def _latency_timer(here: Machine) -> Finding | None:
    """Find FTDI chips that wait up to 16 ms for more bytes before they send any."""
    timers = sorted(here.sys.glob("bus/usb-serial/devices/*/latency_timer"))
    slow = [t for t in timers if read_text(t).isdigit() and int(read_text(t)) > _GOOD_LATENCY_MSEC]
    if not timers:
        return None
    if not slow:
        return Finding(check="FTDI latency", state="good", found=f"{_GOOD_LATENCY_MSEC} ms")
    found = ", ".join(f"{read_text(timer)} ms at {timer.parent.name}" for timer in slow)
    return Finding(
        check="FTDI latency",
        state="better",
        found=found,
        remedy=RIGHTS_REMEDY,
    )


def _groups(here: Machine) -> list[Finding]:
    findings = []
    mine = (here.groups or _my_groups)()
    for group, what in (("dialout", "boards on serial ports"), ("video", "cameras")):
        may = "root" in mine or group in mine
        waits = not may and group in (here.noted_groups or _noted_groups)()
        no = f"no access to {what}" + (" before the next login" if waits else "")
        remedy = "log out and in again (or restart)" if waits else RIGHTS_REMEDY
        findings.append(
            Finding(
                check=f"group {group}",
                state="good" if may else "bad",
                found=f"this user has access to {what}" if may else no,
                remedy="" if may else remedy,
            )
        )
    return findings


def _my_groups() -> set[str]:
    names = {"root"} if os.geteuid() == 0 else set()
    for number in {*os.getgroups(), os.getegid()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:  # a group without a name, as in containers
            continue
    return names


def _noted_groups() -> set[str]:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account without a name, as in containers
        return set()
    return {group.gr_name for group in grp.getgrall() if name in group.gr_mem}


def _available_memory(here: Machine) -> Finding:
    available = here.available_bytes()
    good = available >= _ENOUGH_MEMORY
    return Finding(
        check="free memory",
        state="good" if good else "better",
        found=f"{available >> 20} MB are available",
        remedy="" if good else "shorten the queues of frames, or give the computer more memory",
    )


def _opencv(here: Machine) -> Finding:
    try:
        found = (here.opencv or _describe_opencv)()
    except ImportError as error:
        return Finding(
            check="OpenCV",
            state="bad",
            found=f"no cameras, videos or plots: {text_of(error)}",
            remedy=import_remedy(text_of(error)),
        )
    return Finding(check="OpenCV", state="good", found=found)


def _describe_opencv() -> str:
    from mlink.opencv import cv2, draws_windows

    windows = "" if draws_windows() else ", without windows: modules of type canvas show nothing"
    return f"{cv2.__version__}{windows}"


def _simulator(here: Machine) -> Finding:
    if here.has_package("yasimavr"):
        return Finding(check="board simulator", state="good", found="installed")
    return Finding(
        check="board simulator",
        state="better",
        found="not installed: virtual:uno uses a simpler simulation",
        remedy="pip install 'mlink-hil[sim]'",
    )


def _awake(here: Machine) -> Finding | None:
    """Find out whether a run may keep processors out of idle states."""
    device = here.dev / "cpu_dma_latency"
    if not device.exists():
        return None  # a container, or a kernel without it
    may = here.can_write(device)
    return Finding(
        check="idle processors",
        state="good" if may else "better",
        found="runs may keep them awake"
        if may
        else "sleep in runs: answers come up to 0.1 ms late",
        remedy="" if may else RIGHTS_REMEDY,
    )


def _disk(here: Machine) -> Finding:
    """Measure how fast this folder's disk takes a recording."""
    place = Path.cwd()
    try:
        speed = (here.disk_speed or measure_disk)(place)
    except OSError as error:
        return Finding(
            check="disk",
            state="better",
            found=f"{place} cannot be written: {error.strerror}",
            remedy="change to a folder of yours, or record elsewhere: mlink run --out FOLDER",
        )
    good = speed >= _ENOUGH_SPEED
    return Finding(
        check="disk",
        state="good" if good else "better",
        found=f"takes {speed / 1e6:.0f} MB/s in {place}"
        + ("" if good else "; lossless video of 640x480 at 30 Hz needs about 15"),
        remedy="" if good else "record to a faster disk: mlink run --out FOLDER",
    )


def measure_disk(folder: Path) -> float:
    """Return how fast a folder's disk takes data to the platter, in bytes per second.

    Raises:
        OSError: The folder cannot be written.
    """
    block = os.urandom(1 << 20)
    written, start = 0, time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as file:
        while written < _SPEED_BYTES and time.monotonic() - start < _SPEED_SEC:
            written += file.write(block)
            file.flush()
            os.fdatasync(file.fileno())
    return written / (time.monotonic() - start)
