"""What the operating system refuses is put into words, wherever it came from."""

from __future__ import annotations

import errno
import os
import resource
import threading

import numpy as np
import pytest

from mlink.errors import MlinkError, StorageError
from mlink.refusals import (
    REMEDIES,
    crash_remedy,
    import_remedy,
    memory_remedy,
    refusal,
    refusals_as_errors,
    too_little_address_space,
)


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_an_error_of_the_system_names_reason_path_and_remedy(number: int) -> None:
    found = refusal(OSError(number, os.strerror(number), "/run/x"))
    assert isinstance(found, StorageError)
    assert found.message == f"{os.strerror(number)}: /run/x"
    assert found.remedy


def _numpy_error() -> BaseException:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "no memory is left"),
        (_numpy_error(), "no memory is left"),
        (
            ImportError("thirty lines\nlibx.so: failed to map segment from shared object\nmore"),
            "a library cannot be loaded: libx.so: failed to map segment from shared object",
        ),
        (RuntimeError("can't start new thread"), "no further thread can be started"),
    ],
)
def test_memory_libraries_and_threads(error: BaseException, text: str) -> None:
    found = refusal(error)
    assert found is not None
    assert found.message == text
    assert found.remedy


def test_a_name_that_is_not_utf_8_is_shown_in_part() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        ("x" * 1000 + "bench \udcff" + "y" * 1000).encode()
    found = refusal(caught.value)
    assert found is not None
    assert "bench \\udcff" in found.message
    assert len(found.message) < 250


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), ImportError("no module x"), OSError(errno.EBADF, "x"), RuntimeError("x"),
     OSError("no number"), KeyError("x")],
)  # fmt: skip
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    assert refusal(error) is None
    with pytest.raises(type(error)) as caught, refusals_as_errors():
        raise error
    assert caught.value is error


def test_our_own_errors_pass_and_refusals_are_converted() -> None:
    ours = MlinkError("x")
    with pytest.raises(MlinkError) as caught, refusals_as_errors():
        raise ours
    assert caught.value is ours
    with pytest.raises(StorageError, match="Too many open files"), refusals_as_errors():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_the_limit_of_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: 300 << 20, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    assert memory_remedy().endswith("its address space is limited to 300 MB (ulimit -v).")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: 300 << 20, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "reason",
    [
        "libopenblas.so: failed to map segment from shared object",
        "mlink.x:y: MemoryError: ",
        "libx.so: cannot allocate memory in static TLS block",
    ],
)
def test_a_package_that_memory_keeps_from_loading_is_not_reinstalled(reason: str) -> None:
    assert import_remedy(reason) == memory_remedy()
    assert "300 MB (ulimit -v)" in import_remedy(reason)


def test_other_packages_that_cannot_be_loaded_are() -> None:
    assert "ulimit -n" in import_remedy("libx.so: cannot open: Too many open files")
    assert "Reinstall" in import_remedy("No module named 'x'")


@pytest.mark.usefixtures("little_memory")
def test_a_crash_names_the_limit_of_memory() -> None:
    assert crash_remedy("Run it again.") == (
        "If memory was short, allow more: its address space is limited to 300 MB (ulimit -v). "
        "Run it again."
    )
    assert "limited to 300 MB (ulimit -v), and it needs 1024 MB" in str(too_little_address_space())


def test_without_a_limit_a_crash_has_its_usual_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY,) * 2)
    assert crash_remedy("Run it again.") == "Run it again."
    assert too_little_address_space() is None


def test_the_error_of_a_thread_that_cannot_start_is_recognised() -> None:
    """Python's wording is part of what is looked for."""
    stack = threading.stack_size(1 << 30)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size + (512 << 20), limit[1]))
        with pytest.raises(RuntimeError) as caught:
            threading.Thread(target=lambda: None).start()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
        threading.stack_size(stack)
    assert refusal(caught.value) is not None
