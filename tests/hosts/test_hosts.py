"""A run over several hosts, one of which loses its power: the bytes are those of one host alone."""

import json

import pytest
from clustered import Cluster, Moment, hashes, local_here, strays
from namespaces import ROOT, network, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11 seconds"}
"""The least: a host without power is noticed sooner than by the 30 s of others."""


@pytest.fixture(scope="module")
def site(tmp_path_factory, chaos_package):
    """Four hosts, a workflow with every stage, and the products of a run in this process."""
    folder = tmp_path_factory.mktemp("hosts")
    workflow = {
        "geoseg": 1,
        "name": "hosts",
        "input": {"kind": "sample", "size": [190, 250], "seed": 3, "directory": "sample"},
        "model": {"path": str(chaos_package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "postprocess": [{"step": "majority", "size": 3}],
        "output": {"directory": "out", "vector": {"min_area": "1000 m2", "simplify": "8 m"}},
    }
    (folder / "workflow.yaml").write_text(json.dumps(workflow))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **QUICK}
    names = ("scheduler", "worker1", "worker2", "client")
    with network(chaos_package.parents[1], names=names, environment=environment) as hosts:
        cluster = Cluster(hosts, folder)
        cluster.start("worker1", "worker2")
        yield cluster, local_here(folder, "workflow.yaml", folder / "out")


def test_a_host_loses_its_power_and_others_go_on(site):
    cluster, wanted = site
    said = cluster.hosts.switch.words
    said[b"do_block"] = 0
    cluster.wait_for(2)
    session = cluster.run(cluster.folder / "workflow.yaml")
    try:
        assert session.wait_for(Moment("segment", 1)), session
        cluster.hosts.restart("worker1")
        assert session.end() == 0, session
    finally:
        session.kill("group")
    out = cluster.folder / "out"
    assert hashes(out) == wanted
    assert not strays(out)
    assert said[b"do_block"], "blocks were done over the network"
    gone = [text for text in session.told.messages if "is gone" in text]
    assert [text for text in gone if cluster.hosts.address("worker1") in text], gone
