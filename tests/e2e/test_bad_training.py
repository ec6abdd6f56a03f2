"""Trainings that cannot be: each gets one error that says what would work, and nothing is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from refusals import Cases, check_words, contents
from training_scenes import image_of, patches, polygons, workflow, write

import geoseg.cli

SIDE = 160


class Desk:
    """A folder with a scene and its labels; requests are made from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        labels = patches((SIDE, SIDE), 2, 16, 1)
        write(folder / "scene.tif", image_of(labels))
        write(folder / "scene-labels.tif", labels + 1)

    def train(self, *settings: str, data=None, labels=None, **more) -> list[str]:
        """The request to train, but for changes."""
        usual = {"path": "{stem}-labels.tif", "classes": {"1": "Low", "2": "High"}}
        whole = workflow(Path("scene.tif"), labels or usual, **more)
        whole["data"][0] |= data or {}
        (self.folder / "w.yaml").write_text(json.dumps(whole))
        return ["train", "w.yaml", *(word for s in settings for word in ("--set", s))]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


case = Cases()


@case("data.0.input.bands: no green, which the model needs; it names red, nir")
def a_band_that_the_scene_does_not_name(desk):
    return desk.train("model.bands=[red, green]")


@case("scene.tif: data.0.input.bands", "names 3 bands", "has 2")
def more_bands_than_the_file_has(desk):
    request = desk.train()
    return [*request, "--set", "data=" + json.dumps(_data(desk, bands=["red", "nir", "blue"]))]


def _data(desk, **changes):
    data = json.loads((desk.folder / "w.yaml").read_text())["data"]
    data[0]["input"] |= changes
    return data


@case("workflow: name: found 'st'", "3 or more letters")
def a_name_that_no_model_may_have(desk):
    return desk.train("name=st")


@case("data.0.labels.classes.2", "no class 'Hgh', did you mean 'High'?", "it has Low, High")
def a_class_that_is_not_in_the_legend(desk):
    return desk.train(labels={"path": "scene-labels.tif", "classes": {"1": "Low", "2": "Hgh"}})


@case("not one labelled pixel", "scene-labels.tif", "scene.tif", "the same place?")
def labels_of_another_place(desk):
    far = patches((SIDE, SIDE), 2, 16, 1) + 1
    from affine import Affine

    write(desk.folder / "scene-labels.tif", far, transform=Affine(10, 0, 9e5, 0, -10, 1e6))
    return desk.train()


@case("not one labelled pixel", "l.geojson", "the same place?")
def polygons_of_another_place(desk):
    polygons(desk.folder / "l.geojson", [({"k": "Low"}, (0, 0, 100, 100))])
    return desk.train(labels={"path": "l.geojson", "column": "k"})


@case("data.0: no label of patches is listed in labels.classes; its labels are 1, 2")
def labels_of_unknown_codes(desk):
    return desk.train(labels={"path": "scene-labels.tif", "classes": {"7": "Low", "8": "High"}})


@case("scene-labels.tif: holds '2', which labels.classes does not list", "'ignore'")
def a_label_that_a_strict_set_does_not_list(desk):
    only = {"path": "scene-labels.tif", "classes": {"1": "Low"}, "strict": True}
    return desk.train(labels=only)


@case("model.legend: no scene has a pixel of 'High'; leave it out of the legend")
def a_class_without_labels(desk):
    return desk.train(labels={"path": "scene-labels.tif", "classes": {"1": "Low"}})


@case("not one labelled pixel in patches")
def no_labelled_pixel_at_all(desk):
    write(desk.folder / "scene-labels.tif", np.zeros((SIDE, SIDE), np.uint8), nodata=0)
    return desk.train()


@case("split: nothing to learn 'Low' from: all", "labelled pixels are held out")
def a_set_that_is_all_for_the_test(desk):
    return desk.train(data={"use": "test"})


@case("split.validation: nothing is left for it", "squares with labels", "split.block smaller")
def squares_as_large_as_the_scene(desk):
    return desk.train("split.block=10 km")


@case("scene-labels.tif: has 150 x 160 pixels", "scene.tif has 160 x 160", "the same size")
def labels_of_another_size(desk):
    path = desk.folder / "scene-labels.tif"
    write(path, patches((150, SIDE), 2, 16, 1) + 1, crs=None)
    return desk.train()


