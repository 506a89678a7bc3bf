"""Writes project files of Syntalos."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import tomli_w

Part = tuple[str, dict[str, Any], dict[str, Any], bytes]


def info(id: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "name": name, **more}


def project(path: Path, parts: list[Part], *, new_names: bool = False, **main: Any) -> Path:
    """Write a project file of these modules: (type, info.toml, settings, extra data)."""
    with tarfile.open(path, "w") as tar:
        add(
            tar, "main.toml", tomli_w.dumps({"version_format": "1", "version_app": "3.1.1", **main})
        )
        for number, (id, about, settings, data) in enumerate(parts):
            folder = f"{number:03d}-{id}" if new_names else str(number)
            add(tar, f"{folder}/info.toml", tomli_w.dumps(about))
            if settings:
                add(tar, f"{folder}/{id}.toml", tomli_w.dumps(settings))
            if data:
                add(tar, f"{folder}/{id}.dat", data)
    return path


def add(tar: tarfile.TarFile, name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
