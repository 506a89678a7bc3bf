"""mlink: a hardware-in-the-loop runtime for microcontroller and camera I/O."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: every script pays for what is imported here."""
    if name != "__version__":
        raise AttributeError(f"module 'mlink' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlink-hil")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
