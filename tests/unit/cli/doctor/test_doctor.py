"""`mlink doctor`: what it finds on made-up machines, and the command that it proposes."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import typer
from typer.testing import CliRunner

from mlink.cli.doctor import checks as doctor_checks
from mlink.cli.doctor.checks import Machine, examine, measure_disk
from mlink.cli.doctor.command import doctor
from mlink.cli.doctor.finding import Finding
from mlink.cli.doctor.fix import LIMITS, OLD_FILES, RULES, apply, describe, files_of_fix
from mlink.cli.doctor.rivals import board_vendors
from mlink.errors import MlinkError
from mlink.realtime import RIGHTS_REMEDY
from mlink.rtkit import RtkitUnavailableError


def refuse():
    raise PermissionError(1, "Operation not permitted")


def no_rtkit():
    raise RtkitUnavailableError("there is no system bus")


def findings(tmp_path, **options):
    (tmp_path / "dev").mkdir(exist_ok=True)
    defaults = {
        "sys": tmp_path / "sys",
        "dev": tmp_path / "dev",
        "proc": tmp_path / "proc",
        "usr": tmp_path / "usr",
        "systemd": tmp_path / "systemd",
        "udev_rules": (tmp_path / "etc", tmp_path / "lib"),
        "set_fifo": lambda: None,
        "rtkit_priority": no_rtkit,
        "groups": lambda: {"dialout", "video"},
        "noted_groups": lambda: set(),
        "disk_speed": lambda folder: 1e9,
        "has_package": lambda name: True,
    }
    return {found.check: found for found in examine(Machine(**{**defaults, **options}))}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_on_a_good_machine_nothing_is_to_be_done(tmp_path):
    found = findings(tmp_path)
    assert found["real-time priority"].found == "SCHED_FIFO is granted"
    for check in ("real-time priority", "rtkit", "group dialout", "group video"):
        assert (found[check].state, found[check].remedy) == ("good", "")


def test_without_real_time_priority_the_fix_is_named(tmp_path):
    found = findings(tmp_path, set_fifo=refuse)["real-time priority"]
    assert found.state == "better"
    assert "Operation not permitted" in found.found
    assert found.remedy == RIGHTS_REMEDY


def test_rtkit_is_enough(tmp_path):
    found = findings(tmp_path, set_fifo=refuse, rtkit_priority=lambda: 20)
    assert found["real-time priority"].found.endswith("rtkit is used instead")
    assert found["rtkit"].found == "grants priority up to 20"
    assert not found["real-time priority"].remedy


def test_nice_matters_only_when_nothing_better_is_granted(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_checks.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor_checks.resource, "getrlimit", lambda which: (20, 20))
    assert not findings(tmp_path)["nice"].remedy
    assert findings(tmp_path, set_fifo=refuse)["nice"].remedy == RIGHTS_REMEDY


@pytest.mark.parametrize(("governor", "state"), [("performance", "good"), ("powersave", "better")])
def test_the_governor_is_reported_with_the_command_that_changes_it(tmp_path, governor, state):
    for cpu in (0, 1):
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", governor)
    found = findings(tmp_path)["processor speed"]
    assert (found.found, found.state) == (f"governor {governor}", state)
    if state == "better":
        assert found.remedy.startswith("echo performance | sudo tee ")
        assert found.remedy.endswith("/cpu*/cpufreq/scaling_governor")


def usb(tmp_path, name, *, control, product, video=False, tty=False):
    folder = tmp_path / "sys/bus/usb/devices" / name
    write(folder / "power/control", control)
    write(folder / "product", product)
    if video:
        write(folder / f"{name}:1.0" / "bInterfaceClass", "0e")
    if tty:
        (folder / f"{name}:1.0" / "ttyUSB0").mkdir(parents=True)
    return folder


def test_cameras_and_boards_that_may_fall_asleep_are_named_and_others_are_not(tmp_path):
    usb(tmp_path, "1-1", control="auto", product="C270", video=True)
    usb(tmp_path, "1-2", control="auto", product="Uno", tty=True)
    usb(tmp_path, "1-3", control="auto", product="Keyboard")
    usb(tmp_path, "1-4", control="on", product="C920", video=True)
    found = findings(tmp_path)["USB power saving"]
    assert found.found == "on for C270, Uno"
    assert found.remedy == RIGHTS_REMEDY


def test_slow_ftdi_chips_are_found(tmp_path):
    write(tmp_path / "sys/bus/usb-serial/devices/ttyUSB0/latency_timer", "16")
    write(tmp_path / "sys/bus/usb-serial/devices/ttyUSB1/latency_timer", "1")
    found = findings(tmp_path)["FTDI latency"]
    assert found.found == "16 ms at ttyUSB0"
    assert found.remedy == RIGHTS_REMEDY


def test_what_the_machine_does_not_have_is_not_mentioned(tmp_path):
    found = findings(tmp_path)
    absent = {"processor speed", "USB power saving", "FTDI latency", "ModemManager", "brltty"}
    assert not absent & set(found)


@pytest.mark.parametrize(
    ("place", "state"),
    [("proc/7/comm", "runs"), ("usr/sbin/ModemManager", "is installed")],
)
def test_modem_manager_is_found_until_a_rule_keeps_it_off_boards(tmp_path, place, state):
    write(tmp_path / place, "ModemManager")
    write(tmp_path / "lib/77-mm.rules", '# 1a86 and ENV{ID_MM_DEVICE_IGNORE}="1" in a comment')
    found = findings(tmp_path)["ModemManager"]
    assert found.state == "better"
    assert found.found.startswith(f"{state}: it may hold a board's port")
    assert found.remedy == RIGHTS_REMEDY
    write(tmp_path / "etc/70-mlink-boards.rules", files_of_fix()[RULES])
    found = findings(tmp_path)["ModemManager"]
    assert (found.state, found.remedy) == ("good", "")


def test_brltty_is_found_where_its_rules_take_ch340_chips(tmp_path):
    write(tmp_path / "lib/85-brltty.rules", '# ENV{PRODUCT}=="1a86/7523/*"')
    assert "brltty" not in findings(tmp_path)  # a distribution has switched the line off
    write(tmp_path / "lib/85-brltty.rules", 'ENV{PRODUCT}=="1a86/7523/*", ENV{X}="bm"\nof=keep')
    found = findings(tmp_path)["brltty"]
    assert found.state == "bad"
    command = found.remedy.partition(";")[0].replace(
        "sudo tee /etc/udev/rules.d", f"tee {tmp_path}/etc"
    )
    (tmp_path / "etc").mkdir()
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert "brltty" not in findings(tmp_path)
    assert "of=keep" in (tmp_path / "etc/85-brltty.rules").read_text()
    (tmp_path / "etc/85-brltty.rules").unlink()
    (tmp_path / "etc/85-brltty.rules").symlink_to("/dev/null")
    assert "brltty" not in findings(tmp_path)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ('ATTRS{idVendor}=="2341", ENV{X}="1"\\nENV{ID_MM_DEVICE_IGNORE}="1"\\n# 1a86', False),
        ('ATTRS{idVendor}=="1a86", \\\\\\n  ENV{ID_MM_DEVICE_IGNORE}="1"', False),  # not Arduino's
        ('ATTRS{idVendor}=="1A86|2341", \\\\\\n  ENV{ID_MM_DEVICE_IGNORE}="1"', True),
        ('ATTRS{idVendor}=="2341", ATTRS{idProduct}=="0001", ENV{ID_MM_DEVICE_IGNORE}="1"', False),
        ('ATTRS{idVendor}=="[12][3a]*", ENV{ID_MM_DEVICE_IGNORE}="1"', True),
    ],
)
def test_modem_manager_is_kept_off_by_a_line_that_applies_to_the_board(tmp_path, rules, kept):
    write(tmp_path / "proc/7/comm", "ModemManager")
    write(tmp_path / "lib/77-mm.rules", rules.encode().decode("unicode_escape"))
    assert (findings(tmp_path)["ModemManager"].state == "good") == kept


def test_a_board_that_is_plugged_in_is_named_and_a_masked_service_is_no_rival(tmp_path):
    device = tmp_path / "sys/bus/usb/devices/1-1"
    write(device / "idVendor", "303a")
    write(device / "idProduct", "1001")
    (device / "1-1:1.0/tty").mkdir(parents=True)
    write(tmp_path / "usr/sbin/ModemManager", "")
    found = findings(tmp_path)["ModemManager"]
    assert "(here: 303a:1001)" in found.found
    vendors = board_vendors(tmp_path / "sys")
    assert vendors == ["303a"]
    write(tmp_path / "lib/80-x.rules", files_of_fix(vendors)[RULES])
    assert findings(tmp_path)["ModemManager"].state == "good"
    (tmp_path / "lib/80-x.rules").unlink()
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/ModemManager.service").symlink_to("/dev/null")
    assert "ModemManager" not in findings(tmp_path)


def test_a_rule_for_a_braille_display_alone_takes_no_board(tmp_path):
    display = (
        'ENV{PRODUCT}=="403/6001/*", ATTRS{manufacturer}=="Hedo Reha Technik GmbH", ENV{X}="hd"'
    )
    write(tmp_path / "lib/85-brltty.rules", display)
    assert "brltty" not in findings(tmp_path)


def test_a_missing_group_is_bad_and_root_needs_none(tmp_path):
    found = findings(tmp_path, groups=lambda: {"dialout"})
    assert found["group dialout"].state == "good"
    assert found["group video"].state == "bad"
    assert found["group video"].remedy == RIGHTS_REMEDY
    waits = findings(tmp_path, groups=lambda: {"dialout"}, noted_groups=lambda: {"video"})
    assert waits["group video"].remedy.startswith("log out and in again")
    assert next(iter(waits)) == "group video"  # what blocks devices comes first
    assert findings(tmp_path, groups=lambda: {"root"})["group video"].state == "good"


@pytest.mark.parametrize(("megabytes", "state"), [(64, "better"), (2048, "good")])
def test_little_free_memory_is_reported_with_a_remedy(tmp_path, megabytes, state):
    found = findings(tmp_path, available_bytes=lambda: megabytes << 20)["free memory"]
    assert found.state == state
    assert found.found == f"{megabytes} MB are available"
    assert ("shorten the queues" in found.remedy) == (state == "better")


def test_a_missing_simulator_is_reported_with_its_extra(tmp_path):
    found = findings(tmp_path, has_package=lambda name: False)["board simulator"]
    assert found.remedy == "pip install 'mlink-hil[sim]'"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(doctor)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_this_machine_is_examined_and_reported_as_text_and_json(run, monkeypatch):
    findings = examine()  # once: free memory changes from one call to the next
    monkeypatch.setattr(doctor_checks, "examine", lambda: findings)
    text = run()
    assert text.exit_code == any(found.state == "bad" for found in findings)
    assert "real-time priority: " in text.stdout
    data = json.loads(run("--json").stdout)["findings"]
    assert {"check", "state", "found", "remedy"} == set(data[0])
    assert all(found["state"] in ("good", "better", "bad") for found in data)
    for found in data:
        assert found["found"] in text.stdout


def test_what_blocks_runs_is_an_exit_code(run, monkeypatch):
    blocked = [Finding(check="group video", state="bad", found="none", remedy=RIGHTS_REMEDY)]
    monkeypatch.setattr(doctor_checks, "examine", lambda: blocked)
    text = run()
    assert text.exit_code == run("--json").exit_code == 1
    assert text.stdout.endswith(
        "devices or runs: 1\nAll rights by one command: mlink doctor --fix\n"
    )


def test_a_slow_disk_and_a_folder_of_others_have_remedies(tmp_path):
    slow = findings(tmp_path, disk_speed=lambda folder: 8e6)["disk"]
    assert (slow.state, slow.found.startswith("takes 8 MB/s in ")) == ("better", True)

    def denied(folder):
        raise PermissionError(13, "Permission denied")

    assert "mlink run --out" in findings(tmp_path, disk_speed=denied)["disk"].remedy
    assert measure_disk(tmp_path) > 0
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_idle_processors_are_mentioned_where_the_kernel_has_them(tmp_path):
    write(tmp_path / "dev/cpu_dma_latency", "")
    assert findings(tmp_path)["idle processors"].state == "good"
    refused = findings(tmp_path, can_write=lambda path: False)["idle processors"]
    assert refused.remedy == RIGHTS_REMEDY


def test_the_fix_writes_whole_files_once_and_takes_back_what_older_hints_wrote(tmp_path):
    limits, rules = (tmp_path / path.relative_to("/") for path in (LIMITS, RULES))
    old = tmp_path / OLD_FILES[0].relative_to("/")
    write(limits, "@video - rtprio 20")
    write(old, "@video - nice -10")
    done = apply(files_of_fix(), tmp_path)
    assert [sentence.split()[0] for sentence in done] == ["wrote", "wrote", "removed"]
    settings = [line for line in limits.read_text().splitlines() if line[0] == "@"]
    assert [line.split()[2] for line in settings] == ["rtprio", "nice", "memlock"]
    assert not old.exists()
    assert {limits.stat().st_mode & 0o777, rules.stat().st_mode & 0o777} == {0o644}
    assert apply(files_of_fix(), tmp_path) == ["all of it was there already"]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [limits, rules]


def test_a_fix_without_the_rights_for_it_names_the_command(tmp_path):
    (tmp_path / "etc").write_text("a file where a folder should be")
    with pytest.raises(MlinkError, match="cannot be written") as raised:
        apply(files_of_fix(), tmp_path)
    assert "sudo" in raised.value.remedy


def test_without_root_the_fix_is_shown_with_one_command(run, monkeypatch):
    monkeypatch.setattr(doctor_checks.os, "geteuid", lambda: 1000)
    shown = run("--fix").stdout
    assert shown.strip().endswith(" doctor --fix")
    assert shown.count("sudo ") == 1
    assert describe(files_of_fix()).splitlines()[0] == f"{LIMITS}:"


def test_each_rule_of_the_fix_is_a_list_of_conditions_and_assignments():
    for line in files_of_fix(["303a"])[RULES].splitlines():
        if line and not line.startswith("#"):
            for part in line.split(", "):
                assert re.fullmatch(r'[A-Z]+(\{[\w/]+\})?(==|!=|=)"[^"]+"', part), part
