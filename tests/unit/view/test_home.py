"""The page of a folder without processes: which requests start runs, and how many are kept."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from mlink.errors import MlinkError
from mlink.view import home as module
from mlink.view.guard import Guard, Tokens
from mlink.view.home import Home, files_below
from mlink.view.recordings.library import Library


class FakeRun:
    """A run that lasts until it is stopped."""

    def __init__(self, number, bench, arguments, folder, state, on_end) -> None:
        self.arguments, self.state, self.lasts = arguments, state, True

    def stop(self) -> None:
        self.lasts = False

    def wait(self) -> None:
        pass

    def shown(self) -> dict:
        return {"arguments": self.arguments}


def request(body: object, origin: str | None = "http://localhost:80", token: str = "own"):
    async def stream():
        yield json.dumps(body).encode()

    headers = {"cookie": f"mlink-view-80={token}"} | ({"origin": origin} if origin else {})
    return SimpleNamespace(headers=headers, stream=stream)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "bench.toml").write_text("[modules.a]\ntype='x'\n")
    (tmp_path / "lab.toml").write_text("[devices]\nuno='virtual:uno'\n")
    (tmp_path / "other.toml").write_text("[tool]\n")
    (tmp_path / "link.toml").symlink_to(tmp_path / "lab.toml")
    monkeypatch.setattr(module, "Run", FakeRun)
    monkeypatch.setattr(module.os, "nice", lambda _n: None)
    return tmp_path


def in_home(folder, act):
    async def run():
        home = Home(Library(folder), Guard(Tokens("own", "guest"), 80, ["localhost"]))
        try:
            return await act(home)
        finally:
            home.close()

    return asyncio.run(run())


def test_benches_and_devices_files_are_told_apart_by_their_tables(folder):
    assert files_below(folder) == (["bench.toml"], ["lab.toml"], "")


def test_line_feeds_and_folders_without_end_do_not_hang_the_search(folder):
    (folder / "lines.toml").write_bytes(b"\n" * 1_000_000 + b"[modules.a]\n")
    (folder / "/".join("d" * 200)).mkdir(parents=True)
    (folder / "/".join("d" * 200) / "bench.toml").write_text("[modules.a]\n")
    benches, _, left = files_below(folder)
    assert benches == ["bench.toml", "lines.toml"]
    assert left == "1 folder(s) in more than 32 others were not searched."


def test_all_that_a_page_gives_is_an_argument_of_its_own(folder):
    async def act(home):
        body = {"bench": "bench.toml", "for_s": 2.5, "subject": "--out=/", "devices": "lab.toml",
                "settings": ["a.b=1"], "control": True}  # fmt: skip
        await home._start(request(body))
        return json.loads((await home._shown_runs(request({}))).body)[0]["arguments"]

    bench, plain, socket, *given = in_home(folder, act)
    assert (bench, plain) == ("./bench.toml", "--plain")
    assert socket.startswith("--view-to=/")
    assert given == ["--for=2.5", "--subject=--out=/", "--devices=./lab.toml", "--view-control",
                     "--set=a.b=1"]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"devices": "other.toml"}, "is no devices file"),
        ({"devices": "link.toml"}, "in the folder of this page"),
        ({"devices": "../lab.toml"}, "in the folder of this page"),
        ({"devices": 1}, "this is no request"),
        ({"control": "yes"}, "this is no request"),
        ({"for_s": "long"}, "this is no request"),
    ],
)
def test_wrong_values_start_nothing(folder, body, message):
    async def act(home):
        with pytest.raises(MlinkError, match=message):
            await home._start(request({"bench": "bench.toml"} | body))
        return home.lasting

    assert in_home(folder, act) == 0


@pytest.mark.parametrize(
    "headers", [{"origin": None}, {"origin": "http://evil"}, {"token": "guest"}, {"token": "x"}]
)
def test_only_who_leads_from_our_own_page_starts_runs(folder, headers):
    async def act(home):
        with pytest.raises(MlinkError, match="may only look"):
            await home._start(request({"bench": "bench.toml"}, **headers))

    in_home(folder, act)


def test_runs_that_are_started_at_the_same_moment_count_too(folder):
    async def act(home):
        starts = [home._start(request({"bench": "bench.toml"})) for _ in range(7)]
        found = await asyncio.gather(*starts, return_exceptions=True)
        return [each for each in found if isinstance(each, MlinkError)], len(home._runs)

    refused, runs = in_home(folder, act)
    assert (len(refused), runs) == (3, 4)


def test_a_fifth_run_at_a_time_and_too_many_within_a_minute_are_refused(folder):
    async def act(home):
        start = {"bench": "bench.toml"}
        for _ in range(4):
            await home._start(request(start))
        with pytest.raises(MlinkError, match="4 runs last already"):
            await home._start(request(start))
        for number in range(1, 17):
            await home._stop(request({"number": number}))
            await home._start(request(start))
        await home._stop(request({"number": 20}))
        with pytest.raises(MlinkError, match="20 runs were started within 60 s"):
            await home._start(request(start))
        return list(home._runs), len(list(home._sockets.iterdir()))

    kept, sockets = in_home(folder, act)
    assert kept == list(range(9, 21))  # the pages of the newest ones
    assert sockets >= len(kept)
