"""Places in a store: their addresses, the folders that stand for them, their chunks and ledgers."""

import numpy as np
import pytest
import s3_server
from affine import Affine

from geoseg.errors import InputError, LockedError, ProductError
from geoseg.grid import GeoBox, Window
from geoseg.io import staging
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import forget_client
from geoseg.io.mirroring import Mirror
from geoseg.io.staging import address, ledger_folder, local_folder, store_place, upload
from geoseg.io.zarr_store import ZarrRaster
from geoseg.run import ledger_segments
from geoseg.run.base import Done
from geoseg.run.ledger import Ledger, remove_ledger
from geoseg.run.ledger_segments import _known, fetch_state, segments_of

GRID = GeoBox((150, 130), Affine(10, 0, 500_000, 0, -10, 4_500_000), "EPSG:32629")

pytest.importorskip("moto.server", reason="moto is not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    running = s3_server.start(tmp_path_factory.mktemp("store"))
    yield running
    running.end()


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    _known.clear()


@pytest.fixture
def place(store, monkeypatch, request):
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    forget_client()
    yield BucketPath.of(f"s3://maps/{request.node.name}")
    forget_client()


@pytest.mark.parametrize(
    "wrong",
    [
        "s3://", "s3://ab/x", "s3://Maps/x", "s3://me:secret@maps/x", "s3://maps/a//b",
        "s3://maps/../b", "s3://maps/a\nb", "gs://maps/a", "maps/a",
    ],
)  # fmt: skip
def test_addresses_that_are_none(wrong):
    with pytest.raises(InputError):
        BucketPath.of(wrong)


def test_a_folder_stands_for_a_place(tmp_path):
    place = BucketPath.of("s3://maps/2024/a b/")
    folder = local_folder("s3://maps/2024/a b/")
    assert folder.is_relative_to(tmp_path / "cache")
    assert store_place(folder) == place
    assert address(folder / "classes.tif") == "s3://maps/2024/a b/classes.tif"
    assert store_place(tmp_path) is None
    assert address(tmp_path) == str(tmp_path)
    assert local_folder("maps/a").name == "a"
    with pytest.raises(InputError, match="folders and to s3://"):
        local_folder("gs://maps/a")
    assert store_place(ledger_folder("s3://maps/2024")) is None


def test_objects_are_written_on_conditions(place):
    one = place / "one"
    assert one.head() is None
    with pytest.raises(FileNotFoundError):
        one.read_bytes()
    first = one.write_if(b"a")
    assert first is not None
    assert one.write_if(b"b") is None
    assert one.write_if(b"a") == first  # our own, whose answer was lost
    second = one.write_if(b"c", etag=first)
    assert second is not None
    assert one.write_if(b"d", etag=first) is None
    assert one.read_bytes() == b"c"
    assert (place / "none").write_if(b"d", etag=first) is None
    one.unlink()
    one.unlink()
    assert not list(place.below())


def test_blocks_are_objects(place, store):
    raster = ZarrRaster.create(place / "work.zarr", GRID, block=64, fill=255)
    values = np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)
    block, rim = Window(64, 64, 128, 128), Window(128, 128, 150, 130)
    raster.write(block, values)
    raster.write(rim, values[:22, :2])
    raster.write(Window(0, 0, 64, 64), np.full((64, 64), 255, np.uint8))
    fresh = ZarrRaster(place / "work.zarr", "classes")
    read = fresh.read(Window(50, 60, 150, 130))
    wanted = np.full((150, 130), 255, np.uint8)
    wanted[64:128, 64:128], wanted[128:, 128:] = values, values[:22, :2]
    assert np.array_equal(read, wanted[50:150, 60:130])
    chunks = [key for key in store.keys(f"{place.key}/work.zarr/classes/") if "/.z" not in key]
    assert len(chunks) == 2  # blocks of nothing but fill take no object
    told = fresh.checksum(block)
    raster.write(block, values[::-1].copy())
    assert fresh.checksum(block) != told  # asks the store, not its memory
    (place / "work.zarr/classes/1.1").write_bytes(b"damaged")
    with pytest.raises(ProductError, match="cannot read"):
        fresh.checksum(block)
    again = ZarrRaster.create(place / "work.zarr", GRID, block=64, fill=0, name="more")
    assert again.fill == 0
    with pytest.raises(ProductError, match="another grid or layout"):
        ZarrRaster.create(place / "work.zarr", GRID, block=32, fill=255)


