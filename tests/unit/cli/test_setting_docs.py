"""What settings mean, and the schema of bench files that editors use."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from mlink.catalog import module_types
from mlink.cli import app
from mlink.cli.setting_docs import meanings
from mlink.module import ModuleSettings
from tests.support import ROOT


class Base(ModuleSettings, kw_only=True):
    rate_hz: float = 1.0
    """Items per
    second."""
    plain: int = 0


class Derived(Base, kw_only=True):
    rate_hz: float = 2.0
    size: int = 3
    """Pixels."""


@pytest.fixture(scope="module")
def check():
    """Raise what a bench file has against the schema."""
    printed = CliRunner().invoke(app, ["modules", "--schema"])
    assert printed.exit_code == 0
    schema = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda text: validator.validate(tomllib.loads(text))


def test_the_text_below_a_field_is_its_meaning_also_of_a_base_class():
    assert meanings(Derived) == {"rate_hz": "Items per second.", "size": "Pixels."}


def test_a_class_without_source_has_no_meanings():
    assert meanings(type("Made", (ModuleSettings,), {})) == {}


def test_modules_of_one_type_explain_their_settings():
    printed = CliRunner().invoke(app, ["modules", "videorecorder"]).stdout
    assert "Length of a slice in minutes" in printed
    assert "Length of a slice in minutes" not in CliRunner().invoke(app, ["modules"]).stdout


@pytest.mark.parametrize("path", sorted(ROOT.glob("hil/benches/*/bench.toml")), ids=str)
def test_the_example_benches_fit_the_schema(check, path):
    check(path.read_text())


@pytest.mark.parametrize(
    "kind", ["script", "test", "bench", "recorder", "film", "module", "camera"]
)
def test_a_new_bench_brings_the_schema_that_it_fits(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["new", kind, "mine"]).exit_code == 0
    schema = json.loads(Path("mine/bench.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(
        tomllib.loads(Path("mine/bench.toml").read_text())
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[modules.a]\n",
        "[modules.a]\ntype = 'tabel'",
        "[modules.a]\ntype = 'table'\ndata_nam = 'x'",
        "[modules.a]\ntype = 'table'\nsave_data = 3",
        "[modules.a]\ntype = 'table'\ninputs = { rows = 'x' }",
        "[modules.a]\ntype = 'pyscript'",
        "[bench]\nrecord = 'some'\n[modules.a]\ntype = 'table'",
    ],
)
def test_what_check_refuses_the_schema_refuses_too(check, text):
    with pytest.raises(jsonschema.ValidationError):
        check(text)


def test_the_schema_says_what_settings_mean():
    schema = json.loads(CliRunner().invoke(app, ["modules", "--schema"]).stdout)
    kinds = schema["properties"]["modules"]["additionalProperties"]["oneOf"]
    names = {name for kind in kinds for name in kind["properties"]["type"]["enum"]}
    assert names == set(module_types())
    (recorder,) = (kind for kind in kinds if "videorecorder" in kind["properties"]["type"]["enum"])
    assert "minutes" in recorder["properties"]["slices_interval"]["description"]
