"""Works on recordings without mlink: how many there are, how they end, and what downloads hold."""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace

import pytest

from mlink.errors import MlinkError
from mlink.view import works as module
from mlink.view.guard import Guard, Tokens
from mlink.view.recordings.library import Library
from mlink.view.works import Works

SLEEPS = (
    "import signal, time; signal.signal(2, signal.SIG_DFL); print(1, flush=True); time.sleep(99)"
)
TALKS = """
import sys
for number in range(1000):
    print("line", number, "x" * 5000)
print("2 of 7: verify video", file=sys.stderr)
"""
POURS = """
import sys
sys.stdout.write('{"length": 100000000}\\n' + "x" * 1_000_000)
"""


def request(body: object = None, token: str = "own", method: str = "GET", **query: str):
    async def stream():
        yield json.dumps(body).encode()

    headers = {"cookie": f"mlink-view-80={token}", "origin": "http://localhost:80"}
    return SimpleNamespace(headers=headers, stream=stream, query_params=query, method=method)


def with_works(tmp_path, monkeypatch, program, act):
    """Return what `act` does with works whose command is a program in Python."""
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.toml").write_text("")
    processes = []

    async def process(_module, *_arguments, errors):
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        found = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdin=null, stdout=pipe, stderr=errors, limit=1 << 16
        )
        processes.append(found)
        return found

    monkeypatch.setattr(module, "_process", process)

    async def run():
        guard = Guard(Tokens("own", "guest"), 80, ["localhost"])
        works = Works(Library(tmp_path), guard, tmp_path)
        try:
            return await act(works)
        finally:
            await works.close()

    result = asyncio.run(run())
    assert all(each.returncode is not None for each in processes)
    return result


async def shown(works, of="a"):
    answer = await works._shown(request(of=of))
    return json.loads(answer.body)["works"]


async def until_ended(works, most=0):
    while sum(work.lasts for work in works._works.values()) > most:
        await asyncio.sleep(0.01)


def test_two_works_last_at_a_time_and_one_of_a_recording(tmp_path, monkeypatch):
    async def act(works):
        await works._begin(request({"of": "a", "what": "verify"}))
        with pytest.raises(MlinkError, match="one of a recording"):
            await works._begin(request({"of": "a", "what": "repair"}))
        await works._begin(request({"of": "b", "what": "export"}))
        with pytest.raises(MlinkError, match="2 at a time"):
            await works._begin(request({"of": "c", "what": "verify"}))
        await works._cancel(request({"number": 1}))
        await until_ended(works, 1)
        await works._begin(request({"of": "c", "what": "verify"}))
        (first,) = await shown(works)
        return first

    first = with_works(tmp_path, monkeypatch, SLEEPS, act)
    assert (first["canceled"], first["what"]) == (True, "verify")


def test_works_that_are_begun_at_the_same_moment_count_too(tmp_path, monkeypatch):
    async def act(works):
        begun = [works._begin(request({"of": of, "what": "verify"})) for of in "aabc"]
        return await asyncio.gather(*begun, return_exceptions=True)

    found = with_works(tmp_path, monkeypatch, SLEEPS, act)
    assert [isinstance(each, MlinkError) for each in found] == [False, True, False, True]


def test_a_number_that_is_none_names_no_export(tmp_path, monkeypatch):
    async def act(works):
        for number in ("9" * 5000, "", "²", "7"):
            with pytest.raises(MlinkError, match=r"not there|no whole number"):
                await works._download(request(work=number))

    with_works(tmp_path, monkeypatch, SLEEPS, act)


def test_a_canceled_export_leaves_no_folder_and_takes_none_that_is_there(tmp_path, monkeypatch):
    (tmp_path / "a-csv").mkdir()

    async def act(works):
        await works._begin(request({"of": "a", "what": "export"}))
        folder = (await shown(works))[0]["folder"]
        await works._cancel(request({"number": 1}))
        await until_ended(works)
        return folder

    assert with_works(tmp_path, monkeypatch, SLEEPS, act) == str(tmp_path / "a-csv-2")
    assert not (tmp_path / "a-csv-2").exists()
    assert (tmp_path / "a-csv").exists()


def test_long_output_is_cut_and_what_is_left_out_is_counted(tmp_path, monkeypatch):
    async def act(works):
        await works._begin(request({"of": "a", "what": "verify"}))
        await until_ended(works)
        return (await shown(works))[0]

    work = with_works(tmp_path, monkeypatch, TALKS, act)
    assert work["lines"][0] == "… 700 lines left out …"
    assert len(work["lines"]) == 301
    assert max(map(len, work["lines"])) == 2000
    assert (work["part"], work["part_number"], work["part_count"]) == ("verify video", 2, 7)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"of": "..", "what": "verify"}, "in the folder of this page"),
        ({"of": "a", "what": "rm"}, "this is no request"),
        ({"of": "a", "what": "export", "form": "../x"}, "this is no request"),
        ({"of": "a", "what": "export", "out": "/"}, "this is no request"),
    ],
)
def test_wrong_requests_begin_nothing(tmp_path, monkeypatch, body, message):
    async def act(works):
        with pytest.raises(MlinkError, match=message):
            await works._begin(request(body))
        with pytest.raises(MlinkError, match="may only look"):
            await works._begin(request({"of": "a", "what": "verify"}, token="guest"))
        with pytest.raises(MlinkError, match="may only look"):
            await works._cancel(request({"number": 1}, token="guest"))

    with_works(tmp_path, monkeypatch, SLEEPS, act)


async def never():
    await asyncio.Event().wait()


@pytest.mark.parametrize("why", ["incomplete", "gone", "stalled"])
def test_a_download_that_breaks_off_never_looks_complete(tmp_path, monkeypatch, capfd, why):
    monkeypatch.setattr(module, "_STALLED_S", 0.1 if why == "stalled" else 60.0)
    sent = []

    async def receive():
        if why != "gone" or not sent:
            await never()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if why != "incomplete" and len(sent) > 2:
            await never()

    async def act(works):
        answer = await works._download(request(of="a"))
        assert works._downloads == 1
        if why == "gone":
            sent.append(None)
        await answer({}, receive, send)
        return works._downloads

    assert with_works(tmp_path, monkeypatch, POURS, act) == 0
    assert all(each.get("more_body", True) for each in sent if each)
    assert ("nothing moved" in capfd.readouterr().err) is (why == "stalled")


def test_a_third_download_at_a_time_is_refused(tmp_path, monkeypatch):
    async def act(works):
        answers = [await works._download(request(of="a")) for _ in range(2)]
        with pytest.raises(MlinkError, match="2 downloads last already"):
            await works._download(request(of="b"))
        for answer in answers:
            await answer._on_end()

    with_works(tmp_path, monkeypatch, POURS, act)
