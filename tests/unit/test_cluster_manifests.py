"""What batch systems, Kubernetes and gateways are told: text and objects, without any of them."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob

from geoseg.api.clusters import resources_of, spec_of
from geoseg.errors import ClusterError
from geoseg.run.cluster import connect
from geoseg.run.clusters.base import ClusterSpec, optional
from geoseg.run.clusters.jobqueue import job_options, last_words
from geoseg.run.clusters.kubernetes import cluster_manifest, worker_manifest
from geoseg.run.resources import visible_gpus
from geoseg.workflow.cluster import Cluster, expand_cluster

HPC = """queue: long, account: forest, walltime: 36 h, interface: ib0, python: /opt/g s/python,
    scratch: /scratch, cores: 4, memory: 4 GB, workers: 8, prologue: [module load gdal],
    directives: ["--constraint=amd"], gpu: {workers: 2, memory: 16 GB, queue: gpus}"""
PODS = """image: "r/geoseg:1", namespace: maps, cores: 2, memory: 4 GB, workers: 3,
    environment: {GEOSEG_MODELS: /models}, volumes: {/data: scenes},
    gpu: {workers: 2, memory: 16 GB, image: "r/geoseg-cuda:1"}"""


def spec(kind: str, keys: str) -> ClusterSpec:
    from ruamel.yaml import YAML

    read = YAML(typ="safe").load(f"{{kind: {kind}, {keys}}}")
    cluster = Cluster.model_validate(expand_cluster(read))
    return spec_of(cluster, resources_of(cluster))


def test_a_job_of_slurm(tmp_path):
    options = job_options(spec("slurm", HPC), tmp_path)
    script = SLURMJob("tls://10.0.0.5:8786", "geoseg-0", **options).job_script()
    for line in (
        "#SBATCH -p long",
        "#SBATCH -A forest",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=4327M",
        "#SBATCH -t 36:00:00",
        "#SBATCH --constraint=amd",
        "module load gdal",
    ):
        assert line in script.splitlines()
    (command,) = [line for line in script.splitlines() if "member worker" in line]
    assert command.startswith("'/opt/g s/python' -m geoseg.run.member worker tls://10.0.0.5:8786 ")
    for words in ("--nthreads 3", "--memory-limit 3.73GiB", "--local-directory /scratch",
                  "--interface ib0", "--death-timeout 300"):  # fmt: skip
        assert words in command
    assert "GPU" not in script


def test_a_job_with_a_gpu(tmp_path):
    asked = spec("slurm", HPC)
    script = SLURMJob("tls://h:1", "g", **job_options(asked, tmp_path, asked.gpu)).job_script()
    assert {"#SBATCH -p gpus", "#SBATCH --gres=gpu:1", "#SBATCH --constraint=amd"} <= set(
        script.splitlines()
    )
    assert "--resources GPU=1" in script


def test_a_job_of_pbs(tmp_path):
    asked = spec("pbs", HPC)
    script = PBSJob("tls://h:1", "g", **job_options(asked, tmp_path)).job_script()
    assert {
        "#PBS -q long",
        "#PBS -A forest",
        "#PBS -l select=1:ncpus=4:mem=4327MB",
        "#PBS -l walltime=36:00:00",
        "#PBS --constraint=amd",
    } <= set(script.splitlines())
    script = PBSJob("tls://h:1", "g", **job_options(asked, tmp_path, asked.gpu)).job_script()
    assert "#PBS -l select=1:ncpus=8:mem=15771MB:ngpus=1" in script.splitlines()


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize(("kind", "job"), [("slurm", SLURMJob), ("pbs", PBSJob)])
def test_a_job_does_what_it_is_told(kind, job, gpu, tmp_path):
    """Its script, run by bash with a program in the place of Python that says what it was given."""
    python = tmp_path / "g s" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$LOADED"; for word; do echo "$word"; done\n')
    python.chmod(0o755)
    keys = HPC.replace("/opt/g s/python", str(python)).replace(
        "module load gdal", "export LOADED=1"
    )
    asked = spec(kind, keys)
    script = job("tls://h:1", "n", **job_options(asked, tmp_path, asked.gpu if gpu else None))
    subprocess.run(["/bin/bash", "-n"], input=script.job_script(), text=True, check=True)
    done = subprocess.run(
        ["/bin/bash"], input=script.job_script(), capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert said[:5] == ["1", "-m", "geoseg.run.member", "worker", "tls://h:1"]
    given = dict(pairwise(said[5:]))
    assert {
        "--nthreads": "3",
        "--name": "n",
        "--local-directory": "/scratch",
    }.items() <= given.items()
    assert given["--memory-limit"] == ("14.90GiB" if gpu else "3.73GiB")
    assert given.get("--resources") == ("GPU=1" if gpu else None)
    assert done.stderr == ""


def test_a_job_whose_prologue_fails_is_over(tmp_path):
    """Rather than to compute with another environment than was asked for."""
    asked = spec("pbs", HPC.replace("module load gdal", "'false'"))
    script = PBSJob("tls://h:1", "n", **job_options(asked, tmp_path)).job_script()
    assert subprocess.run(["/bin/bash"], input=script, text=True, check=False).returncode == 1


IMPORTED = """
import signal, sys, threading
from geoseg.run.clusters.jobqueue import jobqueue
found = []
thread = threading.Thread(target=lambda: found.append(jobqueue("slurm").SLURMCluster))
thread.start(), thread.join()
assert found, "runs connect in a thread of their own"
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.signal(signal.SIGINT, print) is signal.default_int_handler, "and all is as before"
for name in [name for name in sys.modules if name.startswith("dask_jobqueue")]:
    del sys.modules[name]
