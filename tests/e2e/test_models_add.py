"""`geoseg models add`: known models, folders and the web; whole and proven, or not at all."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packages import write_package as write_tiny
from published import random_network, variables_of, write_saved_model

from geoseg.api import add_model
from geoseg.errors import ModelError
from geoseg.models import bring, recipe
from geoseg.models.card import load_card
from geoseg.models.dynamicworld import CARD
from geoseg.models.recipe import load_recipe, recipes
from geoseg.models.registry import find, home, open_segmenter, packages
from geoseg.models.weights_file import digest


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An own folder for what is added."""
    folder = tmp_path / "models"
    monkeypatch.setenv("GEOSEG_MODELS", str(folder))
    return folder


@pytest.fixture
def random_recipe(tmp_path, monkeypatch):
    """The recipe of Dynamic World, as if random weights had been published."""
    network = random_network(1)
    folder = tmp_path / "recipes"
    folder.mkdir()
    text = json.loads((recipe._FOLDER / "dynamicworld.json").read_text("utf-8"))
    text["tensors_sha256"] = digest(network)
    (folder / "dynamicworld.json").write_text(json.dumps(text))
    monkeypatch.setattr(recipe, "_FOLDER", folder)
    return variables_of(network)


def write_package(folder, name):
    """A package of hardly any weights."""
    small = {"name": "geoseg-unet", "widths": [2, 2, 2, 2], "depths": [0, 0, 0]}
    return write_tiny(folder, name, architecture=small)


