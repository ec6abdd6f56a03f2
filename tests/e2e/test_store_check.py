"""What doctor says of a store: one that does all, one that is deaf to conditions, none at all."""

import json

import pytest
import s3_server
from small_runs import workflow

from geoseg.api.checking import needs_of
from geoseg.api.planning import plan_workflow
from geoseg.api.store_check import examine_store, places_of
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import forget_client
from geoseg.run import store_lock
from geoseg.run.clusters.probe import Needs, _look
from geoseg.run.store_lock import hold_output
from geoseg.workflow.loading import load


@pytest.fixture(scope="module", params=s3_server.KINDS)
def store(tmp_path_factory, request):
    running = s3_server.start(tmp_path_factory.mktemp("store"), request.param)
    yield running
    running.end()


@pytest.fixture
def keys(store, tmp_path, monkeypatch):
    found(store, tmp_path, monkeypatch)
    yield
    store.disturb()
    forget_client()


def found(store, tmp_path, monkeypatch):
    for name in ("AWS_PROFILE", "AWS_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    forget_client()


def test_a_store_that_does_all(store, keys):
    findings = examine_store("s3://maps/some/folder")
    assert len(findings) == 7
    assert all(one.ok for one in findings if one.needed), findings
    assert not store.keys()
    assert not store.client().list_multipart_uploads(Bucket="maps").get("Uploads")


def test_a_store_that_ignores_conditions(store, keys, capsys):
    if store.behind is not None:
        pytest.skip("what was signed cannot be taken out on the way")
    store.disturb(deaf=True)
    assert run(["doctor", "--store", "s3://maps/deaf", "--json"]) == 2
    told = {one["what"].partition(": ")[2]: one for one in json.loads(capsys.readouterr().out)}
    assert not told["refuses on conditions"]["ok"]
    assert "is replaced in spite of If-None-Match" in told["refuses on conditions"]["found"]
    assert "by 8 of 8 writers" in told["one of 8 writers at once"]["found"]
    assert told["sees what was written last"]["ok"]
    assert told["uploads in parts"]["ok"]
    assert not store.keys()


def test_a_place_that_cannot_be_reached(store, keys):
    (only,) = examine_store("s3://nobody-has-this/a")
    assert not only.ok
    assert "there is no such bucket" in only.found


def test_the_places_of_a_workflow(tmp_path):
    wanted = {"output": {"directory": "s3://maps/a/{scene}"}, "run": {"work": "s3://maps/w"}}
    path = workflow(tmp_path, tmp_path / "no-model", **wanted)
    assert [str(place) for place in places_of(path)] == ["s3://maps/a", "s3://maps/w"]
    with pytest.raises(InputError, match=r"neither output.directory nor run.work"):
        examine_store(str(workflow(tmp_path, tmp_path / "no-model")))


def test_workers_are_asked_whether_they_reach_it(store, keys, tmp_path, chaos_package):
    path = workflow(tmp_path, chaos_package, output={"directory": "s3://maps/asked/{scene}"})
    needs = needs_of(plan_workflow(load(path)))
    (place,) = needs.folders  # and no folder of the client, which stands for it
    assert place.startswith("s3://maps/asked/")
    assert _look(needs, "tcp://a")[1:] == ((), ())
    assert not store.keys("asked")
    if store.behind is not None:
        return  # SeaweedFS makes a bucket for whoever may write to it
    (why,) = _look(Needs(folders=("s3://nobody-has-this/a",)), "tcp://a")[1]
    assert why.startswith("s3://nobody-has-this/a (s3://nobody-has-this/a/.geoseg-probe-0-")
    assert "there is no such bucket" in why


@pytest.mark.long
def test_rclone_is_refused(tmp_path, monkeypatch):
    """A server that people use, and that writes whatever the condition was."""
    running = s3_server.start(tmp_path, "rclone")
    try:
        found(running, tmp_path, monkeypatch)
        monkeypatch.setattr(store_lock, "_sound", set())
        bad = [one.what for one in examine_store("s3://maps/a") if not one.ok]
        assert len(bad) == 2, bad
        with (
            pytest.raises(InputError, match="ignores conditions of writes"),
            hold_output(BucketPath.of("s3://maps/a")),
        ):
            pass
        assert not running.keys()
    finally:
        running.end()
        forget_client()
