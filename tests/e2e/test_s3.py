"""Files in a bucket of a real S3 server on loopback, with what the environment says of it."""

import numpy as np
import pytest
from rasters import write

from geoseg.errors import GeosegError
from geoseg.grid import full_window
from geoseg.io.environment import gdal_env
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.io.traffic import METER, forget

server = pytest.importorskip("moto.server", reason="moto is not installed")

SECRET = "hunter2xyzhunter2xyz"  # noqa: S105 (what must not be seen)
STORED = np.random.default_rng(3).integers(1, 60_000, (2, 300, 400)).astype(np.uint16)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """A server with a bucket that holds one file; gives its address."""
    import boto3

    path = tmp_path_factory.mktemp("s3") / "scene.tif"
    write(path, STORED, nodata=0, driver="COG", blocksize=128, compress="deflate")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="me",
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket="archive")
    client.put_object(Bucket="archive", Key="2024/scene.tif", Body=path.read_bytes())
    client.put_object_acl(Bucket="archive", Key="2024/scene.tif", ACL="public-read")
    signed = client.generate_presigned_url(
        "get_object", Params={"Bucket": "archive", "Key": "2024/scene.tif"}
    )
    yield f"http://{host}:{port}", signed
    running.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "empty").touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "empty"))
    monkeypatch.setenv("CPL_AWS_CREDENTIALS_FILE", str(tmp_path / "empty"))
    monkeypatch.setenv("CPL_AWS_AUTODETECT_EC2", "NO")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    monkeypatch.setattr("geoseg.io.remote.FIRST_PAUSE", 0.01)
    with gdal_env(remote=True):
        forget("/vsis3/archive/2024/scene.tif")


def read(path):
    (scene,) = FilesSource((path,), ("red", "nir")).scenes(["red", "nir"])
    pixels = ScenePixels(scene)
    patch = pixels.read(["red", "nir"], full_window(scene.grid))
    pixels.close()
    return patch


@pytest.mark.parametrize("words", ["amazon", "gdal"])
def test_with_keys(endpoint, monkeypatch, words):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if words == "amazon":
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint[0])
    else:
        monkeypatch.setenv("AWS_S3_ENDPOINT", endpoint[0].removeprefix("http://"))
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    METER.take()
    assert np.array_equal(read("s3://archive/2024/scene.tif").values, STORED)
    assert METER.take().bytes >= STORED.nbytes / 2


def test_without_signing(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint[0])
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert np.array_equal(read("s3://archive/2024/scene.tif").values, STORED)


def test_an_address_that_is_signed_already(endpoint):
    assert np.array_equal(read(endpoint[1]).values, STORED)


def test_without_any_keys(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint[0])
    with pytest.raises(GeosegError, match="AWS_NO_SIGN_REQUEST") as caught:
        read("s3://archive/2024/scene.tif")
    assert str(caught.value).startswith(
        "s3://archive/2024/scene.tif: not a raster that can be read"
    )


def test_what_is_not_in_the_bucket(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint[0])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(GeosegError) as caught:
        read("s3://archive/2024/none.tif")
    assert str(caught.value).startswith("s3://archive/2024/none.tif: ")
    assert "The specified key does not exist" in str(caught.value)
