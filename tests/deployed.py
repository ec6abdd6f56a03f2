"""Clusters as deploy/ starts them, on loopback: do they make the bytes of a local run?

    python tests/deployed.py slurm      # the batch script, with a stand-in for srun
    python tests/deployed.py compose    # the commands of the compose file, without containers
    python tests/deployed.py tls        # the same with compose.tls.yaml

All processes are real; SLURM and Docker are not there. Takes minutes; no part of the test suite.
"""

import filecmp
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1] / "deploy"
PRODUCTS = ("classes.tif", "confidence.tif", "polygons.gpkg", "polygons.parquet", "item.json")
WORKFLOW = """
geoseg: 1
name: small
input: {kind: sample, size: 256, seed: 7}
model: landcover-s2
tiling: {size: 256}
output: {directory: products}
"""
# Starts so many copies of the command as SLURM would start tasks.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
pids=()
for ((task = 0; task < SLURM_NTASKS; task++)); do "$@" & pids+=($!); done
trap 'kill "${pids[@]}" 2>/dev/null' TERM
wait
"""


def with_slurm(site: Path) -> None:
    """Run deploy/slurm/geoseg.sbatch as SLURM would on one node."""
    programs = site.parent / "programs"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "1",
             "SLURM_MEM_PER_CPU": "3000", "GEOSEG_PYTHON": sys.executable}  # fmt: skip
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    script = str(DEPLOY / "slurm" / "geoseg.sbatch")
    environment = os.environ | slurm | {"PATH": path}
    subprocess.run(["/bin/bash", script, "small.yaml"], cwd=site, check=True, env=environment)
    assert not list(site.glob(".geoseg-slurm-*")), "certificates were left behind"


def commands(*files: str) -> dict[str, list[str]]:
    """What each service of the compose files runs, with every variable at its default."""
    entry: dict[str, list[str]] = {}
    found: dict[str, list[str]] = {}
    for name in files:
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DEPLOY / name).read_text())
        for service, settings in YAML(typ="safe").load(text)["services"].items():
            entry[service] = settings.get("entrypoint", entry.get(service, []))
            found[service] = [*entry[service], *map(str, settings["command"])]
    return found


def with_compose(site: Path, *files: str) -> None:
    """Run scheduler, two workers and client of the compose files as processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    certificate = [shutil.which("openssl") or "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
                   "-keyout", site / "key", "-out", site / "cert"]  # fmt: skip
    subprocess.run(certificate, check=True, capture_output=True)
    shutil.copy(site / "cert", site / "ca")
    here = {"://scheduler:8786": f"://127.0.0.1:{port}", "--port=8786": f"--port={port}",
            "/run/secrets": str(site), "/workflows/quickstart.yaml": "small.yaml",
            "/products/quickstart": "products", ":8787": "127.0.0.1:0", ":8790": ":0"}  # fmt: skip

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        for other, ours in here.items():
            words = [word.replace(other, ours) for word in words]
        return subprocess.Popen(words, cwd=site)

    found = commands(*files)
    with ExitStack() as stack:
        for service in ("scheduler", "worker", "worker"):
            member = start([sys.executable, *found[service][1:]])
            stack.callback(member.wait)
            stack.callback(member.terminate)
            time.sleep(1)
        client = [sys.executable, "-m", "geoseg", *found["client"]]
        # Containers wait for healthy workers; here the client tries again.
        for _ in range(10):
            code = start(client).wait()
            if code == 0:
                return
            time.sleep(5)
        sys.exit(f"the client ended with {code}")


def main(how: str) -> None:
    """Compare what a local run and ``how`` make in the same folder: products name their inputs."""
    with tempfile.TemporaryDirectory(prefix="geoseg-deployed-") as room:
        site, local = Path(room, "site"), Path(room, "local")
        for run in ("local", how):
            site.mkdir()
            (site / "small.yaml").write_text(WORKFLOW)
            if run == "local":
                words = [sys.executable, "-m", "geoseg", "run", "small.yaml", "--quiet"]
                subprocess.run(words, cwd=site, check=True)
                site.rename(local)
            elif run == "slurm":
                with_slurm(site)
            else:
                tls = ["compose.tls.yaml"] if run == "tls" else []
                with_compose(site, "compose.yaml", *tls)
        ours, theirs = site / "products", local / "products"
        _, differ, missing = filecmp.cmpfiles(ours, theirs, PRODUCTS, shallow=False)
        if differ or missing:
            sys.exit(f"{how}: {differ or missing} are not those of a local run")
        sys.stdout.write(f"{how}: {', '.join(PRODUCTS)} are those of a local run, byte by byte\n")


if __name__ == "__main__":
    main(sys.argv[1])
