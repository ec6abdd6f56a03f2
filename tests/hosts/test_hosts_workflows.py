"""The shipped workflows, run by a client on one host with workers on three others."""

import shutil
import sys

import pytest
from clustered import Cluster, hashes
from namespaces import NAMES, ROOT, network, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.data,
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

WITHOUT_SCENES = {"hls", "planetscope", "sentinel2-l1c"}
"""They want scenes that are not at hand."""

SMALL = {
    "quickstart": ["--set", "input.size=512"],
    "base": ["--set", "input.size=512"],
}
SAMPLES = (
    ["products/sample", "--size", "512"],
    ["products/dates/june", "--size", "512", "--date", "1"],
    ["products/dates/september", "--size", "512", "--date", "2"],
)
WORKFLOWS = sorted({path.stem for path in (ROOT / "workflows").glob("*.yaml")} - WITHOUT_SCENES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("workflows")
    shared = folder / "shared"
    shared.mkdir()
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "GEOSEG_DATA": str(data_dir.parent),
        "GEOSEG_CACHE": str(shared / "cache"),
    }
    with network(shared, names=NAMES, environment=environment) as hosts:
        cluster = Cluster(hosts, shared)
        cluster.start("worker1", "worker2", "worker3")
        yield cluster


def made(cluster, name, *, local):
    """What a run makes of a folder that has nothing but samples."""
    products = cluster.folder / "products"
    for options in SAMPLES:
        words = ["sample", *options, "-q"]
        python = [sys.executable, "-m", "geoseg", *words]
        assert cluster.hosts.start("client", *python, cwd=cluster.folder).wait() == 0
    file = ROOT / "workflows" / f"{name}.yaml"
    session = cluster.run(file, *SMALL.get(name, ()), local=local)
    try:
        code = session.end(1500)
    finally:
        session.kill("group")
    found = hashes(products)
    shutil.rmtree(products)
    return code, found, session


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_shipped_workflow_makes_the_bytes_of_one_host(cluster, name):
    code, wanted, _ = made(cluster, name, local=True)
    before = cluster.seen(at_least=3)
    again, found, session = made(cluster, name, local=False)
    after = cluster.seen(at_least=3)
    assert again == code, session
    assert code == 0, session
    differ = {path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)}
    assert not differ
    assert sum(after.values()) > sum(before.values())
    done = {name: after[name] - before[name] for name in after}
    print(f"\n{name}: {len(found)} files; tasks of each host", done)  # noqa: T201 (shown with -s)
