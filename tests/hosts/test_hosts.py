"""A run over several hosts, one of which loses its power: the bytes are those of one host alone."""

import json
import os

import pytest
from clustered import Cluster, Moment, hashes, local_run, strays
from namespaces import ROOT, network, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """Three hosts, a workflow with every stage, and the products of a run on one host."""
    folder = tmp_path_factory.mktemp("hosts")
    workflow = {
        "geoseg": 1,
        "name": "hosts",
        "input": {"kind": "sample", "size": [190, 250], "seed": 3, "directory": "sample"},
        "model": {"path": str(chaos_package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "postprocess": [{"step": "majority", "size": 3}],
        "output": {"directory": "out", "vector": {"min_area": "1000 m2", "simplify": "8 m"}},
        "cluster": {"workers": 1, "threads": 2, "dashboard": False},
    }
    (folder / "workflow.yaml").write_text(json.dumps(workflow))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    shared = chaos_package.parents[1]
    assert shared in folder.parents
    with network(shared, names=("scheduler", "worker1", "worker2", "client"), environment=environment) as hosts:
        cluster = Cluster(hosts, folder)
        cluster.start("worker1", "worker2")
        yield cluster, local_run(cluster, folder / "workflow.yaml", folder / "out")


def test_a_host_loses_its_power_and_others_go_on(site):
    cluster, wanted = site
    assert set(cluster.seen(at_least=2)) == {"worker1", "worker2"}
    said = cluster.hosts.switch.words
    said[b"do_block"] = 0
    session = cluster.run(cluster.folder / "workflow.yaml")
    assert session.wait_for(Moment("segment", 1)), session
    cluster.hosts.restart("worker1")
    assert session.end() == 0, session
    out = cluster.folder / "out"
    assert hashes(out) == wanted
    assert not strays(out)
    assert said[b"do_block"], "blocks were done over the network"
    assert cluster.seen(at_least=2)["worker2"] > 0
