"""What is installed is found by entry points; what is broken harms only those who use it."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType as PythonModule

import pytest

from mlink import catalog, proposals
from mlink.devices import FoundDevice
from mlink.errors import BenchError, DeviceError
from mlink.module import Category, ModuleSettings, ModuleType


def make_type(id, **given):
    return ModuleType(
        id=id,
        title=id.title(),
        summary="",
        category=Category.PROCESSING,
        settings=ModuleSettings,
        implementation="nowhere:Nothing",
        **given,
    )


class Provider:
    known = ("pretend:one",)


FOUND = FoundDevice(kind="serial", address="/dev/ttyX0", name="A port")

things = PythonModule("third_party_things")
things.table = make_type("table", aliases=("csv",))
things.camera = make_type("camera-generic")
things.rival = make_type("table")
things.not_a_type = 5
things.Provider = Provider
things.discover = lambda: [FOUND]


@pytest.fixture
def install(monkeypatch):
    """Install entry points, given as "group": {name: value}."""
    monkeypatch.setitem(sys.modules, "third_party_things", things)

    def install(**groups):
        entries = EntryPoints(
            EntryPoint(name, f"third_party_things:{value}", f"mlink.{group}")
            for group, values in groups.items()
            for name, value in values.items()
        )
        monkeypatch.setattr(catalog, "entry_points", entries.select)

    catalog._installed.cache_clear()
    catalog.device_provider.cache_clear()
    yield install
    catalog._installed.cache_clear()
    catalog.device_provider.cache_clear()


def test_types_are_found_by_id_and_by_alias(install):
    install(modules={"table": "table", "camera-generic": "camera"})
    assert set(catalog.module_types()) == {"table", "csv", "camera-generic"}
    assert catalog.module_type("csv") is catalog.module_type("table")


def test_an_unknown_type_is_answered_with_the_nearest_name(install):
    install(modules={"table": "table", "camera-generic": "camera"})
    with pytest.raises(BenchError) as error:
        catalog.module_type("camera-generick")
    assert "unknown module type 'camera-generick'" in str(error.value)
    assert "Did you mean 'camera-generic'?" in str(error.value)


def test_a_type_like_no_other_is_answered_with_all_names(install):
    install(modules={"table": "table"})
    with pytest.raises(BenchError, match="Known module types: csv, table"):
        catalog.module_type("quux")


def test_a_broken_package_does_not_hide_the_others(install):
    install(modules={"table": "table", "broken": "missing"})
    assert "table" in catalog.module_types()
    assert "AttributeError" in catalog.broken_types()["broken"]


def test_a_broken_type_is_reported_with_the_reason_when_it_is_used(install):
    install(modules={"broken": "missing"})
    with pytest.raises(BenchError, match=r"broken.*AttributeError") as error:
        catalog.module_type("broken")
    assert "Reinstall" in error.value.remedy


def test_an_entry_point_that_is_no_module_type_is_broken(install):
    install(modules={"five": "not_a_type"})
    assert "not a ModuleType" in catalog.broken_types()["five"]


def test_the_first_of_two_types_of_one_id_is_kept_and_the_other_reported(install):
    install(modules={"table": "table", "other": "rival"})
    assert catalog.module_types()["table"] is things.table
    assert any("already provided" in reason for reason in catalog.broken_types().values())


def test_a_scheme_without_a_provider_has_none(install):
    install(devices={"pretend": "Provider"})
    assert catalog.device_provider("/dev/ttyACM0") is None
    assert catalog.device_schemes() == ["pretend"]


def test_a_provider_class_is_instantiated_once(install):
    install(devices={"pretend": "Provider"})
    assert isinstance(catalog.device_provider("pretend"), Provider)
    assert catalog.device_provider("pretend") is catalog.device_provider("pretend")


def test_a_broken_provider_is_reported_when_it_is_used(install):
    install(devices={"pretend": "missing"})
    with pytest.raises(DeviceError, match="'pretend:…' cannot be provided"):
        catalog.device_provider("pretend")


def test_discoverers_list_devices(install):
    install(discovery={"made-up": "discover"})
    assert catalog.discoverers()["made-up"]() == [FOUND]


def test_a_broken_discoverer_fails_only_when_it_is_called(install):
    install(discovery={"broken": "missing", "made-up": "discover"})
    found = catalog.discoverers()
    assert found["made-up"]() == [FOUND]
    with pytest.raises(DeviceError, match="cannot look for devices"):
        found["broken"]()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("framrate", "framerate"), ("FRAMERATE", "framerate"), ("zzz", None), ("f" * 1000, None)],
)
def test_the_nearest_name_forgives_letters_and_case_but_does_not_guess(name, expected):
    assert proposals.nearest(name, ["framerate", "size"]) == expected


def test_our_own_types_are_installed():
    assert {"pyscript", "table", "videorecorder", "camera-generic", "firmata-io"} <= set(
        catalog.module_types()
    )