jobqueue("pbs")
assert signal.getsignal(signal.SIGINT) is print, "Ctrl-C stays ours"
"""


def test_dask_jobqueue_is_imported_by_any_thread_and_takes_no_signal():
    subprocess.run([sys.executable, "-c", IMPORTED], check=True)


def test_a_folder_that_scripts_cannot_name():
    with pytest.raises(ClusterError, match="without spaces"):
        job_options(spec("slurm", HPC), Path("/home/my maps/.geoseg-jobs-1"))


def test_what_jobs_said(tmp_path):
    assert "waiting in the queue" in last_words(tmp_path)
    (tmp_path / "geoseg-7.err").write_text("a\nModuleNotFoundError: no geoseg\n\n")
    assert last_words(tmp_path) == "a job said: ModuleNotFoundError: no geoseg"


def test_pods():
    made = cluster_manifest(spec("kubernetes", PODS), "geoseg-1")
    assert (made["kind"], made["metadata"]) == ("DaskCluster", {"name": "geoseg-1"})
    assert made["spec"]["worker"]["replicas"] == 3
    scheduler = made["spec"]["scheduler"]["spec"]["containers"][0]
    assert scheduler["command"] == ["python", "-m", "geoseg.run.member", "scheduler"]
    pod = made["spec"]["worker"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "r/geoseg:1"
    assert container["env"] == [{"name": "GEOSEG_MODELS", "value": "/models"}]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4327Mi"}
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"][:-1]}
    mounts = {m["mountPath"]: claims.get(m["name"]) for m in container["volumeMounts"]}
    assert mounts == {"/data": "scenes", container["volumeMounts"][-1]["mountPath"]: None}
    assert "GPU=1" not in container["args"]


def test_pods_with_gpus():
    group = worker_manifest(spec("kubernetes", PODS), gpu=True)
    (container,) = group["spec"]["containers"]
    assert (group["replicas"], container["image"]) == (2, "r/geoseg-cuda:1")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["args"][-2:] == ["--resources", "GPU=1"]
    assert group["spec"]["tolerations"]


def test_a_package_that_lacks_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dask_kubernetes", None)
    with pytest.raises(ClusterError, match=r"needs dask-kubernetes.*pip install 'geoseg\[kube"):
        optional("dask_kubernetes.operator", "kubernetes")


def test_no_gateway_answers():
    asked = Cluster.model_validate(expand_cluster("http://127.0.0.1:9"))
    with (
        pytest.raises(ClusterError, match=r"the gateway at http://127\.0\.0\.1:9 gives no cluster"),
        connect(spec_of(asked, resources_of(asked))),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "seen"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("2,-1,3", ("2",)), (" GPU-a , 1", ("GPU-a", "1"))],
)
def test_gpus_that_are_seen(given, seen, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == seen
