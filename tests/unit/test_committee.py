"""The card of several models and views: what it takes so that all of them can be tiled exactly."""

from dataclasses import replace
from fractions import Fraction

import pytest

from geoseg.errors import ModelError
from geoseg.legend import LandClass, Legend
from geoseg.models.base import Batch
from geoseg.models.committee import Committee, joint_card
from geoseg.models.registry import ModelPackage
from geoseg.models.views import CommitteeSegmenter
from geoseg.testing import ConstantModel, fake_card, random_batch


def card(name, **changes):
    return replace(fake_card(name, bands=("red", "nir")), **{"size": 64, **changes})


def test_one_model_seen_once_keeps_its_card(tmp_path):
    package = ModelPackage(card("one"), tmp_path)
    assert Committee((package,)).card is package.card
    assert Committee((package,)).passes == 1


def test_strides_reaches_and_bands_go_together():
    first = card("first", stride=8, reach=40, margin=40, gsd=(5, 20))
    second = replace(
        fake_card("second", bands=("green", "red"), reach=50),
        stride=6, margin=54, size=192, mean=(0.5, 0.6), version="2.0.0", gsd=(10, 30),
    )  # fmt: skip
    joint = joint_card([first, second])
    assert (joint.stride, joint.reach, joint.margin) == (24, 50, 72)
    assert joint.size % 24 == 0
    assert joint.size - 2 * joint.margin >= second.size - 2 * second.margin
    assert joint.bands == ("red", "nir", "green")
    assert joint.mean == (0.0, 0.0, 0.5)
    assert (joint.name, joint.version, joint.gsd) == ("first+second", "1.0.0+2.0.0", (10, 20))


def test_scales_widen_stride_and_reach():
    joint = joint_card([card("one", stride=8, reach=40, margin=40)], (Fraction(1), Fraction(3, 4)))
    assert joint.stride == 32
    assert joint.reach == 55
    assert joint.margin == 64
    endless = joint_card([card("far", reach=None, margin=16)], (Fraction(5, 4),))
    assert endless.reach is None
    assert (endless.stride, endless.margin) == (4, 16)


def test_passes_are_counted(tmp_path):
    package = ModelPackage(card("one"), tmp_path)
    committee = Committee((package, package), "d4", (Fraction(1), Fraction(5, 4)))
    assert committee.answers == 32
    assert committee.passes == pytest.approx(2 * 8 * (1 + 25 / 16))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"units": "dn"}, "units"),
        ({"legend": Legend("x", (LandClass(1, "Land", "#000000"),))}, "classes"),
        (
            {"legend": Legend("x", (LandClass(2, "Water", "#000000"),
                                    LandClass(1, "Land", "#000000")))},
            "1 Land and 2 Water",
        ),
    ],
)  # fmt: skip
def test_models_that_do_not_go_together(changes, word):
    with pytest.raises(ModelError, match=word):
        joint_card([card("one"), card("two", **changes)])


def test_disagreement_is_where_models_differ():
    one, two = (ConstantModel(scores, card=card("c")) for scores in ((0.9, 0.1), (0.1, 0.9)))
    batch = random_batch(one.card, (4, 4))
    assert isinstance(batch, Batch)
    mean, apart = CommitteeSegmenter([one, two]).weigh(batch)
    assert mean == pytest.approx(0.5)
    assert apart.min() > 0.5
    alike = CommitteeSegmenter([one, one], symmetries="flips").answer(batch, ("disagreement",))
    assert not alike.layers["disagreement"].any()


FIXED = card("one-size", stride=4, reach=8, margin=8, fixed=True)


@pytest.mark.parametrize("others", [[], [card("any", stride=8, reach=12, margin=16)]])
def test_one_size_becomes_the_size_of_all(others):
    for cards in ([FIXED, *others], [*others, FIXED]):
        joint = joint_card(cards)
        assert joint.fixed
        assert (joint.size, joint.margin) == (64, 16 if others else 8)
    assert not joint_card([card("any"), card("other")]).fixed


@pytest.mark.parametrize(
    ("others", "scales", "said"),
    [
        ([], (Fraction(1), Fraction(3, 4)), "scales: model one-size takes chips of 64 px only"),
        ([replace(FIXED, name="two", size=128)], (Fraction(1),), "two of 128 px only"),
        ([card("six", stride=6, size=96)], (Fraction(1),), "need multiples of 12 px"),
        (
            [card("far", reach=40, margin=40, stride=8, size=128)],
            (Fraction(1),),
            "need margins of 40 px, which would leave nothing",
        ),
    ],
)
def test_one_size_that_does_not_go_with_the_rest(others, scales, said):
    with pytest.raises(ModelError, match=said):
        joint_card([FIXED, *others], scales)
