"""The machine and software versions with which a recording is made, for its attributes.

They help to explain times that differ between recordings.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

_DISTRIBUTION = "mlink-hil"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def versions() -> dict[str, str]:
    """Return the versions of Python, mlink and the libraries that mlink depends on, by name.

    Libraries of extras are left out.
    """
    found = {"python": platform.python_version()}
    for name in (_DISTRIBUTION, *_libraries()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return found


def machine() -> dict[str, Any]:
    """Return what may affect the times of a recording: kernel, processors, memory, governor.

    What this machine does not have, such as a governor in a virtual machine, is left out.
    """
    found: dict[str, Any] = {
        "node": platform.node(),
        "system": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "kernel_build": platform.version(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "processors_online": os.cpu_count() or 0,
        "processors_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "clock_source": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "frequency_governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }
    return {key: value for key, value in found.items() if value not in ("", None)}


def _libraries() -> list[str]:
    try:
        wanted = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    names = {match[0] for line in wanted if (match := _NAME.match(line)) and ";" not in line}
    return sorted(names, key=str.lower)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
