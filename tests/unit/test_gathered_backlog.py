"""When a run of many scenes has begun enough of them: what they still have for workers."""

import pytest

from geoseg.api.at_once import MOST_AT_ONCE, most_at_once
from geoseg.run.gathering import Gathering
from geoseg.run.reporter import Silent
from geoseg.workflow import loads


@pytest.fixture
def gathering(tmp_path):
    return Gathering(Silent(), tmp_path, "run", scenes=9, blocks=90, pixels=900)


def seen(gathering):
    return gathering.looked_at, gathering.backlog


def test_a_scene_that_is_looked_at_has_nothing_for_workers_yet(gathering):
    told = gathering.begins("a", 10)
    assert seen(gathering) == (1, 0)
    told.stage("segment", blocks=10, pixels=100, done_blocks=3)
    assert seen(gathering) == (0, 7)
    told.advance(blocks=6, pixels=60)
    assert seen(gathering) == (0, 1)
    told.advance(blocks=1, pixels=10)
    assert seen(gathering) == (0, 1), "its next stage will follow"


def test_products_of_a_scene_are_one_task_however_many_files_they_are(gathering):
    for name in "ab":
        gathering.begins(name, 1).stage("products", blocks=9, pixels=0)
    assert seen(gathering) == (0, 2)
    gathering.ends("a", fresh=True, failed=False)
    assert seen(gathering) == (0, 1)


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ("", MOST_AT_ONCE),
        ("run: {scenes_at_once: 5}", 5),
        ("run: {scenes_at_once: 1}", 1),
    ],
)
def test_how_many_are_under_way_at_most(more, most):
    text = "geoseg: 1\nname: a\ninput: {kind: sample}\nmodel: {name: landcover-s2}\n"
    assert most_at_once(loads(f"{text}output: {{directory: out}}\n{more}\n")) == most
