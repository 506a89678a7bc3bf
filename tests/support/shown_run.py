"""A run or a recording with a view, from outside: its addresses, what they serve, and its end."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LIMIT_S = 120.0
"""For anything that a run or its page does, on a busy machine too."""
BENCH = """
[bench]
name = "shown"
[modules.src]
type = "devel.datasource"
fps = 30
[modules.loop]
type = "pyscript"
script = "loop.py"
inputs = { rows = "src.rows-out" }
ports_in = [{ id = "rows", data_type = "TableRow" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.kept]
type = "table"
inputs = { rows = "loop.out" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "src.frames-out" }
"""
SCRIPT = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
out.set_metadata_value("table_header", ["number"])
def run():
    number = 0
    while syl.is_running():
        print("line", number)
        out.submit([number])
        number += 1
        syl.wait(20)
"""


class Served:
    """A command of mlink that prints the addresses of a page, from outside."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlink", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.head = [self.process.stdout.readline() for _ in range(2)]
        found = [re.search(r"https?://\S+", line) for line in self.head]
        assert all(found), self.head + self.process.stdout.readlines()
        self.url, self.guest_url = (each[0] for each in found if each)
        self.origin = self.url.partition("/?")[0]

    def cookie(self, url: str = "") -> str:
        """Return the cookie that a link gives."""
        status, headers, _ = self.get("/?" + (url or self.url).partition("?")[2])
        assert status == 200
        return headers["set-cookie"].partition(";")[0]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer; redirections are not followed."""
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = HTTPSConnection(parts.netloc, timeout=LIMIT_S, context=context)
        else:
            connection = HTTPConnection(parts.netloc, timeout=LIMIT_S)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def end(self) -> str:
        """Return what it has printed; it ends by itself or has been stopped."""
        text, _ = self.process.communicate(timeout=LIMIT_S)
        return text

    def close(self) -> None:
        """End it as Ctrl-C does, if it lasts."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.end()
        assert self.process.stdout is not None
        self.process.stdout.close()


def post(served: Served, path: str, body: object, **headers: str) -> tuple[int, Any]:
    """Return status and JSON of the answer to a POST of text, or of an object as JSON."""
    connection = HTTPConnection(urlsplit(served.url).netloc, timeout=LIMIT_S)
    data = body if isinstance(body, str) else json.dumps(body)
    connection.request("POST", path, data, headers)
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    return answer.status, json.loads(found) if found.startswith(b"{") else {}


class Shown(Served):
    """A run with a view."""

    def __init__(self, folder: Path, *options: str) -> None:
        for name, text in (("bench.toml", BENCH), ("loop.py", SCRIPT)):
            if not (folder / name).exists():
                (folder / name).write_text(text)
        super().__init__(
            folder,
            "run",
            "bench.toml",
            "--view",
            "--plain",
            "--out",
            "out",
            "--order",
            "",
            *options,
        )

    def program(self) -> int:
        """Return the process that serves the page."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "mlink.view.program"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(found.stdout)
