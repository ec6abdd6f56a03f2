"""Clusters of each kind that can run here: jobs of a batch system, one worker a GPU, as many as needed."""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from geoseg.errors import ClusterError
from geoseg.grid import Window
from geoseg.run.base import Done
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.clusters import scaling
from geoseg.run.clusters.base import BatchJobs, Elastic, GpuWorkers
from geoseg.run.on_dask import OnDask
from geoseg.run.placing import offered

pytestmark = pytest.mark.cluster

BLOCKS = [Window(i, 0, i + 1, 1) for i in range(24)]

SBATCH = """\
#!/bin/sh
# Stands in for SLURM's: the job runs at once, here.
cp "$1" "{folder}/script-$$"
setsid sh "{folder}/script-$$" > "{folder}/log-$$" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nkill -TERM -- "-$1"\n'
REFUSES = "#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpus' >&2; exit 1\n"


@dataclass(frozen=True)
class Where:
    """A job whose reports say which process did them, and what it was started with."""

    key: str
    seconds: float = 0.0
    device: str = "cpu"
    log: str = ""

    def open(self):
        return self

    def __call__(self, block):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{block.y0}\n")
        time.sleep(self.seconds)
        return {
            "pid": os.getpid(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "cache": os.environ.get("GDAL_CACHEMAX"),
        }

    def close(self):
        pass


def reports(connected, job, blocks=BLOCKS):
    executor = OnDask(connected.client, gpus=connected.gpus)
    outcomes = list(executor.run(job, blocks))
    assert len(outcomes) == len(blocks)
    assert all(isinstance(o, Done) for o in outcomes), outcomes
    return [o.report for o in outcomes]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of a batch system that has a node free."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def program(name, text):
        path = programs / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    program("sbatch", SBATCH.format(folder=tmp_path))
    program("scancel", SCANCEL)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    here = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    monkeypatch.setenv("PYTHONPATH", here)  # jobs import this file
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return program


def spec(**changes):
    given = {
        "kind": "slurm",
        "memory": 2**30,
        "threads": 2,
        "dashboard": False,
        "timeout": 90.0,
        "jobs": BatchJobs(interface="lo", prologue=("export GDAL_CACHEMAX=77",)),
    }
    return ClusterSpec(**(given | changes))


def test_jobs_of_a_batch_system_in_two_pools(slurm, tmp_path):
    gpu = GpuWorkers(workers=1, cores=4, memory=2**30, queue="gpus")
    with connect(spec(workers=1, gpu=gpu)) as connected:
        connected.client.wait_for_workers(2, timeout=90)
        assert connected.client.scheduler.address.startswith("tls://"), "strangers are not let in"
        on_gpu = {r["pid"] for r in reports(connected, Where("segment", 0.02, "auto"))}
        plain = {r["pid"] for r in reports(connected, Where("trace", 0.2), BLOCKS[:2])}
        assert len(on_gpu) == len(plain) == 1
        assert on_gpu != plain
        told = reports(connected, Where("told"), BLOCKS[:1])
        assert told[0]["cache"] == "77", "the prologue runs, and what is set on purpose stays"
        workers = offered(connected.client).values()
        assert sorted(w.resources.get("GPU", 0) for w in workers) == [0, 1]
        assert list(Path.cwd().iterdir()), "certificates lie in a folder that nodes see"
    scripts = sorted(file.read_text() for file in tmp_path.glob("script-*"))
    assert sum("--gres=gpu:1" in text and "-p gpus" in text for text in scripts) == 1
    assert not list(Path.cwd().iterdir()), "nothing is left"


def test_a_job_that_is_refused_is_one_line(slurm):
    slurm("sbatch", REFUSES)
    with (
        pytest.raises(ClusterError, match="a job was refused: sbatch: error: invalid partition"),
        connect(spec(workers=1)),
    ):
        pass
    assert not list(Path.cwd().iterdir())


def test_no_batch_system_here(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="needs 'sbatch', which is not found"), connect(spec()):
        pass


def test_one_worker_a_gpu_and_others_that_see_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,3")
    cuda = ClusterSpec(kind="cuda", cpu_workers=1, threads=2, dashboard=False)
    with connect(cuda) as connected:
        assert (connected.workers, connected.threads, connected.gpus) == (3, 6, True)
        seen = {r["gpu"] for r in reports(connected, Where("segment", 0.05, "auto"))}
        assert seen == {"GPU-a", "3"}
        assert {r["gpu"] for r in reports(connected, Where("trace", 0.2), BLOCKS[:2])} == {""}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,3"


def test_no_gpu_here(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with (
        pytest.raises(ClusterError, match="kind 'cuda' needs an NVIDIA GPU"),
        connect(ClusterSpec(kind="cuda")),
    ):
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with (
        pytest.raises(ClusterError, match=r"workers: found 2, .* 1 are seen"),
        connect(ClusterSpec(kind="cuda", workers=2)),
    ):
        pass


def test_workers_come_when_there_is_work_and_none_goes_that_has_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "INTERVAL", "100ms")
    elastic = ClusterSpec(elastic=Elastic(1, 2), threads=1, dashboard=False)
    with connect(elastic) as connected:
        assert connected.workers == 1
        assert len({r["pid"] for r in reports(connected, Where("many", 0.25))}) == 2
        log = tmp_path / "log"
        job = Where("long", 3.0, log=str(log))
        reports(connected, job, BLOCKS[:1])
        assert log.read_text() == "0\n", "it was not begun again elsewhere"
        assert len(offered(connected.client)) == 1, "who had nothing to do went"
