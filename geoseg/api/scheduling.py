"""A workflow night after night: units for systemd and lines for cron, printed or installed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.errors import GeosegError, InputError
from geoseg.io.atomic import write_bytes
from geoseg.workflow import Workflow, load

Every = Literal["hour", "day", "week", "month", "mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Kind = Literal["systemd", "cron"]

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_AT = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
WATCH_MINUTES = 37
"""Past each hour: when it is looked whether the last good run is too old."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a workflow runs, where, and by which Python.

    Attributes:
        workflow: Its file, absolute.
        name: Of the workflow; names units and lines.
        directory: Where it is started: paths in a workflow are relative to that.
        every, hour, minute: Local time of the machine; ``week`` is on Mondays, ``month`` on the
            first.
        cleans: Whether products are removed afterwards as the workflow says.
        watches: Whether somebody is told of silence.
        secrets: A file of ``NAME=value`` lines that the runs get as environment, if it is there.
    """

    workflow: Path
    name: str
    directory: Path
    every: Every
    hour: int
    minute: int
    cleans: bool
    watches: bool
    secrets: Path
    python: str = sys.executable

    def command(self, *words: str) -> list[str]:
        """A call of geoseg on the workflow."""
        first, *more = words
        return [self.python, "-m", "geoseg", first, str(self.workflow), *more]


def plan_schedule(
    path: Path, *, every: Every = "day", at: str = "03:30", directory: Path | None = None
) -> Schedule:
    """The schedule of a workflow.

    Args:
        path: The workflow's file.
        every: How often.
        at: Local time; of ``hour`` only the minutes count.
        directory: Where it is started; where we are without it.

    Raises:
        InputError: The workflow is wrong or has no ``monitor``, or ``at`` is no time.
    """
    workflow: Workflow = load(path)
    if workflow.monitor is None:
        raise InputError(
            f"{path}: is not made to run night after night; add 'monitor: true' to it (see "
            f"docs/schedules.md)"
        )
    time = _AT.fullmatch(at.strip())
    if time is None:
        raise InputError(f"--at {at!r}: expected a time of day like 03:30")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    notify = workflow.notify
    told = notify is not None and "silence" in notify.events
    return Schedule(
        path.absolute(),
        workflow.name,
        (directory or Path.cwd()).absolute(),
        every,
        int(time[1]),
        int(time[2]),
        cleans=workflow.monitor.keep is not None,
        watches=told and workflow.monitor.max_age is not None,
        secrets=config / "geoseg" / f"{workflow.name}.env",
    )


def systemd_units(schedule: Schedule) -> dict[str, str]:
    """The text of each unit by file name, for the user's systemd."""
    name = f"geoseg-{schedule.name}"
    runs = [schedule.command("run", "--quiet")]
    after = [schedule.command("clean", "--quiet")] if schedule.cleans else []
    units = {
        f"{name}.service": _service(schedule, f"geoseg {schedule.name}", runs, after),
        f"{name}.timer": _timer(f"geoseg {schedule.name}, every {schedule.every}", _calendar(schedule)),
    }  # fmt: skip
    if schedule.watches:
        watch = [schedule.command("status", "--notify", "--quiet")]
        title = f"geoseg {schedule.name}: is it silent?"
        units[f"{name}-watch.service"] = _service(schedule, title, watch, [])
        units[f"{name}-watch.timer"] = _timer(title, f"*-*-* *:{WATCH_MINUTES:02}:00")
    return units


def _service(
    schedule: Schedule, title: str, commands: list[list[str]], after: list[list[str]]
) -> str:
    lines = [
        "[Unit]",
        f"Description={_unit_text(title)}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_unit_text(str(schedule.directory))}",
        f"EnvironmentFile=-{_unit_text(str(schedule.secrets))}",
        *(f"ExecStart={_unit_command(command)}" for command in commands),
        *(f"ExecStartPost={_unit_command(command)}" for command in after),
        # Another run holds the output: that one does the work.
        "SuccessExitStatus=75",
        "Nice=10",
    ]
    return "\n".join(lines) + "\n"


