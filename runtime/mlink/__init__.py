"""mlink: a hardware-in-the-loop runtime for microcontroller and camera I/O.

The names below are the Python API (docs/api.md). Each is imported when it is first used, since this
package is also imported by every script that runs in a bench.
"""

TYPE_CHECKING = False  # as in `typing`, whose import would take longer than all of this one
if TYPE_CHECKING:
    from mlink.api.bench import check_bench, load_bench
    from mlink.api.devices import DeviceList, list_devices
    from mlink.api.run import Run, RunFailedError
    from mlink.api.start import run, start
    from mlink.api.watcher import LogLine
    from mlink.bench import Bench
    from mlink.devices import FoundDevice
    from mlink.engine.status import (
        Failure,
        Phase,
        RunResult,
        RunStatus,
        StreamStatus,
        SubscriptionStatus,
    )
    from mlink.errors import (
        BenchError,
        ControlError,
        DeviceError,
        MlinkError,
        ModuleError,
        Problem,
        ScriptError,
        StorageError,
        StreamError,
    )
    from mlink.recording import open as open_recording
    from mlink.recording.collection import Recording

    __version__: str

__all__ = [
    "Bench",
    "BenchError",
    "ControlError",
    "DeviceError",
    "DeviceList",
    "Failure",
    "FoundDevice",
    "LogLine",
    "MlinkError",
    "ModuleError",
    "Phase",
    "Problem",
    "Recording",
    "Run",
    "RunFailedError",
    "RunResult",
    "RunStatus",
    "ScriptError",
    "StorageError",
    "StreamError",
    "StreamStatus",
    "SubscriptionStatus",
    "__version__",
    "check_bench",
    "list_devices",
    "load_bench",
    "open_recording",
    "run",
    "start",
]

_HOMES = {
    "mlink.api.bench": ("check_bench", "load_bench"),
    "mlink.api.devices": ("DeviceList", "list_devices"),
    "mlink.api.run": ("Run", "RunFailedError"),
    "mlink.api.start": ("run", "start"),
    "mlink.api.watcher": ("LogLine",),
    "mlink.bench": ("Bench",),
    "mlink.devices": ("FoundDevice",),
    "mlink.engine.status": (
        "Failure",
        "Phase",
        "RunResult",
        "RunStatus",
        "StreamStatus",
        "SubscriptionStatus",
    ),
    "mlink.errors": (
        "BenchError",
        "ControlError",
        "DeviceError",
        "MlinkError",
        "ModuleError",
        "Problem",
        "ScriptError",
        "StorageError",
        "StreamError",
    ),
    "mlink.recording.collection": ("Recording",),
}
"""Where each name is defined, as in the imports above."""


if not TYPE_CHECKING:  # with it, type checkers would accept any name

    def __getattr__(name: str) -> object:
        """Import a name of the API when it is first used."""
        value = _version() if name == "__version__" else _imported(name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def _imported(name: str) -> object:
    from importlib import import_module

    if name == "open_recording":
        return import_module("mlink.recording").open
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'mlink' has no attribute '{name}'")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlink-hil")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
