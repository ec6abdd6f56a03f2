"""Timers and cron lines, judged by systemd itself and by a shell."""

import configparser
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from geoseg.api.scheduling import (
    cron_lines,
    in_crontab,
    install_cron,
    install_systemd,
    plan_schedule,
    systemd_units,
)
from geoseg.errors import GeosegError, InputError

DATA = {
    "geoseg": 1,
    "name": "water-weekly",
    "input": {"kind": "sample"},
    "model": "water-s2",
    "output": {"directory": "products/{name}/{date}"},
    "monitor": {"keep": "90 d", "max_age": "8 d"},
    "notify": {"webhook_env": "HOOK"},
}
SYSTEMD = shutil.which("systemd-analyze")
AWKWARD = "a b$HOME 50% 'q' \"d\""


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / AWKWARD
    folder.mkdir()
    path = folder / "w.yaml"
    path.write_text(json.dumps(DATA))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def parsed(text):
    units = configparser.RawConfigParser(strict=True)
    units.optionxform = str
    units.read_string(text)
    return units


def test_units_run_clean_and_watch(path, home):
    units = systemd_units(plan_schedule(path, every="week", at="2:05", directory=home))
    name = "geoseg-water-weekly"
    assert sorted(units) == sorted(
        f"{name}{part}.{kind}" for part in ("", "-watch") for kind in ("service", "timer")
    )
    service = parsed(units[f"{name}.service"])["Service"]
    assert service["WorkingDirectory"] == str(home)
    assert service["EnvironmentFile"] == f"-{home}/config/geoseg/water-weekly.env"
    assert " -m geoseg run " in service["ExecStart"]
    assert " -m geoseg clean " in service["ExecStartPost"]
    timer = parsed(units[f"{name}.timer"])
    assert timer["Timer"]["OnCalendar"] == "Mon *-*-* 02:05:00"
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"
    watch = parsed(units[f"{name}-watch.service"])["Service"]
    assert watch["ExecStart"].endswith("--notify --quiet")


def test_what_a_workflow_does_not_ask_for_is_not_scheduled(path, home):
    path.write_text(json.dumps({**DATA, "monitor": True}))
    units = systemd_units(plan_schedule(path))
    assert len(units) == 2
    assert not any("clean" in text or "status" in text for text in units.values())
    assert "clean" not in cron_lines(plan_schedule(path))


@pytest.mark.skipif(SYSTEMD is None, reason="systemd is not installed")
@pytest.mark.parametrize("every", ["hour", "day", "week", "month", "sat"])
def test_systemd_takes_the_units(path, home, every):
    units = systemd_units(plan_schedule(path, every=every, at="23:59", directory=path.parent))
    folder = home / "units"
    folder.mkdir()
    for name, text in units.items():
        (folder / name).write_text(text)
    files = [str(folder / name) for name in units]
    judged = subprocess.run(
        [SYSTEMD, "verify", "--user", "--man=no", *files],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(home)},
    )  # fmt: skip
    ours = [line for line in judged.stderr.splitlines() if "geoseg-" in line]
    assert ours == []
    calendar = parsed(units["geoseg-water-weekly.timer"])["Timer"]["OnCalendar"]
    subprocess.run([SYSTEMD, "calendar", calendar], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("every", "at", "when"),
    [
        ("hour", "3:07", "7 * * * *"),
        ("day", "03:30", "30 3 * * *"),
        ("week", "0:00", "0 0 * * 1"),
        ("month", "23:59", "59 23 1 * *"),
        ("sun", "12:00", "0 12 * * 0"),
        ("sat", "12:00", "0 12 * * 6"),
    ],
)
def test_times_of_cron(path, every, at, when):
    lines = cron_lines(plan_schedule(path, every=every, at=at)).splitlines()
    assert lines[0] == "# geoseg water-weekly: begin"
    assert lines[-1] == "# geoseg water-weekly: end"
    assert lines[1].startswith(f"{when} cd ")
    assert lines[2].startswith("37 * * * * cd ")


def test_a_shell_gets_the_words_of_a_cron_line(path, home, tmp_path):
    """As cron would start it, with a Python that only notes what it was called with."""
    secrets = home / "config" / "geoseg" / "water-weekly.env"
    secrets.parent.mkdir(parents=True)
    secrets.write_text("HOOK=https://example.org/x\n")
    python = tmp_path / "noting"
    noted = tmp_path / "noted"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$PWD" "$HOOK" "$@" >> {noted}\n')
    python.chmod(0o755)
    from dataclasses import replace

    schedule = replace(plan_schedule(path, directory=path.parent), python=str(python))
    line = cron_lines(schedule).splitlines()[1].split(" ", 5)[5]
    assert "\n" not in line
    subprocess.run(["/bin/sh", "-c", line.replace(r"\%", "%")], check=True, cwd="/", env={})
    said = [str(path.parent), "https://example.org/x", "-m", "geoseg"]
    assert noted.read_text().splitlines() == [
        *said, "run", str(path), "--quiet", *said, "clean", str(path), "--quiet",
    ]  # fmt: skip


def test_lines_are_replaced_in_a_crontab_and_the_rest_stays():
    mine = "# geoseg a: begin\n1 * * * * x\n# geoseg a: end\n"
    others = "MAILTO=me\n0 0 * * * backup\n"
    once = in_crontab(others, "a", mine)
    assert once == others + mine
    assert in_crontab(once, "a", mine) == once
    more = in_crontab(once, "b", mine.replace(" a:", " b:"))
    assert in_crontab(in_crontab(more, "a", ""), "b", "") == others
    with pytest.raises(InputError, match="mend it by hand"):
        in_crontab("# geoseg a: begin\n", "a", mine)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A systemctl and a crontab that are files, not this machine's."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    table = tmp_path / "table"
    (folder / "crontab").write_text(
        f"#!/bin/sh\nif [ $1 = -l ]; then cat {table}; else cat > {table}; fi\n"
    )
    for tool in folder.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path


def test_installing_and_removing_leaves_nothing(path, home, tools):
    schedule = plan_schedule(path)
    install_systemd(schedule)
    folder = home / "config" / "systemd" / "user"
    assert {file.name: file.read_text() for file in folder.iterdir()} == systemd_units(schedule)
    install_systemd(schedule, remove=True)
    assert list(folder.iterdir()) == []
    calls = (tools / "calls").read_text().splitlines()
    timers = "geoseg-water-weekly.timer geoseg-water-weekly-watch.timer"
    assert calls == [
        "--user daemon-reload", f"--user enable --now {timers}",
        f"--user disable --now {timers}", "--user daemon-reload",
    ]  # fmt: skip
    install_cron(schedule)  # there is no table yet
    assert (tools / "table").read_text() == cron_lines(schedule)
    install_cron(schedule, remove=True)
    assert (tools / "table").read_text() == ""


def test_a_machine_without_systemd_says_so(path, home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(GeosegError, match="systemctl is not installed; try the other --kind"):
        install_systemd(plan_schedule(path))


def test_mistakes_are_told(path):
    with pytest.raises(InputError, match="expected a time of day like 03:30"):
        plan_schedule(path, at="25:00")
    path.write_text(json.dumps({key: DATA[key] for key in DATA if key != "monitor"}))
    with pytest.raises(InputError, match="add 'monitor: true' to it"):
        plan_schedule(Path(path))
