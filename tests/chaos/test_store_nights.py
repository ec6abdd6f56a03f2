"""Nights whose products, and all that is made of them, are in a store: as in folders, never mixed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import s3_server
from interrupting import Case, CutOff, Heard

from geoseg.api.crew import Crew
from geoseg.api.diary import ledger_of
from geoseg.api.pipeline import run_plan
from geoseg.api.planning import plan_workflow
from geoseg.errors import GeosegError, InputError, LockedError
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import forget_client
from geoseg.run.ledger_segments import _known
from geoseg.run.store_lock import StoreLock
from geoseg.workflow.loading import from_data

WHOLE = pytest.mark.long
"""Of tests that need whole nights."""
DAYS = ("2024-06-01", "2024-06-13", "2024-07-25")
TELLS = {"run.json", "report.html", "history.html"}
"""What says how long it took, and where."""
CHANGE = "maps/change/2024-06-01_2024-06-13"
NAMES = {"project.qgz", "item.json", "collection.json", "latest.json", "scenes.qgz"}
"""What names scenes, which lie beside a folder and not beside a bucket, or is made of that."""


@pytest.fixture(scope="module", params=s3_server.KINDS)
def store(tmp_path_factory, request):
    running = s3_server.start(tmp_path_factory.mktemp("store"), request.param)
    yield running
    running.end()


@pytest.fixture(scope="module")
def become(store, tmp_path_factory):
    """Call it to be another machine, as far as its files tell."""
    patch = pytest.MonkeyPatch()
    for name in ("AWS_PROFILE", "AWS_S3_ENDPOINT"):
        patch.delenv(name, raising=False)
    for name, value in store.env.items():
        patch.setenv(name, value)

    def other():
        forget_client()
        _known.clear()
        patch.setenv("GEOSEG_CACHE", str(tmp_path_factory.mktemp("host")))

    other()
    yield other
    patch.undo()
    forget_client()


@pytest.fixture(scope="module")
def season(store, tmp_path_factory, chaos_package):
    """Scenes that come one after the other, and what nights make of them."""
    case = Case(tmp_path_factory.mktemp("season"), chaos_package)
    case.scene.unlink()
    return Season(case)


class Season:
    def __init__(self, case):
        self.case, self.folder = case, case.folder / "scenes"
        self.folder.mkdir()

    def comes(self, day):
        file = self.folder / f"S2_{day.replace('-', '')}.tif"
        if not file.exists():
            self.case.write_scene(seed=DAYS.index(day), path=file)

    def data(self, above, **more):
        sections = {
            "input": self.case.data["input"] | {"path": f"{self.folder}/*.tif"},
            "output": self.case.data["output"] | {"directory": f"{above}/maps/{{scene}}"},
            "monitor": True,
            "change": {"before": DAYS[0], "after": DAYS[1]},
            "alerts": {"store": f"{above}/alerts.zarr", "forest": "Trees",
                       "output": f"{above}/alerts", "rule": {"k": 1, "n": 1}, "seen_forest": 0},
            "water": {"directory": f"{above}/water", "find_lakes": False},
            "land_use": {"directory": f"{above}/land", "by": "month"},
        }  # fmt: skip
        return self.case.data | sections | more

    def night(self, above, executor=None, **more):
        """What was said, and the result."""
        heard, before = Heard(), Crew.executor
        Crew.executor = lambda *_, **__: executor or CutOff()
        try:
            result = run_plan(plan_workflow(from_data(self.data(above, **more))), heard)
        finally:
            Crew.executor = before
        assert not result.failed, heard.text
        return SimpleNamespace(said=heard.text, result=result)


@pytest.fixture(scope="module")
def nights(store, become, season, tmp_path_factory):
    """The same two nights in folders, and in a store from two machines."""
    folder = tmp_path_factory.mktemp("nights")
    for day in DAYS[:2]:
        season.comes(day)
    season.night(folder)
    first = season.night("s3://maps/n")
    collection = json.loads(BucketPath.of("s3://maps/n/maps/collection.json").read_bytes())
    season.comes(DAYS[2])
    season.night(folder)
    become()
    second = season.night("s3://maps/n")
    fetched = tmp_path_factory.mktemp("fetched")
    store.fetch("n", fetched)
    return SimpleNamespace(
        folder=folder, fetched=fetched, first=first, second=second, collection=collection
    )


def bytes_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".geoseg" not in p.parts and p.name not in TELLS
    }


@WHOLE
def test_all_of_it_is_as_in_folders(nights):
    here, there = bytes_of(nights.folder), bytes_of(nights.fetched)
    # One project of all scenes reads all of them: it is made in folders only.
    assert here.keys() - there.keys() <= {"maps/project.qgz"}
    assert not there.keys() - here.keys()
    different = {name for name in there if there[name] != here[name]}
    # What says of a change where it comes from, says where the maps lie.
    different = {name for name in different if not name.startswith(CHANGE)}
    assert {name.rpartition("/")[2] for name in different} <= NAMES, different
    assert here[f"{CHANGE}/transitions.csv"] == there[f"{CHANGE}/transitions.csv"]
    with (
        rasterio.open(nights.folder / CHANGE / "change.tif") as one,
        rasterio.open(nights.fetched / CHANGE / "change.tif") as two,
    ):
        assert one.read(1).any()
        np.testing.assert_array_equal(one.read(1), two.read(1))
    assert "maps/S2_20240725/classes.tif" in there
    for part in ("alerts/state.tif", "water/occurrence.tif", "land/2024-06/classes.tif"):
        assert part in there


@WHOLE
def test_links_lead_to_what_is_there(nights):
    items = [
        p for p in nights.fetched.rglob("*.json") if p.name in {"item.json", "collection.json"}
    ]
    assert len(items) >= 8
    for path in items:
        told = json.loads(path.read_text())
        hrefs = [link["href"] for link in told["links"] if link["rel"] != "derived_from"]
        hrefs += [asset["href"] for asset in told.get("assets", {}).values()]
        for href in hrefs:
            assert (path.parent / href).exists(), (path, href)
    change = nights.fetched / CHANGE
    sources = [link["href"] for link in json.loads((change / "item.json").read_text())["links"]
               if link["rel"] == "derived_from"]  # fmt: skip
    assert sources
    assert all((change / href).exists() for href in sources)
    inputs = json.loads((change / "run.json").read_text())["inputs"]
    assert {one["href"].partition("/S2")[0] for one in inputs} == {"s3://maps/n/maps"}


@WHOLE
def test_the_second_night_goes_on_from_another_machine(nights, become):
    assert nights.second.said.count("up to date") == 3  # two scenes, and the change between them
    assert [scene.fresh for scene in nights.second.result.scenes] == [False, False, True]
    links = [one for one in nights.collection["links"] if one["rel"] == "item"]
    assert len(links) == 2
    latest = json.loads((nights.fetched / "maps/latest.json").read_text())
    assert latest["date"] == DAYS[2]
    assert latest["scenes"][0]["item"] == "S2_20240725/item.json"
    alerts = json.loads((nights.fetched / "alerts.zarr/alerts.json").read_text())
    assert [scene["date"] for scene in alerts["scenes"]] == list(DAYS)


@WHOLE
def test_what_was_done_is_known_everywhere(nights, become, season):
    become()
    with ledger_of(from_data(season.data("s3://maps/n"))) as ledger:
        assert [run.state for run in ledger.runs()] == ["good", "good"]
        assert len(ledger.works("scene")) == 3


@WHOLE
def test_nothing_stays_behind(nights, become, store, season):
    assert not [key for key in store.keys("n") if key.endswith(("/lock", "/maker"))]
    begun = len(store.requests())
    said = season.night("s3://maps/n").said
    assert said.count("up to date") == 4
    written = {path for method, path, _ in store.requests()[begun:] if method == "PUT"}
    # Water and land use are made anew each time, as they are in folders.
    assert not [path for path in written if "classes.tif" in path and "/land/" not in path]


@WHOLE
def test_another_night_at_once_is_refused(nights, become, season):
    lock = StoreLock(BucketPath.of("s3://maps/n/maps"))
    lock.acquire()
    try:
        with pytest.raises(LockedError, match=r"^s3://maps/n/maps: process \d+ on .* holds"):
            season.night("s3://maps/n")
    finally:
        lock.release()


@WHOLE
def test_states_of_two_updates_are_never_mixed(nights, become, season, store):
    """A store of alerts that somebody wrote while we held what we took for ours."""
    head = BucketPath.of("s3://maps/n/alerts.zarr/alerts.json")
    before, keys = head.read_bytes(), store.keys("n/alerts.zarr")

    from geoseg.api import alerts

    def update():
        with alerts._store_here(season.data("s3://maps/n")["alerts"]["store"]) as folder:
            told = json.loads(before)
            head.write_bytes(json.dumps(told | {"scenes": told["scenes"][:1]}).encode())
            (folder / "alerts.json").write_text("{}")

    with pytest.raises(LockedError, match="another run has written it"):
        update()
    assert json.loads(head.read_bytes()) != {}
    head.write_bytes(before)
    assert store.keys("n/alerts.zarr") == keys


@WHOLE
def test_a_section_that_breaks_off_leaves_no_half(nights, become, season, store):
    store.disturb(status=403, methods=["PUT"], match="water/.*tif", times=1000)
    try:
        with pytest.raises(GeosegError, match="water"):
            season.night("s3://maps/n")
    finally:
        store.disturb()
    assert "n/water/item.json" not in store.keys("n/water")
    season.night("s3://maps/n")
    assert "n/water/item.json" in store.keys("n/water")


def test_notes_of_two_nights_are_never_mixed(become, season):
    workflow = from_data(season.data("s3://maps/mixed"))
    with ledger_of(workflow) as one, ledger_of(workflow) as two:
        one.begin()
        two.begin()
        two.tell("failure", "two", "of the other night")
        one.keep()
        with pytest.raises(LockedError, match="another run has written it"):
            two.keep()
        one.end("good", {"made": 1})
        one.keep()
    with ledger_of(workflow) as ledger:
        assert ledger.runs()[-1].counts == {"made": 1}
        assert [run.state for run in ledger.runs()].count("running") == 0


def test_old_products_are_the_stores_own_business(become, season, tmp_path):
    from geoseg.api.cleaning import clean

    path = tmp_path / "w.yaml"
    path.write_text(json.dumps(season.data("s3://maps/n", monitor={"keep": "90 d"})))
    with pytest.raises(InputError, match="lifecycle"):
        clean(path, Heard())
    for day in DAYS[:2]:
        season.comes(day)
    with pytest.raises(InputError, match=r"^monitor\.keep: .* a rule that lets objects expire"):
        season.night("s3://maps/kept", monitor={"keep": "90 d"})
