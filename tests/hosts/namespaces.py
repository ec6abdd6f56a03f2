"""Hosts on one machine: each with its own network, name, processes and ``/tmp``.

    with network(shared, names=("scheduler", "worker1", "client")) as hosts:
        hosts.start("scheduler", "python", "-m", "geoseg.run.member", "scheduler")
        hosts.cut("worker1")

A host is a set of Linux namespaces that lives as long as its first process; whatever becomes of the
test, the kernel ends all processes of a host with it, and its network card with them. Hosts share
the machine's files (one folder stands for the network file system) and its clock.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil
from switch import Line, Switch

ROOT = Path(__file__).parents[2]
NAMES = ("scheduler", "worker1", "worker2", "worker3", "client")
NET = "10.77.0"
PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "mount")
NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc")

# Folders below /tmp that all hosts see are opened before a host's own /tmp covers them.
BOOT = """
set -e
name=$1 hosts=$2; shift 2
hostname "$name"
mount --bind "$hosts" /etc/hosts
ip link set lo up
number=3
for folder in "$@"; do eval "exec $number<\\"\\$folder\\""; number=$((number + 1)); done
mount -t tmpfs -o mode=1777 tmpfs /tmp
number=3
for folder in "$@"; do
    mkdir -p "$folder"
    mount --no-canonicalize --bind "/proc/self/fd/$number" "$folder"
    eval "exec $number<&-"
    number=$((number + 1))
done
echo up
exec sleep infinity
"""


@cache
def why_not() -> str | None:
    """Why hosts cannot be made here; None where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts of their own need root on Linux"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        return f"hosts of their own need {', '.join(lacking)} (iproute2, util-linux)"
    switch = Switch()
    try:
        switch.plug("tried")
    except OSError as error:
        return f"network cards cannot be made here (/dev/net/tun: {error.strerror})"
    finally:
        switch.close()
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"namespaces are refused: {tried.stderr.strip()}" if tried.returncode else None


@dataclass
class Host:
    """One host, up or down."""

    name: str
    number: int
    first: subprocess.Popen | None = None
    pid: int = 0
    services: list[tuple[tuple[str, ...], dict]] = field(default_factory=list)
    started: list[subprocess.Popen] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{NET}.{self.number}"


class Hosts:
    """All hosts of one network; made by :func:`network`."""

    def __init__(self, names, shared: Path, environment: Mapping[str, str]):
        self.shared, self.environment = shared, dict(environment)
        self.switch = Switch()
        self._hosts = {name: Host(name, number) for number, name in enumerate(names, 1)}
        self._table = shared / ".hosts"
        lines = [f"{host.address} {host.name}" for host in self._hosts.values()]
        self._table.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))

    def address(self, name: str) -> str:
        return self._hosts[name].address

    def is_up(self, name: str) -> bool:
        return self._hosts[name].first is not None

    def start(self, name: str, *words: object, cwd=None, service=False, log=None, env=None, **more):
        """A process on a host; a ``service`` starts again whenever it ends, and with its host.

        ``log`` takes what it says; without one, nobody does. ``more`` goes to ``Popen``.
        """
        host, words = self._hosts[name], tuple(map(str, words))
        if service:
            host.services.append((words, {"cwd": cwd, "log": log, "env": env}))
            words = ("sh", "-c", 'while :; do "$@"; sleep 1; done', "sh", *words)
        if log is not None:
            with Path(log).open("ab") as file:
                more |= {"stdout": file, "stderr": subprocess.STDOUT}
                process = self._popen(host, words, cwd, env, more)
        else:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = self._popen(host, words, cwd, env, quiet | more)
        host.started.append(process)
        return process

    def through(self, name: str, cwd=None) -> list[str]:
        """Words that run what follows them on a host."""
        enter = ["nsenter", "--target", str(self._hosts[name].pid), *NAMESPACES, "--"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(cwd or self.shared)]

    def processes(self, name: str, words: str) -> list[psutil.Process]:
        """Processes of a host whose command has ``words``."""
        found, there = [], _pid_namespace(self._hosts[name].pid)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                here = _pid_namespace(process.pid)
                command = " ".join(process.cmdline())
                if here == there and words in command:
                    found.append(process)
        return found

    def cut(self, name: str) -> None:
        """Swallow all that a host sends and should get; nobody is told."""
        self.switch.set(name, Line(cut=True))

    def slow(self, name: str, *, delay: float, loss: float) -> None:
        """``delay`` seconds, and this share lost, on each way to and from a host."""
        self.switch.set(name, Line(delay=delay, loss=loss))

    def restore(self, name: str) -> None:
        """The line as it was at first."""
        self.switch.set(name, Line())

    def down(self, name: str) -> None:
        """As if the power went: all processes are gone at once, and nobody says goodbye."""
        host = self._hosts[name]
        if host.first is not None:
            with suppress(ProcessLookupError):
                os.kill(host.pid, 9)
            host.first.kill()
            host.first.wait()
            host.first.stdout.close()
        for process in host.started:
            process.kill()  # nsenter stops itself with what it started, and would not see its end
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None and not pipe.closed:
                    pipe.close()
        host.first, host.pid, host.started = None, 0, []
        self.switch.unplug(name)

    def up(self, name: str) -> None:
        """Start a host, and its services."""
        host = self._hosts[name]
        kept = [str(p) for p in (self.shared, ROOT, *_prefixes()) if _below_tmp(p)]
        boot = ["sh", "-c", BOOT, "sh", name, str(self._table), *kept]
        first = ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", "--mount-proc", "--", *boot]
        host.first = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *first],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if host.first.stdout.readline() != "up\n":
            raise RuntimeError(f"{name} does not start: {host.first.wait()}")
        host.pid = psutil.Process(host.first.pid).children()[0].pid
        self._wire(host)
        services, host.services = host.services, []
        for words, options in services:
            self.start(name, *words, service=True, **options)

    def restart(self, name: str, seconds: float = 0.0) -> None:
        """Power off, and on after some time."""
        self.down(name)
        time.sleep(seconds)
        self.up(name)

    def close(self) -> None:
        for name in reversed(self._hosts):
            self.down(name)
        self.switch.close()
        self._table.unlink(missing_ok=True)

    def _wire(self, host: Host) -> None:
        device = self.switch.plug(host.name).device
        subprocess.run(["ip", "link", "set", device, "netns", str(host.pid)], check=True)
        # A host that comes back has the card it had: others remember its hardware address.
        commands = (
            f"link set {device} name eth0 address 02:00:00:00:00:{host.number:02x}\n"
            f"addr add {host.address}/24 dev eth0\nlink set eth0 up\n"
        )
        enter = ["nsenter", "--target", str(host.pid), "--net", "ip", "-batch", "-"]
        subprocess.run(enter, input=commands, text=True, check=True)

    def _popen(self, host, words, cwd, env, options):
        return subprocess.Popen(
            [*self.through(host.name, cwd), *words],
            env={**os.environ, **self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            **options,
        )


@contextmanager
def network(shared: Path, *, names=NAMES, environment: Mapping[str, str] = {}) -> Iterator[Hosts]:
    """Hosts that are up and reach each other by name; ``shared`` is seen by all."""
    hosts = Hosts(names, shared, environment)
    try:
        for name in names:
            hosts.up(name)
        yield hosts
    finally:
        hosts.close()


def _pid_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _below_tmp(path: Path) -> bool:
    return Path("/tmp") in Path(path).resolve().parents  # noqa: S108 (is it covered?)


def _prefixes() -> list[Path]:
    """Where Python and its packages lie."""
    return [Path(sys.prefix), Path(sys.base_prefix)]
