"""A real SLURM on several hosts: munged on each, slurmctld on the head, slurmd on the nodes."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clustered import Session, taken_away
from namespaces import ROOT, Hosts, network

NODES = ["node1", "node2", "node3"]
WITH_GPU = "node3"
"""Has what SLURM takes for a GPU: who asks for one gets a job there; others, where they can, do not."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo")
CORES, MEMORY = 2, 8000
"""Of a node, in megabytes; what is there is not asked, as all nodes are one machine."""

CONF = """
ClusterName=geoseg
SlurmctldHost=head
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/tmp/munge/socket
CredType=cred/munge
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir=/tmp/slurmd
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
ReturnToService=2
SlurmdTimeout=30
KillWait=30
GresTypes=gpu
NodeName={nodes} CPUs={cores} RealMemory={memory} State=UNKNOWN
NodeName={gpu} CPUs={cores} RealMemory={memory} Gres=gpu:1 Weight=10 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_no_slurm() -> str | None:
    """Why there is no SLURM here; None where there is."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    lacking = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if lacking:
        return f"needs {', '.join(lacking)} (Debian: slurmctld, slurmd, slurm-client, munge)"
    return None


def workflow(package: Path) -> dict:
    """144 blocks in each of several stages; written as JSON, which YAML reads."""
    return {
        "geoseg": 1,
        "name": "slurm",
        "input": {"kind": "sample", "size": 768, "seed": 3, "directory": "sample"},
        "model": {"path": str(package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "output": {"directory": "out", "vector": {"min_area": "1000 m2", "simplify": "8 m"}},
        "cluster": {"workers": 2, "threads": 2, "dashboard": False},
    }


@contextmanager
def started(folder: Path, package: Path) -> Iterator[tuple["Slurm", Path, dict[str, str]]]:
    """SLURM, a folder with ``workflow.yaml``, and what a run on the login host alone makes of it."""
    (folder / "workflow.yaml").write_text(json.dumps(workflow(package)))
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # A job that is gone is sent again after that (15 s otherwise): such runs take less.
        "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s",
    }
    names = ("head", "login", *NODES)
    with network(package.parents[1], names=names, environment=environment) as hosts:
        slurm = Slurm(hosts, folder / "daemons", NODES)
        slurm.start()
        alone = slurm.run("workflow.yaml", cwd=folder)
        try:
            assert alone.end() == 0, alone
        finally:
            alone.kill("group")
        yield slurm, folder, taken_away(folder / "out")


class Slurm:
    """SLURM on hosts that are up: ``head``, nodes, and from where jobs are sent, ``login``."""

    def __init__(self, hosts: Hosts, folder: Path, nodes: list[str]):
        self.hosts, self.folder, self.nodes = hosts, folder, nodes
        folder.mkdir(exist_ok=True)
        self.conf = folder / "slurm.conf"
        plain = ",".join(name for name in nodes if name != WITH_GPU)
        self.conf.write_text(
            CONF.format(folder=folder, nodes=plain, gpu=WITH_GPU, cores=CORES, memory=MEMORY)
        )
        (folder / "gres.conf").write_text(f"NodeName={WITH_GPU} Name=gpu File=/dev/null\n")
        # No plugin above holds anything by control groups; version 1 asks for none before that.
        (folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/tmp/cgroup\nCgroupAutomount=no\n"
        )
        self.key = folder / "munge.key"
        self.key.touch(mode=0o600)
        self.key.write_bytes(secrets.token_bytes(128))
        self.env = {"SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def start(self) -> None:
        """Bring everything up, and wait until all nodes are idle."""
        for name in ("head", "login", *self.nodes):
            self._serve(name, "sh", "-c",
                        "mkdir -p -m 755 /tmp/munge && exec munged --foreground --force "
                        "--socket=/tmp/munge/socket --pid-file=/tmp/munge/pid "
                        f"--log-file=/tmp/munge/log --seed-file=/tmp/munge/seed --key-file={self.key}",
                        log="munged")  # fmt: skip
        self._serve("head", "slurmctld", "-D", "-f", self.conf, log="slurmctld")
        for name in self.nodes:
            self._serve(name, "sh", "-c", f"mkdir -p /tmp/slurmd && exec slurmd -D -f {self.conf}",
                        log="slurmd")  # fmt: skip
        until = time.monotonic() + 60
        while (found := self.ask("sinfo", "-N", "-h", "-o", "%T").split()) != ["idle"] * len(
            self.nodes
        ):
            assert time.monotonic() < until, (found, self.logs())
            time.sleep(0.5)

    def ask(self, *words: object, env=None, cwd=None) -> str:
        """What a command on the login host prints."""
        process = self.hosts.start(
            "login", *words, env=self.env | (env or {}), cwd=cwd,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return process.communicate(timeout=60)[0]

    def run(self, *words: object, cwd: Path) -> Session:
        """``geoseg run`` on the login host, from where it can send jobs."""
        through = self.hosts.through("login", cwd)
        env = self.env | self.hosts.environment
        return Session("run", *words, cwd=cwd, env=env, through=through)

    def submit(self, script: Path, *words: object, options=(), cwd: Path) -> int:
        """The number of a job."""
        env = {"GEOSEG_PYTHON": sys.executable, **self.hosts.environment}
        said = self.ask("sbatch", *options, script, *words, env=env, cwd=cwd)
        found = re.search(r"Submitted batch job (\d+)", said)
        assert found, said
        return int(found[1])

    def job(self, number: int) -> dict[str, str]:
        """What SLURM knows of a job: ``JobState``, ``ExitCode`` and others."""
        said = self.ask("scontrol", "show", "job", number)
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def wait(self, number: int, seconds: float = 600) -> dict[str, str]:
        """A job that has ended."""
        until = time.monotonic() + seconds
        while True:
            found = self.job(number)
            if found.get("JobState") not in {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}:
                return found
            assert time.monotonic() < until, (found, self.logs())
            time.sleep(0.5)

    def logs(self) -> str:
        """The last words of all daemons."""
        texts = [
            f"== {p.name}\n{p.read_text(errors='replace')[-1500:]}"
            for p in self.folder.glob("*.log")
        ]
        return "\n".join(texts)

    def _serve(self, name: str, *words: object, log: str) -> None:
        log_file = self.folder / f"{name}-{log}.log"
        self.hosts.start(name, *words, env=self.env, cwd=self.folder, service=True, log=log_file)
