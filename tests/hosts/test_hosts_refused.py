"""A host that sees other files than the client: a run is refused, or goes on without that host."""

import json
import re
import shutil
import time

import pytest
from clustered import Cluster, Moment, hashes
from namespaces import ROOT, network, why_not

import geoseg

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

SEEN = {
    "no scene": "does not see",
    "another scene": "sees another",
    "other weights": "sees other weights",
    "no right to write": "cannot write to",
    "another folder": "writes to another|does not see the folder",
    "another version": "run geoseg 0.0.9 on Python",
}

REQUESTS = (
    ["--force"],
    ["--set", 'postprocess=[{"step": "majority", "size": 3}]'],
    ["--set", "output.directory=out/new/place"],
)
"""What is there made again, made anew, and made where nothing is yet."""


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """A good worker, a host for another one, and products of a run on the client's host."""
    folder = tmp_path_factory.mktemp("refused")
    package = shutil.copytree(chaos_package, folder / "model")
    workflow = {
        "geoseg": 1,
        "name": "refused",
        "input": {"kind": "sample", "size": 576, "seed": 3, "directory": "sample"},
        "model": {"path": str(package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "output": {"directory": "out", "vector": {"min_area": "1000 m2"}},
        "cluster": {"workers": 1, "threads": 2, "dashboard": False},
    }
    file = folder / "workflow.yaml"
    file.write_text(json.dumps(workflow))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    names = ("scheduler", "worker1", "worker2", "client")
    with network(chaos_package.parents[1], names=names, environment=environment) as hosts:
        cluster = Cluster(hosts, folder)
        assert ended(cluster.run(file, local=True)) == 0
        cluster.start("worker1")
        yield cluster, file


def ended(session, seconds=120):
    try:
        return session.end(seconds)
    finally:
        session.kill("group")


def mount(cluster, *words):
    """Something that the second host sees otherwise than all others."""
    assert cluster.hosts.start("worker2", "mount", *words).wait() == 0


def disturb(cluster, how):
    """Make the second host another one; what its worker's environment is then."""
    folder, other = cluster.folder, cluster.folder / "other"
    other.mkdir(exist_ok=True)
    if how == "no scene":
        mount(cluster, "-t", "tmpfs", "tmpfs", folder / "sample")
    elif how == "another scene":
        (other / "scene.tif").write_bytes(b"II*\0")
        mount(cluster, "--bind", other / "scene.tif", folder / "sample" / "scene.tif")
    elif how == "other weights":
        weights = folder / "model" / "weights.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1  # as large as before, and read by whoever does not look twice
        (other / weights.name).write_bytes(content)
        mount(cluster, "--bind", other / weights.name, weights)
    elif how == "no right to write":
        mount(cluster, "--bind", folder, folder)
        mount(cluster, "-o", "remount,bind,ro", folder)
    elif how == "another folder":
        mount(cluster, "-t", "tmpfs", "tmpfs", folder / "out")
    else:
        package = ROOT / "geoseg"
        text = (package / "__init__.py").read_text().replace(geoseg.__version__, "0.0.9")
        (other / "geoseg").mkdir()
        (other / "geoseg" / "__init__.py").write_text(f"{text}\n__path__ = [{str(package)!r}]\n")
        return {"PYTHONPATH": f"{other}:{ROOT}"}
    return {}


@pytest.fixture
def disturbed(site, request):
    """A host that is not as the others are, and what starts a worker there; it is new afterwards."""
    cluster, file = site
    environment = disturb(cluster, request.param)

    def begin():
        cluster.hosts.start("worker2", *cluster._worker, cwd=cluster.folder, env=environment)
        cluster.seen(at_least=2)

    yield cluster, file, begin, SEEN[request.param]
    cluster.hosts.restart("worker2")
    shutil.rmtree(cluster.folder / "other")
    while len(cluster.seen()) > 1:
        time.sleep(0.5)


def everything(folder):
    return {
        path: path.is_file() and (path.lstat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if ".geoseg" not in path.parts and path.suffix != ".log"  # where runs and hosts note things
    }


@pytest.mark.parametrize("disturbed", SEEN, indirect=True)
def test_nothing_is_written(disturbed):
    cluster, file, begin, seen = disturbed
    begin()
    before = everything(cluster.folder)
    for words in REQUESTS:
        session = cluster.run(file, *words)
        assert ended(session) == 2, session
        said = [line for line in session.other if "error" in line]
        assert len(said) == 1, session
        assert re.search(seen, said[0]), session
        assert everything(cluster.folder) == before, words
        work = {path.name for path in (cluster.folder / "out" / ".geoseg").iterdir()}
        assert work <= {"log", "ledger.sqlite", "status.json"}, "no blocks"


LATE = ("another scene", "another folder", "another version")


@pytest.mark.parametrize("disturbed", LATE, indirect=True)
def test_who_comes_later_does_no_block(disturbed):
    cluster, file, begin, _ = disturbed
    out = cluster.folder / "out"
    wanted = hashes(out)
    session = cluster.run(file, "--force")
    try:
        assert session.wait_for(Moment("segment", 1)), session
        begin()
        assert not session.ended, "it came too late"
    finally:
        code = ended(session, 300)
    assert code == 0, session
    assert hashes(out) == wanted
    (told,) = [text for text in session.told.messages if "does none of these blocks" in text]
    other = cluster.hosts.address("worker2")
    assert f"worker tcp://{other}:" in told
    lines = (out / ".geoseg" / "log" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    blocks = [e for e in events if e["event"] == "block" and e["run"] == events[-1]["run"]]
    assert blocks
    assert not [one for one in blocks if other in str(one["worker"])]