def test_an_array_in_a_store_is_zarr(place, store, tmp_path):
    import xarray

    raster = ZarrRaster.create(place / "work.zarr", GRID, block=64, fill=255)
    raster.write(Window(0, 0, 64, 64), np.full((64, 64), 3, np.uint8))
    store.fetch(f"{place.key}/work.zarr", tmp_path / "work.zarr")
    with xarray.open_zarr(tmp_path / "work.zarr", consolidated=True, mask_and_scale=False) as found:
        assert np.array_equal(found["classes"].to_numpy(), raster.read(Window(0, 0, 150, 130)))
        assert found["x"].shape == (130,)


def ledger_at(folder):
    return Ledger.open(folder / "segment.jsonl", "f" * 64, {"a": "b"})


def done(n):
    return Done(Window(n, 0, n + 1, 1), {"n": n})


def elsewhere(monkeypatch, tmp_path, place, name):
    """The state folder of the output on another machine."""
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / name))
    folder = local_folder(str(place)) / ".geoseg"
    fetch_state(folder)
    return folder


def test_a_ledger_goes_on_elsewhere(place, store, monkeypatch, tmp_path):
    folder = elsewhere(monkeypatch, tmp_path, place, "one")
    with ledger_at(folder) as ledger:
        for n in range(200):
            ledger.record(done(n))
    keys = [key for key in store.keys(place.key) if "segment.jsonl" in key]
    assert 3 < len(keys) < 10
    folder = elsewhere(monkeypatch, tmp_path, place, "two")
    with ledger_at(folder) as ledger:
        assert len(ledger.done) == 200
        ledger.forget([done(7).block])
    folder = elsewhere(monkeypatch, tmp_path, place, "three")
    with ledger_at(folder) as ledger:
        assert len(ledger.done) == 199
    remove_ledger(folder / "segment.jsonl")
    assert not store.keys(place.key)


def test_two_that_go_on_with_one_ledger(place, monkeypatch, tmp_path):
    with ledger_at(elsewhere(monkeypatch, tmp_path, place, "one")) as ledger:
        ledger.record(done(0))
    one = ledger_at(elsewhere(monkeypatch, tmp_path, place, "two"))
    other = ledger_at(elsewhere(monkeypatch, tmp_path, place, "three"))
    one.record(done(1))
    one.sync()
    other.record(done(2))
    with pytest.raises(LockedError, match="another run has gone on with this output"):
        other.sync()
    other._file.close()
    one.close()


def test_segments_are_few(place, store, monkeypatch, tmp_path):
    monkeypatch.setattr(ledger_segments, "MOST", 5)
    folder = elsewhere(monkeypatch, tmp_path, place, "one")
    with ledger_at(folder) as ledger:
        for n in range(23):
            ledger.record(done(n))
            ledger.sync()
    assert len(store.keys(place.key)) <= 5
    # A kill between a new generation and the removal of the old one.
    copy = segments_of(folder / "segment.jsonl")
    (copy.place / "000001-000000").write_bytes(b"old\n")
    (copy.place / "000099-000003").write_bytes(b"its begin is gone\n")
    folder = elsewhere(monkeypatch, tmp_path, place, "two")
    with ledger_at(folder) as ledger:
        assert len(ledger.done) == 23
    assert not [key for key in store.keys(place.key) if "000099-" in key or "000001-" in key]


