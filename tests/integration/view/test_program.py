"""`mlink run --view`: what its page receives, who may see it, and that it costs the run nothing."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mlink import recording
from mlink.storage.account import ACCOUNT
from tests.support.shown_run import BENCH, LIMIT_S, SCRIPT, Shown


class Page:
    """A page that reads messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def ask(self, **request: Any) -> None:
        self.connection.send(json.dumps(request))

    def next(self) -> dict[str, Any]:
        data = self.connection.recv(LIMIT_S)
        if isinstance(data, str):
            return json.loads(data)
        size = int.from_bytes(data[:4], "little")
        return json.loads(data[4 : 4 + size]) | {"jpeg": data[4 + size :]}

    def read_to_the_end(self) -> None:
        while True:
            self.next()

    def until(self, kind: str, condition=lambda _message: True) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            message = self.next()
            if message["kind"] == kind and condition(message):
                return message
        raise AssertionError(f"no {kind}")


@contextmanager
def page_of(shown: Shown, url: str = "") -> Iterator[Page]:
    headers = {"Cookie": shown.cookie(url), "X-Forwarded-For": "192.0.2.1"}  # no proxy is known
    address = shown.origin.replace("http", "ws", 1) + "/live/1"
    with connect(
        address, additional_headers=headers, origin=shown.origin, max_size=None, ping_interval=None,
        open_timeout=LIMIT_S,
    ) as connection:  # fmt: skip
        yield Page(connection)


def has_items(stream: str):
    return lambda message: any(items["stream"] == stream for items in message["items"])


def test_a_page_sees_the_bench_its_items_and_pictures_and_stops_the_run(shown: Shown) -> None:
    with page_of(shown) as page:
        welcome = page.next()
        assert (welcome["kind"], welcome["version"], welcome["role"]) == ("Welcome", 1, "owner")
        assert [each["name"] for each in welcome["bench"]["modules"]] == [
            "src", "loop", "kept", "video",
        ]  # fmt: skip
        rows = page.until("Batch", has_items("loop.out"))
        cells = [i["columns"]["cells"] for i in rows["items"] if i["stream"] == "loop.out"]
        assert cells
        assert page.until("Log")["lines"]
        page.ask(kind="watch", pictures={"src.frames-out": 320, "no.such": 320})
        numbers = []
        for _ in range(3):
            picture = page.until("Picture")
            assert picture["jpeg"][:2] == b"\xff\xd8"
            numbers.append(picture["index"])
            page.ask(kind="shown", stream="src.frames-out")
        assert numbers == sorted(set(numbers))
        status = page.until("Status", lambda each: each["phase"] == "run")
        taken = {s["name"]: [t["module"] for t in s["subscriptions"]] for s in status["streams"]}
        assert taken["loop.out"] == ["kept"]  # the view itself is nobody's loss
        page.ask(kind="stop")
        ended = page.until("Ended")
        assert ended["success"]
        assert ended["stop_reason"] == "stopped from the view"
    text = shown.end()
    assert shown.process.returncode == 0, text
    assert "mlink-view" not in text
    with recording.open(shown.folder / "out" / "recording") as found:
        assert "mlink-view" not in json.dumps(found.attributes[ACCOUNT])


def test_a_guest_sees_the_run_and_cannot_stop_it(shown: Shown) -> None:
    with page_of(shown, shown.guest_url) as page:
        assert page.next()["role"] == "guest"
        page.ask(kind="stop")
        page.until("Status", lambda each: each["phase"] == "run" and each["elapsed_s"] > 1)
        page.until("Batch", has_items("loop.out"))
        assert shown.process.poll() is None


def test_without_its_token_nothing_is_served(shown: Shown) -> None:
    assert shown.get("/")[0] == 401
    assert shown.get("/page/app.js")[0] == 401
    assert shown.get("/?token=" + "x" * 22)[0] == 403
    cookie = shown.cookie()
    status, headers, body = shown.get("/", Cookie=cookie)
    assert status == 200
    assert b"<title>mlink" in body
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    for path in ("/page/../guard.py", "/page/%2e%2e%2fguard.py", "/page/", "/etc/passwd"):
        assert shown.get(path, Cookie=cookie)[0] == 404


def test_other_hosts_and_other_sites_are_refused(shown: Shown) -> None:
    cookie = shown.cookie()
    assert shown.get("/", Cookie=cookie, Host="evil.example")[0] == 421
    assert shown.get("/", Cookie=cookie, Origin="http://evil.example")[0] == 421
    address = shown.origin.replace("http", "ws", 1) + "/live/1"
    for origin, headers in (
        ("http://evil.example", {"Cookie": cookie}),
        (None, {"Cookie": cookie}),
        (shown.origin, {}),
        (shown.origin, {"Cookie": cookie[:-1]}),
    ):
        with pytest.raises((InvalidStatus, ConnectionClosed)):  # noqa: SIM117
            with connect(address, origin=origin, additional_headers=headers) as connection:
                connection.recv(LIMIT_S)


