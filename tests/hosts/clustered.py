"""A cluster on several hosts, as docs/deploy.md has it started, and runs of clients on it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespaces import ROOT, Hosts

from geoseg.api import pipeline
from geoseg.api.crew import Crew
from geoseg.api.planning import plan_workflow
from geoseg.run.reporter import Silent
from geoseg.run.serial import Serial
from geoseg.workflow import load

sys.path.append(str(ROOT / "tests" / "chaos"))  # which is not on the path when only these tests run
from killing import Moment, Session, hashes, ledgers, strays

__all__ = ["Cluster", "Moment", "Session", "hashes", "ledgers", "local_here", "local_run",
           "strays", "taken_away"]  # fmt: skip

PORT = 8786
MEMBER = (sys.executable, "-m", "geoseg.run.member")
SEEN = """
import json, socket, sys
from distributed import Client, Security
address, tls = sys.argv[1], sys.argv[2:]
security = Security(tls_ca_file=tls[0], tls_client_cert=tls[1], tls_client_key=tls[2],
                    require_encryption=True) if tls else None
def look(dask_worker):
    return socket.gethostname(), dask_worker.state.executed_count
with Client(address, security=security, timeout=60, set_as_default=False) as client:
    print(json.dumps(dict(client.run(look, on_error="ignore").values())))
"""
"""Asks each worker for its host, and the tasks that it has done since it began."""


class Cluster:
    """A scheduler and workers, one on each host; whoever ends is started again."""

    def __init__(self, hosts: Hosts, folder: Path, *, tls=(), threads: int = 2):
        self.hosts, self.folder, self.tls = hosts, folder, [str(path) for path in tls]
        scheme = "tls" if tls else "tcp"
        self.address = f"{scheme}://scheduler:{PORT}"
        options = ("--tls-ca-file", "--tls-cert", "--tls-key")
        flags = [w for pair in zip(options, self.tls, strict=bool(tls)) for w in pair]
        host = ["--protocol", "tls"] if tls else []
        self._scheduler = [*MEMBER, "scheduler", "--port", PORT, "--no-dashboard", *host, *flags]
        self._worker = [
            *MEMBER, "worker", self.address, "--nthreads", threads, "--memory-limit", "2500MB",
            "--local-directory", "/tmp", "--no-dashboard", *host, *flags,  # noqa: S108 (its own)
        ]  # fmt: skip

    def start(self, *workers: str) -> None:
        """Begin to serve; members find each other when they are up."""
        self.serve("scheduler", self._scheduler)
        for name in workers:
            self.serve(name, self._worker)

    def serve(self, name: str, words) -> None:
        log = self.folder / f"{name}.log"
        self.hosts.start(name, *words, cwd=self.folder, service=True, log=log)

    def wait_for(self, workers: int, seconds: float = 60) -> None:
        """Until the scheduler has met so many workers since it began."""
        until = time.monotonic() + seconds
        while self.said("scheduler").count("Register worker") < workers:
            assert time.monotonic() < until, self.said("scheduler")
            time.sleep(0.1)

    def said(self, name: str) -> str:
        """The log of a member."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def run(self, workflow: Path, *words: str, host="client", local=False) -> Session:
        """A client on a host."""
        cluster: dict | str = self.address
        if self.tls:
            names = ("ca", "cert", "key")
            cluster = {"address": self.address, "tls": dict(zip(names, self.tls, strict=True))}
        asked = [] if local else ["--set", f"cluster={json.dumps(cluster)}"]
        return Session(
            "run", workflow, *asked, *words, cwd=self.folder,
            env=self.hosts.environment, through=self.hosts.through(host, self.folder),
        )  # fmt: skip

    def seen(self, *, at_least: int = 1, host="client", seconds: float = 60) -> dict[str, int]:
        """Tasks done on each host, once there are so many workers."""
        until = time.monotonic() + seconds
        while True:
            done = subprocess.run(
                [*self.hosts.through(host, self.folder),
                 sys.executable, "-c", SEEN, self.address, *self.tls],
                capture_output=True, text=True, check=False, timeout=2 * seconds,
                env={**os.environ, **self.hosts.environment},
            )  # fmt: skip
            found = json.loads(done.stdout) if done.returncode == 0 else {}
            if len(found) >= at_least:
                return found
            assert time.monotonic() < until, (found, done.stderr[-2000:])
            time.sleep(0.5)


def local_here(folder: Path, workflow: str, out: Path) -> dict[str, str]:
    """What a run in this process makes in the same place; it is taken away again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Crew, "connect", lambda _: None)
        patch.setattr(Crew, "executor", lambda _, order, blocks=True: Serial(1))
        pipeline.run_plan(plan_workflow(load(workflow)), Silent())
    return taken_away(out)


def local_run(cluster: Cluster, workflow: Path, out: Path) -> dict[str, str]:
    """What a run on one host makes in the same place; it is taken away again."""
    session = cluster.run(workflow, local=True)
    try:
        assert session.end() == 0, session
    finally:
        session.kill("group")
    return taken_away(out)


def taken_away(out: Path) -> dict[str, str]:
    """Hashes of all products, of which none is left; nor is what is known of their run."""
    found, until = hashes(out), time.monotonic() + 30
    while left := sorted(out.rglob("*"), reverse=True):
        try:
            for path in left:
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        except OSError:  # a worker that was given up may still end a block
            assert time.monotonic() < until, left
            time.sleep(0.5)
    return found