def test_large_products_go_in_parts(place, store, monkeypatch):
    monkeypatch.setattr(staging, "PART", 5 * 2**20)
    folder = local_folder(str(place))
    folder.mkdir(parents=True)
    data = np.random.default_rng(0).bytes(11 * 2**20)
    for name, content in {"classes.tif": data, "item.json": b"{}", ".geoseg/x": b"no"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    uploaded = upload(folder, place, confirm=lambda: None)
    assert [one.name for one in uploaded] == ["classes.tif", "item.json"]
    assert (place / "classes.tif").read_bytes() == data
    assert store.keys(place.key).keys() == {
        f"{place.key}/{n}" for n in ("classes.tif", "item.json")
    }
    assert not (folder / "classes.tif").exists()


def test_parts_that_were_left_are_given_up(place, store, monkeypatch):
    monkeypatch.setattr(staging, "PART", 5 * 2**20)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_client()
    folder = local_folder(str(place))
    folder.mkdir(parents=True)
    (folder / "classes.tif").write_bytes(bytes(6 * 2**20))
    (place / "item.json").write_bytes(b"of an earlier run")
    store.disturb(status=500, methods=["PUT"], match="partNumber=2", times=1)
    with pytest.raises(ProductError, match=r"classes.tif: cannot be written: HTTP 500"):
        upload(folder, place, confirm=lambda: None)
    assert not store.keys(place.key)  # and no item vouches for what is there
    store.client().create_multipart_upload(Bucket="maps", Key=f"{place.key}/confidence.tif")
    assert place.abort_uploads() == 1
    staging.begin(folder, place)
    assert not folder.exists()
    assert not store.client().list_multipart_uploads(Bucket="maps").get("Uploads")


def mirrored(place):
    return Mirror(place, head="head.json", vouching=".of/")


def write(mirror, **files):
    for name, text in files.items():
        path = mirror.folder / name.replace("__", "/").replace("of_", ".of/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_mirror_fetches_what_is_news(place, store, monkeypatch, tmp_path):
    one = mirrored(place)
    one.pull()
    assert not one.folder.exists()
    write(one, a="a", deep__b="b", of_a="1")
    (one.folder / "head.json").write_text("{}")
    one.push(confirm=lambda: None)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "other"))
    two = mirrored(place)
    two.pull()
    assert (two.folder / "deep" / "b").read_text() == "b"
    assert (two.folder / ".of" / "a").read_text() == "1"
    begun = len(store.requests())
    mirrored(place).pull()
    assert [method for method, _, _ in store.requests()[begun:]] == ["GET"]  # the listing
    two.pull()
    (two.folder / "a").unlink()
    (two.folder / ".of" / "a").unlink()
    write(two, c="c", of_c="2")
    two.push(confirm=lambda: None)
    one.pull()
    found = {p.relative_to(one.folder).as_posix() for p in one.folder.rglob("*") if p.is_file()}
    assert found == {"head.json", "deep/b", "c", ".of/c"}
    # What was changed here and never brought up counts for nothing.
    write(one, c="torn")
    one.pull()
    assert (one.folder / "c").read_text() == "c"


def test_what_vouches_goes_first_and_comes_last(place, store):
    mirror = mirrored(place)
    mirror.pull()
    (mirror.folder).mkdir(parents=True)
    (mirror.folder / "head.json").write_text("{}")
    write(mirror, a="a", of_a="1")
    mirror.push(confirm=lambda: None)
    begun = len(store.requests())
    write(mirror, a="other", of_a="2")
    (mirror.folder / "head.json").write_text("{1}")
    mirror.push(confirm=lambda: None)
    asked = [
        (method, path.partition("?")[0].rpartition("/")[2])
        for method, path, _ in store.requests()[begun:]
    ]
    assert asked == [("POST", "maps"), ("PUT", "a"), ("PUT", "head.json"), ("PUT", "a")]
    assert "/.of/" not in store.requests()[begun + 1][1]
    assert "/.of/" in store.requests()[-1][1]


def test_two_mirrors_are_never_mixed(place, monkeypatch, tmp_path):
    one = mirrored(place)
    one.pull()
    one.folder.mkdir(parents=True)
    (one.folder / "head.json").write_text("{}")
    one.push(confirm=lambda: None)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "other"))
    two = mirrored(place)
    two.pull()
    (two.folder / "head.json").write_text("{2}")
    two.push(confirm=lambda: None)
    (one.folder / "head.json").write_text("{1}")
    with pytest.raises(LockedError, match="another run has written it"):
        one.push(confirm=lambda: None)
    assert (place / "head.json").read_bytes() == b"{2}"
