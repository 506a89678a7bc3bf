"""Libraries that only some uses of a recording need, imported then."""

from __future__ import annotations

import importlib
from typing import Any

from mlink.errors import StorageError

_PACKAGES = {"rerun": "rerun-sdk"}
"""Names of packages that differ from those of their modules."""


def library(name: str, what: str, *, extra: str = "") -> Any:
    """Import a library.

    Args:
        name: The module, e.g. "pyarrow.parquet".
        what: What needs it, for the message.
        extra: The extra of mlink that installs it; "" if there is none.

    Raises:
        StorageError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        module = name.partition(".")[0]
        package = _PACKAGES.get(module, module)
        all_of_it = f"   (or all: pip install 'mlink-hil[{extra}]')" if extra else ""
        raise StorageError(
            f"{what} needs {package}, which is not installed",
            remedy=f"pip install {package}{all_of_it}",
        ) from error