@case("data.0.labels: scene scene: no file", "labels/scene.tif", "labels.missing: skip")
def labels_that_are_not_there(desk):
    return desk.train(labels={"path": "labels/{stem}.tif", "classes": {"1": "Low"}})


@case("data.0.labels: none of 1 scenes has a label file")
def no_labels_of_any_scene(desk):
    return desk.train(labels={"path": "labels/{stem}.tif", "missing": "skip"})


@case("l.geojson: no column 'kind'; choose the column", "k")
def a_column_that_is_not_there(desk):
    polygons(desk.folder / "l.geojson", [({"k": "Low"}, (0, 0, 100, 100))])
    return desk.train(labels={"path": "l.geojson", "column": "kind"})


@case("l.geojson: labels.where: no column 'sure'; it has k")
def a_condition_on_a_column_that_is_not_there(desk):
    polygons(desk.folder / "l.geojson", [({"k": "Low"}, (0, 0, 100, 100))])
    return desk.train(labels={"path": "l.geojson", "column": "k", "where": {"sure": 1}})


@case("output.directory: ", "models/patches is not a folder")
def an_output_that_is_a_file(desk):
    (desk.folder / "models").mkdir()
    (desk.folder / "models" / "patches").write_text("")
    return desk.train()


@case("'landcover-s3'", "did you mean 'landcover-s2'?")
def a_start_that_is_no_model(desk):
    return desk.train("model.start=landcover-s3")


@case("no architecture 'unit', did you mean 'unet'?")
def an_architecture_that_nobody_knows(desk):
    return desk.train("model.architecture={name: unit}")


@case("architecture geoseg-unet has no parameter 'width', did you mean 'widths'?")
def a_parameter_that_the_network_does_not_have(desk):
    return desk.train("model.architecture.width=3")


@case("precision 'fp16' needs CUDA; on a CPU use bf16 or fp32")
def half_precision_on_a_cpu(desk):
    return desk.train("training.precision=fp16")


@case("device 'cuda'", "CUDA devices here; use auto or cpu")
def a_gpu_where_there_is_none(desk):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    return desk.train("training.device=cuda")


@case("training.class_weights: the legend has no class 'Hgh'; it has Low, High")
def a_weight_for_a_class_that_is_not_there(desk):
    return desk.train("training.class_weights={Hgh: 2}")


@case("t.csv: data.0.groups: no column 'place'; it has scene, where")
def a_group_column_that_is_not_there(desk):
    (desk.folder / "t.csv").write_text("scene,where\nscene,1\n")
    return desk.train(data={"groups": {"file": "t.csv", "scene": "scene", "group": "place"}})


@case("t.csv: has no row for scene scene")
def a_scene_that_the_table_does_not_know(desk):
    (desk.folder / "t.csv").write_text("scene,place\nother,1\n")
    return desk.train(data={"groups": {"file": "t.csv", "scene": "scene", "group": "place"}})


@case("data.0.groups: its 'where' leaves no scene of patches")
def a_condition_that_no_scene_meets(desk):
    (desk.folder / "t.csv").write_text("scene,ok\nscene,0\n")
    where = {"file": "t.csv", "scene": "scene", "where": {"ok": 1}}
    return desk.train(data={"groups": where})


@case("t.csv: data.0.groups: cannot be read")
def a_table_that_is_not_there(desk):
    return desk.train(data={"groups": {"file": "t.csv", "scene": "scene"}})


@case("scene of patches is for train", "scene of again", "same ground", "is for test",
      "split.allow_overlap: true")  # fmt: skip
def a_test_on_the_ground_that_is_learnt_from(desk):
    request = desk.train(data={"use": "test"})
    data = json.loads((desk.folder / "w.yaml").read_text())["data"]
    both = [data[0] | {"name": "again"}, data[0] | {"use": "train"}]
    return [*request, "--set", "data=" + json.dumps(both)]


@case("gone.tif: no such file")
def unlabelled_scenes_that_are_not_there(desk):
    more = {"input": {"kind": "files", "path": "gone.tif", "units": "dn"}}
    return desk.train(unlabelled=[more])


@case("needs reflectance", "input.units")
def numbers_of_unknown_meaning(desk):
    return desk.train("model.units=reflectance")


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, make, said, capfd):
    request = [*make(desk), "--quiet"]
    before = contents(desk.folder)
    capfd.readouterr()
    code = geoseg.cli.run(request)
    out, told = capfd.readouterr()
    check_words(told, said)
    assert code == 2
    assert not out
    assert contents(desk.folder) == before
