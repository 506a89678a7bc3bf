"""How a worker's failures are put into words."""

from __future__ import annotations

import pytest

from mlink.scripting.errors import script_error
from mlink.worker.failure import describe


@pytest.mark.parametrize(
    ("error", "name"), [(KeyboardInterrupt(), "SIGINT"), (SystemExit(143), "SIGTERM")]
)
def test_a_signal_is_named_and_is_not_called_a_fault_of_the_module(
    error: BaseException, name: str
) -> None:
    found = describe(error)
    assert found.message == f"its process was asked to end ({name})"
    assert "sent the signal" in found.remedy


def test_another_exit_keeps_its_place() -> None:
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(3)
    assert "test_failure.py" in describe(caught.value).message


class NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_without_a_text_is_named_by_its_type() -> None:
    text = "NoTextError: (no text: its __str__ raised RuntimeError)"
    assert describe(NoTextError()).message == text
    assert describe(NoTextError(), debug=True).detail
    report = script_error(NoTextError(), "run")
    assert report.message == f"{text} (in run)"
    odd = ValueError("x")
    odd.__notes__ = 5  # type: ignore[assignment]
    assert script_error(odd, "run").message == "ValueError: x (in run)"
