import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from geoseg.errors import InputError
from geoseg.io.feature_values import features_where, label_of
from geoseg.io.label_files import LabelFile, read_vector
from geoseg.io.label_vectors import read_features


@pytest.mark.parametrize(
    ("cells", "wanted", "found"),
    [
        ([True, False, True], True, [0, 2]),
        ([True, False, True], "true", [0, 2]),
        ([1, 2, 1], "1", [0, 2]),
        ([1.0, np.nan, 1.5], 1, [0]),
        ([1.0, np.nan, 1.5], 1.5, [2]),
        (["1", "01", "1.0"], 1, [0]),
        (["Lake ", "lake", None], "LAKE", [0, 1]),
        ([["a", "lake"], [], ["sea"]], "lake", [0]),
        ([0, 1, 2], False, [0]),
    ],
)
def test_the_same_features_for_a_check_and_for_a_training(tmp_path, cells, wanted, found):
    shapes = [box(i, 0, i + 1, 1) for i in range(3)]
    frame = gpd.GeoDataFrame({"k": cells, "class": list("abc")}, geometry=shapes, crs="EPSG:32631")
    frame.to_parquet(tmp_path / "l.parquet")
    path, where = tmp_path / "l.parquet", {"k": wanted}
    checked = read_vector(LabelFile(path, column="class", where=where))
    learnt = read_features(path, column="class", where=where)
    assert checked.rows.tolist() == found
    assert list(checked.labels) == [learnt.names[code] for code in learnt.codes.tolist()]
    assert (checked.shapes == learnt.shapes).all()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"sure": 1}, "l.gpkg: labels.where: no column 'sure'; it has k"),
        ({"k": 3}, "l.gpkg: labels.where: no feature has k = 3"),
    ],
)
def test_what_no_feature_has_is_an_error(where, message):
    frame = gpd.GeoDataFrame({"k": [1, 2]}, geometry=[box(0, 0, 1, 1)] * 2)
    with pytest.raises(InputError) as caught:
        features_where("l.gpkg", frame, where, "labels.where")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (np.int16(3), 3), (3.0, 3), (3.5, "3.5"), (np.nan, None), (None, None), (" ", None),
        (np.True_, 1), (["Water"], "Water"), ([1, 2], "1, 2"), ([], None), ("07", "07"),
    ],
)  # fmt: skip
def test_what_cells_say(value, label):
    assert label_of(value) == label
