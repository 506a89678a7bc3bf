"""A bench that is too large is refused in words, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.bench.limits import MAX_MODULES, MAX_PORT_ID, MAX_PORTS
from mlink.errors import BenchError
from mlink.storage.manifest import parse_toml


def complaint(folder: Path, bench: str) -> str:
    (folder / "loop.py").write_text("import syntalos_mlink as syl\n")
    (folder / "bench.toml").write_text(bench)
    with pytest.raises(BenchError) as caught:
        load_bench(folder)
    return str(caught.value)


def script(
    name: str, ports_in: list[str], ports_out: list[str], kind: str, inputs: str = ""
) -> str:
    def listed(ids: list[str]) -> str:
        return ", ".join(f'{{ id = "{each}", data_type = "{kind}" }}' for each in ids)

    return (
        f'[modules.{name}]\ntype = "pyscript"\nscript = "loop.py"\n'
        f"ports_in = [{listed(ports_in)}]\nports_out = [{listed(ports_out)}]\n{inputs}\n"
    )


@pytest.mark.parametrize("count", [MAX_MODULES + 1, 3000])
def test_too_many_modules(tmp_path: Path, count: int) -> None:
    bench = "".join(script(f"m{number}", [], [], "TableRow") for number in range(count))
    text = complaint(tmp_path, bench)
    assert f"{count:,} modules are more than the {MAX_MODULES}" in text
    assert len(text.splitlines()) == 2


def test_as_many_modules_as_allowed(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text("")
    bench = "".join(script(f"m{number}", [], [], "TableRow") for number in range(MAX_MODULES))
    (tmp_path / "bench.toml").write_text(bench)
    assert len(load_bench(tmp_path).modules) == MAX_MODULES


def test_too_many_ports(tmp_path: Path) -> None:
    bench = script("m", [f"p{number}" for number in range(5000)], [], "TableRow")
    assert f"5,000 ports are more than the {MAX_PORTS}" in complaint(tmp_path, bench)


def test_the_id_of_a_port_is_too_long(tmp_path: Path) -> None:
    bench = script("m", ["p" * 20_000], [], "TableRow")
    text = complaint(tmp_path, bench)
    assert f"more than {MAX_PORT_ID} characters" in text
    assert len(text) < 1000


@pytest.mark.parametrize(("kind", "most"), [("TableRow", 124), ("Frame", 83)])
def test_too_many_connections(tmp_path: Path, kind: str, most: int) -> None:
    def bench(count: int) -> str:
        ids = [f"p{number}" for number in range(count)]
        inputs = ", ".join(f'{each} = "a.{each}"' for each in ids)
        return script("a", [], ids, kind) + script("b", ids, [], kind, f"inputs = {{ {inputs} }}")

    text = complaint(tmp_path, bench(most + 1))
    assert "[modules.a]: has too many connections" in text
    assert "[modules.b]: has too many connections" in text
    (tmp_path / "bench.toml").write_text(bench(most))
    assert load_bench(tmp_path).modules["b"].connections


def test_a_key_of_very_many_parts_takes_no_time(tmp_path):
    path = tmp_path / "bench.toml"
    path.write_text("a" + ".a" * 200_000 + " = 1\n")
    with pytest.raises(BenchError, match="a key has more than 100 parts"):
        load_bench(path)


def test_dots_in_texts_and_comments_are_no_parts_of_keys():
    dots = "." * 300
    text = f'# {dots}\na = """\n{dots}\n\\"""{dots}"""\n'
    text += f"b = '''\n{dots}''' # {dots}\nc = '{dots}'\n"
    assert parse_toml(text) == {"a": f'{dots}\n"""{dots}', "b": dots, "c": dots}
