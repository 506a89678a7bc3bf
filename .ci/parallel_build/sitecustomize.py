"""Lets setuptools compile a package's files side by side; on the path of set-up's pip only.

setuptools compiles one file after the other. Each file that is done adds a dot to the file named by
the variable MLINK_BUILD_PROGRESS.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_PROGRESS = os.environ.get("MLINK_BUILD_PROGRESS", "")


def _compile(
    self: Any,
    sources: Sequence[str],
    output_dir: str | None = None,
    macros: Any = None,
    include_dirs: Any = None,
    debug: int = 0,
    extra_preargs: Any = None,
    extra_postargs: Any = None,
    depends: Any = None,
) -> Any:
    """Take the place of `CCompiler.compile`, whose arguments these are."""
    macros, objects, postargs, options, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs
    )
    arguments = self._get_cc_args(options, debug, extra_preargs)

    def one(made: str) -> None:
        source, extension = build[made]
        self._compile(made, source, extension, arguments, postargs, options)
        with Path(_PROGRESS).open("a") as progress:
            progress.write(".")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, (made for made in objects if made in build)))
    return objects


if _PROGRESS:
    import setuptools  # noqa: F401, I001 - provides distutils
    from distutils.ccompiler import CCompiler

    CCompiler.compile = _compile