@pytest.mark.parametrize("text", ["[]", '{"kind":"drive"}', "x" * 100_000, '{"kind":"watch"}'])
def test_a_page_that_sends_what_is_none_is_closed_and_the_run_goes_on(
    shown: Shown, text: str
) -> None:
    with page_of(shown) as page:
        page.connection.send(text)
        with pytest.raises(ConnectionClosed):
            page.read_to_the_end()
    with page_of(shown) as page:
        page.until("Status", lambda each: each["phase"] == "run")


def test_pages_that_read_nothing_or_are_killed_lose_nothing_of_the_run(shown: Shown) -> None:
    deaf = []
    for _ in range(3):
        sock = socket.create_connection(("127.0.0.1", int(shown.origin.rpartition(":")[2])))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cookie = shown.cookie()
        sock.sendall(
            f"GET /live/1 HTTP/1.1\r\nHost: {shown.origin[7:]}\r\nOrigin: {shown.origin}\r\n"
            f"Cookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        deaf.append(sock)
    with page_of(shown) as page:
        page.until("Status", lambda each: each["phase"] == "run" and each["elapsed_s"] > 3)
        deaf.pop().close()
        later = page.until("Batch", has_items("loop.out"))
        page.until("Batch", lambda each: each["time_usec"] > later["time_usec"] + 1_000_000)
        page.ask(kind="stop")
        ended = page.until("Ended")
    for sock in deaf:
        sock.close()
    assert ended["success"]
    (out,) = (each for each in ended["streams"] if each["name"] == "loop.out")
    (kept,) = out["subscriptions"]
    assert (kept["lost"], kept["received"]) == (0, out["sent"])
    assert shown.end()
    assert shown.process.returncode == 0


def test_a_killed_view_does_not_end_the_run(shown: Shown) -> None:
    with page_of(shown) as page:
        page.until("Status", lambda each: each["phase"] == "run")
        program = shown.program()
        subprocess.run(["kill", "-9", str(program)], check=True)
    time.sleep(1)
    assert shown.process.poll() is None
    shown.process.send_signal(signal.SIGINT)
    text = shown.end()
    assert shown.process.returncode == 0, text
    assert "the run goes on without it" in text


def test_a_killed_run_leaves_no_program(shown: Shown) -> None:
    with page_of(shown) as page:
        page.until("Status", lambda each: each["phase"] == "run")
        program = shown.program()
        shown.process.kill()
        shown.process.wait()
        deadline = time.monotonic() + LIMIT_S
        while Path(f"/proc/{program}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{program}").exists()


def test_a_failed_run_says_so_with_its_cause_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "from pathlib import Path\nimport syntalos_mlink as syl\n"
        "def run():\n    while not Path('watched').exists():\n        syl.wait(50)\n"
        "    raise ValueError('broken')\n"
    )
    shown = Shown(tmp_path)
    with page_of(shown) as page:
        page.until("Status", lambda each: each["phase"] == "run")
        (tmp_path / "watched").touch()
        ended = page.until("Ended")
    assert not ended["success"]
    assert "broken" in ended["failures"][0]["message"]
    shown.end()
    shown.close()
    assert shown.process.returncode == 1


def test_a_run_in_virtual_time_can_be_watched(tmp_path: Path) -> None:
    shown = Shown(tmp_path, "--time", "virtual", "--speed", "1", "--for", "30")
    with page_of(shown) as page:
        assert page.until("Status", lambda each: each["phase"] == "run")
        page.until("Batch", has_items("loop.out"))
        page.ask(kind="stop")
        assert page.until("Ended")["success"]
    assert shown.end()


def test_tls_serves_the_same_page(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    shown = Shown(tmp_path, "--view-tls", str(certificate), str(key))
    token = shown.url.partition("?")[2]
    status, headers, _ = shown.get("/?" + token)
    assert status == 200
    assert "Secure" in headers["set-cookie"]
    shown.process.send_signal(signal.SIGINT)
    shown.end()


REFUSED = {
    "open": (["--view-at", "0.0.0.0:0"], "--view-tls CERT KEY"),
    "no port": (["--view-at", "localhost"], "is no HOST:PORT"),
    "port": (["--view-at", "localhost:99999"], "is no HOST:PORT"),
    "no certificate": (["--view", "--view-tls", "a.pem", "b.pem"], "there is no file a.pem"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_addresses_are_refused_in_words(tmp_path: Path, name: str) -> None:
    arguments, message = REFUSED[name]
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "run", "bench.toml", *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in re.sub(r"\s*│?\n│?\s*", " ", done.stderr)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "bench.toml").write_text(BENCH)
        (tmp_path / "loop.py").write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, "-m", "mlink", "run", "bench.toml", "--view-at",
             f"127.0.0.1:{taken.getsockname()[1]}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "cannot listen at 127.0.0.1" in done.stdout + done.stderr
    assert "Choose another port" in done.stdout + done.stderr
