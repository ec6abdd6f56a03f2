"""What a map says of forest, pixel by pixel, and what alerts are called elsewhere."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from alert_maps import AFFINE, CRS, write_map
from rasters import write

from geoseg.errors import InputError
from geoseg.grid import full_window
from geoseg.ops.alerts.encoding import LEVELS, confidence, duration, from_gfw, gfw_span, to_gfw
from geoseg.ops.alerts.rules import Bayes, Count, to_day
from geoseg.ops.alerts.states import UNSEEN, blank
from geoseg.steps.alerts import Forest, non_forest
from geoseg.workflow.alerts import PRESETS, Alerts, Watching

DAY = date(2021, 5, 31)


@pytest.fixture
def dated(tmp_path):
    """Trees at 90 and 55 %, grass at 80 % and without a percent, a cloud, nothing."""
    lost, clear = np.array([[0, 0, 1, 1, 0, 0]], bool), np.array([[1, 1, 1, 1, 1, 0]], bool)
    made = write_map(tmp_path, DAY, lost, clear, np.array([[90, 55, 80, 255, 70, 0]]))
    codes = np.array([[1, 1, 2, 2, 9, 0]], np.uint8)
    write(made.classes, codes, nodata=0, transform=AFFINE, crs=CRS)
    return made


def said_by(dated, forest=("trees",), ignore=("cloud",)):
    chosen = Forest.of(dated.legend, forest, ignore, what="map")
    return non_forest(dated.on(dated.grid), chosen, full_window(dated.grid)).tolist()


def test_confidence_is_that_of_the_class(dated):
    assert said_by(dated) == [[10, 45, 80, 100, UNSEEN, UNSEEN]]
    assert said_by(dated, ignore=()) == [[10, 45, 80, 100, 70, UNSEEN]]


def test_classes_alone_are_taken_for_sure(dated):
    assert said_by(replace(dated, confidence=None)) == [[0, 0, 100, 100, UNSEEN, UNSEEN]]


def test_probabilities_are_shared_among_what_says_something(dated, tmp_path):
    # Bands: trees, grass, cloud.
    percents = np.array(
        [[[60, 0, 255, 30, 0, 0]], [[20, 0, 255, 30, 0, 0]], [[20, 100, 255, 40, 100, 0]]], np.uint8
    )
    path = write(tmp_path / "p.tif", percents, nodata=255, transform=AFFINE, crs=CRS)
    with_all = replace(dated, probabilities=path)
    # 20 of 60 + 20; nobody but the cloud: by confidence; unknown: by confidence; 30 of 30 + 30.
    assert said_by(with_all) == [[25, 45, 80, 50, UNSEEN, UNSEEN]]
    assert said_by(with_all, forest=("Trees", "Grass"), ignore=()) == [
        [20, 100, 20, 40, 100, UNSEEN]
    ]


def test_several_classes_may_be_forest_and_one_must_be_there(dated):
    assert said_by(dated, forest=("palms", "TREES")) == [[10, 45, 80, 100, UNSEEN, UNSEEN]]
    with pytest.raises(InputError, match="map: has no class 'palms'; its classes are Trees, Grass"):
        said_by(dated, forest=("palms",))


def test_gfw_numbers_are_those_that_are_documented():
    """20060 is low confidence on 2015-03-01, 30055 high on 2015-02-24: 60 and 55 days in."""
    states = np.array([1, 3, 6, 8, 0, 255, 5], np.uint8)
    days = [date(2015, 3, 1), date(2015, 2, 24), date(2021, 5, 31), date(2042, 5, 17)]
    first = np.array([*map(to_day, days), 0, 0, to_day(date(2014, 12, 31))], np.uint16)
    assert to_gfw(states, first).tolist() == [20060, 30055, 42343, 49999, 0, 0, 0]
    assert from_gfw(20060) == (2, date(2015, 3, 1))
    assert from_gfw(0) is None
    assert gfw_span(to_day(date(2015, 1, 1)), to_day(date(2042, 5, 17)))
    assert not gfw_span(to_day(date(2014, 12, 31)), to_day(date(2020, 1, 1)))
    assert not gfw_span(to_day(date(2020, 1, 1)), to_day(date(2042, 5, 18)))
    assert LEVELS[[0, 1, 2, 3, 4, 5, 6, 7, 8, 255]].tolist() == [0, 2, 2, 3, 2, 2, 4, 3, 4, 0]


def test_confidence_and_duration_are_of_alerts_only():
    planes = blank((1, 3), Bayes())
    planes.state[:] = [[6, 0, 255]]
    planes.odds[:] = [[round(1e6 * np.log(0.9 / 0.1)), 500, 500]]
    planes.first[:], planes.last[:] = [[100, 0, 0]], [[111, 0, 0]]
    assert confidence(planes, Bayes()).tolist() == [[90, 255, 255]]
    planes.detections[:], planes.looks[:] = 2, 3
    assert confidence(planes, Count()).tolist() == [[67, 255, 255]]
    assert duration(planes).tolist() == [[12, 0, 0]]


def section(**told):
    return Alerts.model_validate({"store": "a.zarr", "forest": "trees", **told})


def test_presets_are_what_others_run_and_what_is_said_wins():
    assert section().rule_of() == Bayes(settled=3)
    assert section(preset="radd", baseline="before.tif").rule_of() == Bayes(chi=0.975, within=90)
    assert str(section(preset="radd").smallest()) == "0.2 ha"
    assert section(preset="gfw").rule_of() == Count(k=2, n=4, within=180, settled=3)
    changed = section(preset="gfw", rule={"k": 3, "n": 5}, confirm_within="60 d", seen_forest=1)
    assert changed.rule_of() == Count(k=3, n=5, within=60, settled=1)
    assert section(preset="gfw", rule="bayes", chi=0.9).rule_of() == Bayes(chi=0.9, settled=3)
    assert section(preset="radd", min_area="1 ha").smallest() == section(min_area="1 ha").smallest()
    assert {name for name, preset in PRESETS.items() if preset.rule} == {"radd", "gfw"}


def test_what_an_update_is_not_told_is_as_the_store_has_it():
    own = Count(k=2, n=3)
    assert Watching().rule_for(own) == own
    assert Watching(rule=Bayes()).rule_for(own) == Bayes()
    assert Watching().rule_for(None) == Bayes(settled=3)
