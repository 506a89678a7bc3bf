"""mlink: a hardware-in-the-loop runtime for microcontroller and camera I/O."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mlink-hil")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