@contextlib.contextmanager
def served(folder):
    """A web server of ``folder`` on this machine; gives its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_):
        pass


def geoseg(*arguments, **environment):
    command = [sys.executable, "-m", "geoseg", "models", *map(str, arguments)]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def nothing_is_left(folder):
    return not folder.exists() or not list(folder.iterdir())


def saved_in(form, folder, variables):
    """A local copy of the published files, in one of the forms that are taken."""
    if form == "SavedModel":
        return write_saved_model(folder / "forward", variables)
    if form == "clone":
        write_saved_model(folder / "clone" / "model" / "forward", variables)
        return folder / "clone"
    path = folder / "arrays" / "weights.npz"
    path.parent.mkdir()
    np.savez(path, **variables)
    return path if form == "npz" else path.parent


@pytest.mark.parametrize("form", ["SavedModel", "clone", "npz", "folder of npz"])
def test_a_known_model_from_a_local_copy(form, tmp_path, models, random_recipe):
    source = saved_in(form, tmp_path, random_recipe)
    package = add_model("dynamicworld", source=source)
    assert package.folder == models / "dynamicworld"
    found = sorted(p.name for p in package.folder.iterdir())
    assert found == ["card.json", "check.json", "weights.safetensors"]
    assert package.card.about["license"] == "Apache-2.0"
    assert "10.1038/s41597-022-01307-4" in package.card.about["citation"]
    changed = {"about": CARD.about, "weights": None, "sha256": None}
    assert replace(package.card, **changed) == CARD
    assert find("dynamicworld") == package
    assert packages()
    open_segmenter(package, device="cpu")
    assert oct(package.folder.stat().st_mode & 0o777) == oct(0o777 & ~umask())


def umask():
    found = os.umask(0)
    os.umask(found)
    return found


def test_the_same_copy_gives_the_same_bytes(tmp_path, models, random_recipe):
    source = saved_in("npz", tmp_path, random_recipe)
    folder = add_model("dynamicworld", source=source).folder
    first = {p.name: p.read_bytes() for p in folder.iterdir()}
    add_model("dynamicworld", source=source, force=True)
    assert first == {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_known_model_from_the_web(tmp_path, models, random_recipe, monkeypatch):
    write_saved_model(tmp_path / "web", random_recipe)
    with served(tmp_path / "web") as url:
        known = {"dynamicworld": replace(recipes()["dynamicworld"], url=url)}
        monkeypatch.setattr(bring, "recipes", lambda: known)
        assert add_model("dynamicworld").folder == models / "dynamicworld"
        shutil.rmtree(models)
        small = {"dynamicworld": replace(known["dynamicworld"], largest_bytes=1000)}
        monkeypatch.setattr(bring, "recipes", lambda: small)
        with pytest.raises(ModelError, match=r"variables.index: has more than 1000 bytes"):
            add_model("dynamicworld")
        monkeypatch.setattr(bring, "recipes", lambda: known)
        (tmp_path / "web" / "variables" / "variables.index").unlink()
        with pytest.raises(ModelError, match=r"404 .*Without network: .*--from FOLDER"):
            add_model("dynamicworld")
    with pytest.raises(ModelError, match=r"cannot be fetched: .*--from FOLDER"):
        add_model("dynamicworld")
    assert nothing_is_left(models)


def test_other_weights_than_the_published_are_refused(tmp_path, models, random_recipe):
    other = dict(random_recipe)
    other["conv2d_14/bias"] = other["conv2d_14/bias"] + np.float32(1e-6)
    with pytest.raises(ModelError, match=r"not the published weights of dynamicworld 1.0.0"):
        add_model("dynamicworld", source=saved_in("npz", tmp_path, other))
    assert nothing_is_left(models)


def test_bad_copies_are_told(tmp_path, models, random_recipe):
    empty = tmp_path / "empty"
    empty.mkdir()
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\3\4 and no more")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, a=np.array([{}], dtype=object))
    few = saved_in("npz", tmp_path, {"conv2d/bias": np.zeros(64, np.float32)})
    for source, message in {
        empty: "has neither: wanted a copy of https://github.com/google/dynamicworld",
        tmp_path / "none": "is not there: wanted a copy",
        damaged: "not an archive of arrays",
        pickled: "not an archive of arrays",
        few: "no variable",
    }.items():
        with pytest.raises(ModelError, match=message) as caught:
            add_model("dynamicworld", source=source)
        assert str(source) in str(caught.value)
    assert nothing_is_left(models)


def test_a_package_from_a_folder(tmp_path, models):
    source = write_package(tmp_path / "elsewhere", "mine")
    (source / "notes.txt").write_text("not part of the model")
    package = add_model(str(source))
    assert package.folder == models / "mine"
    assert package.card == find(source).card
    assert not (package.folder / "notes.txt").exists()
    with pytest.raises(ModelError, match=r"is there already: .*--force replaces it"):
        add_model(str(source / "card.json"))
    add_model(str(source / "card.json"), force=True)
    assert find("mine") == package


def test_weights_without_a_checksum_get_one(tmp_path, models):
    source = write_package(tmp_path / "elsewhere", "mine")
    pinned = load_card(source / "card.json").sha256
    item = json.loads((source / "card.json").read_text("utf-8"))
    del item["assets"]["weights"]["file:checksum"]
    (source / "card.json").write_text(json.dumps(item))
    assert add_model(str(source)).card.sha256 == pinned


def test_damaged_and_untrained_packages_are_refused(tmp_path, models):
    source = write_package(tmp_path / "elsewhere", "mine")
    weights = source / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"oops")
    with pytest.raises(ModelError, match=r"sha256 is .*damaged"):
        add_model(str(source))
    weights.unlink()
    with pytest.raises(ModelError, match="its weights are missing"):
        add_model(str(source))
    item = json.loads((source / "card.json").read_text("utf-8"))
    item["assets"] = {}
    (source / "card.json").write_text(json.dumps(item))
    with pytest.raises(ModelError, match="has no weights: it must be trained"):
        add_model(str(source))
    assert nothing_is_left(models)


def test_a_package_from_the_web(tmp_path, models):
    source = write_package(tmp_path / "web", "mine")
    with served(tmp_path / "web") as url:
        for address in (f"{url}/mine", f"{url}/mine/", f"{url}/mine/card.json"):
            package = add_model(address, force=True)
            assert package.folder == models / "mine"
            assert package.card == find(source).card
        shutil.rmtree(models)
        (source / "weights.safetensors").write_bytes(b"something else")
        with pytest.raises(ModelError, match="sha256"):
            add_model(f"{url}/mine")
        item = json.loads((source / "card.json").read_text("utf-8"))
        del item["assets"]["weights"]["file:checksum"]
        (source / "card.json").write_text(json.dumps(item))
        with pytest.raises(ModelError, match=r"mine/card.json: .*no `file:checksum`"):
            add_model(f"{url}/mine")
        (source / "card.json").write_text("<html>")
        with pytest.raises(ModelError, match=r"http://.*/mine/card.json:1:1: not JSON"):
            add_model(f"{url}/mine")
        with pytest.raises(ModelError, match=r"/none/card.json: cannot be fetched: 404"):
            add_model(f"{url}/none")
    assert nothing_is_left(models)


def test_a_shipped_model_is_not_hidden_by_accident(tmp_path, models):
    source = write_package(tmp_path / "elsewhere", "landcover-s2")
    with pytest.raises(ModelError, match=r"there is one of that name: .*landcover-s2"):
        add_model(str(source))
    assert add_model(str(source), force=True) == find("landcover-s2")


def test_what_is_no_model_is_never_replaced(tmp_path, models):
    source = write_package(tmp_path / "elsewhere", "mine")
    (models / "mine").mkdir(parents=True)
    (models / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="in the way, and is no model package"):
        add_model(str(source), force=True)
    assert (models / "mine" / "thesis.txt").read_text() == "years of work"


def test_where_models_are_added(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    user = tmp_path / "data" / "geoseg" / "models"
    assert home() == user
    package = write_package(tmp_path, "whole")
    monkeypatch.setenv("GEOSEG_MODELS", f"{package}{os.pathsep}{tmp_path / 'b'}")
    assert home() == tmp_path / "b"
    monkeypatch.setenv("GEOSEG_MODELS", str(package))
    assert home() == user
    monkeypatch.delenv("GEOSEG_MODELS")
    for relative in ("", "data"):
        monkeypatch.setenv("XDG_DATA_HOME", relative)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert home() == tmp_path / ".local" / "share" / "geoseg" / "models"


def test_the_users_models_come_before_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    user = tmp_path / "geoseg" / "models"
    write_package(user, "landcover-s2")
    write_package(user, "mine")
    assert find("landcover-s2").folder == user / "landcover-s2"
    assert {"mine", "landcover-s2", "aerial-rgb"} <= {p.card.name for p in packages()}
    named = write_package(tmp_path / "named", "mine")
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "named"))
    assert find("mine").folder == named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dynamicwrld"], "did you mean 'dynamicworld'?"),
        (["some/folder"], "neither a known model nor a folder; known: dynamicworld"),
        (["mine", "--from", "copy"], "only known models are made from a copy elsewhere"),
        (["ftp://host/model"], "neither a known model nor a folder"),
        (["http://127.0.0.1:1/model"], "card.json: cannot be fetched"),
        (["dynamicworld", "--from", "/none"], "/none: is not there: wanted a copy"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = geoseg("add", *arguments, GEOSEG_MODELS=str(tmp_path / "models"))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert nothing_is_left(tmp_path / "models")


@pytest.mark.data
def test_dynamic_world_in_one_command(tmp_path, published_dir):
    source = published_dir / "dynamicworld"
    there = {"GEOSEG_MODELS": str(tmp_path)}
    done = geoseg("add", "dynamicworld", "--from", source, **there)
    assert (done.returncode, done.stderr) == (0, "")
    assert "license: Apache-2.0" in done.stdout
    assert "Scientific Data 9, 251 (2022)" in done.stdout
    assert "dynamicworld 1.0.0" in geoseg("list", **there).stdout
    card = json.loads(geoseg("show", "dynamicworld", **there).stdout)
    assert card["properties"]["geoseg:reach"] == 22
    assert geoseg("add", "dynamicworld", "--from", source, **there).returncode == 2


def test_recipes_say_what_they_should(tmp_path):
    text = (Path(recipe._FOLDER) / "dynamicworld.json").read_text("utf-8")
    for name, known in recipes().items():
        assert name == known.name
        assert known.converter in bring._CONVERTERS
        assert len(known.tensors_sha256) == 64
        assert known.url.startswith("https://")
    path = tmp_path / "bad.json"
    for key, value, message in (
        ("licence", "MIT", r"licence: .*no such key, did you mean 'license'"),
        ("files", ["../secret"], r"files\[0\]: found '../secret'; wanted a path below"),
        ("files", ["/etc/passwd"], r"files\[0\]: found '/etc/passwd'; wanted a path below"),
        ("largest_bytes", "big", r"largest_bytes: found 'big'; wanted a whole number"),
        ("name", "", "name: found ''; wanted a text"),
    ):
        path.write_text(json.dumps(json.loads(text) | {key: value}))
        with pytest.raises(ModelError, match=message):
            load_recipe(path)