def _timer(title: str, calendar: str) -> str:
    lines = [
        "[Unit]",
        f"Description={_unit_text(title)}",
        "",
        "[Timer]",
        f"OnCalendar={calendar}",
        # A night in which the machine was off is made up for when it is on again.
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def _calendar(schedule: Schedule) -> str:
    """A calendar event of systemd.time(7)."""
    time = f"{schedule.hour:02}:{schedule.minute:02}:00"
    match schedule.every:
        case "hour":
            return f"*-*-* *:{schedule.minute:02}:00"
        case "day":
            return f"*-*-* {time}"
        case "week":
            return f"Mon *-*-* {time}"
        case "month":
            return f"*-*-01 {time}"
        case day:
            return f"{day.capitalize()} *-*-* {time}"


def _unit_text(text: str) -> str:
    return text.replace("%", "%%")


def _unit_command(words: list[str]) -> str:
    """Words as systemd splits them: each in quotes where it must be, ``%`` and ``$`` doubled."""
    return " ".join(_unit_word(word) for word in words)


def _unit_word(word: str) -> str:
    plain = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w./:@%$=+,-]+", plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def cron_lines(schedule: Schedule) -> str:
    """What goes into the user's crontab, between two marks."""
    begin, end = _marks(schedule.name)
    when = _cron_time(schedule)
    run = _shell(schedule, schedule.command("run", "--quiet"))
    if schedule.cleans:
        run += f" && {shlex.join(schedule.command('clean', '--quiet'))} >/dev/null"
    lines = [begin, f"{when} {_cron_text(run)}"]
    if schedule.watches:
        watch = _shell(schedule, schedule.command("status", "--notify", "--quiet"))
        lines.append(f"{WATCH_MINUTES} * * * * {_cron_text(watch)}")
    return "\n".join([*lines, end]) + "\n"


def _marks(name: str) -> tuple[str, str]:
    return f"# geoseg {name}: begin", f"# geoseg {name}: end"


def _shell(schedule: Schedule, command: list[str]) -> str:
    """Cron mails what is printed: only errors are."""
    secrets = shlex.quote(str(schedule.secrets))
    read = f"if [ -r {secrets} ]; then set -a; . {secrets}; set +a; fi"
    return f"cd {shlex.quote(str(schedule.directory))} && {{ {read}; }} && {shlex.join(command)} >/dev/null"


def _cron_text(text: str) -> str:
    return text.replace("%", r"\%")  # else cron takes it for the end of a line


def _cron_time(schedule: Schedule) -> str:
    minute, hour = schedule.minute, schedule.hour
    match schedule.every:
        case "hour":
            return f"{minute} * * * *"
        case "day":
            return f"{minute} {hour} * * *"
        case "month":
            return f"{minute} {hour} 1 * *"
        case day:
            return f"{minute} {hour} * * {_WEEKDAYS.index('mon' if day == 'week' else day)}"


def in_crontab(crontab: str, name: str, lines: str) -> str:
    """A crontab with ``lines`` in the place of those between the marks of ``name``, or at its end.

    Raises:
        InputError: Only one of the marks is there.
    """
    begin, end = _marks(name)
    rows = crontab.splitlines()
    if (begin in rows) != (end in rows):
        raise InputError(f"crontab: the marks '{begin}' and '{end}' do not match; mend it by hand")
    if begin in rows:
        at = rows.index(begin)
        rows = [*rows[:at], *lines.splitlines(), *rows[rows.index(end) + 1 :]]
    else:
        rows += lines.splitlines()
    return "".join(f"{row}\n" for row in rows)


def unit_folder() -> Path:
    """Where the user's units lie."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "systemd" / "user"


def install_systemd(schedule: Schedule, *, remove: bool = False) -> list[str]:
    """Write the units and start the timers, or stop and remove them; returns what was done.

    Raises:
        GeosegError: systemd refuses.
    """
    folder, units, done = unit_folder(), systemd_units(schedule), []
    timers = [name for name in units if name.endswith(".timer")]
    if remove:
        _call(["systemctl", "--user", "disable", "--now", *timers])
    for name, text in units.items():
        if remove:
            (folder / name).unlink(missing_ok=True)
        else:
            write_bytes(folder / name, text.encode())
        done.append(f"{folder / name}: {'removed' if remove else 'written'}")
    _call(["systemctl", "--user", "daemon-reload"])
    if not remove:
        _call(["systemctl", "--user", "enable", "--now", *timers])
        done.append("runs while you are logged in; 'loginctl enable-linger' makes that always")
    return done


def install_cron(schedule: Schedule, *, remove: bool = False) -> list[str]:
    """Put the lines into the user's crontab, or take them out; returns what was done.

    Raises:
        GeosegError: cron refuses.
    """
    listed = _call(["crontab", "-l"], may_fail=True)
    text = in_crontab(listed, schedule.name, "" if remove else cron_lines(schedule))
    _call(["crontab", "-"], text)
    return [f"crontab: lines of {schedule.name} {'removed' if remove else 'written'}"]


def _call(words: list[str], text: str | None = None, *, may_fail: bool = False) -> str:
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise GeosegError(f"{words[0]} is not installed; try the other --kind") from None
    if done.returncode and not may_fail:
        raise GeosegError(f"{shlex.join(words)}: {done.stderr.strip() or done.returncode}")
    return "" if done.returncode else done.stdout
