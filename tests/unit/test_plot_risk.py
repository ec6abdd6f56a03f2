"""The rule of risk, row by row."""

import pytest

from geoseg.errors import InputError
from geoseg.ops.plot_risk import Risk, RiskRule, Seen
from geoseg.workflow.deforestation import PRESETS, preset_called

RULE = RiskRule()


@pytest.mark.parametrize(
    ("seen", "risk"),
    [
        # plot, observed, loss, confirmed, undated
        (Seen(10, 1.0, 0.0, 0.0, 0.0), Risk.NONE),
        (Seen(10, 1.0, 0.0099, 0.0099, 0.0), Risk.NONE),
        (Seen(10, 1.0, 0.01, 0.01, 0.0), Risk.LOW),
        (Seen(10, 1.0, 0.199, 0.199, 0.0), Risk.LOW),
        (Seen(10, 1.0, 0.2, 0.2, 0.0), Risk.HIGH),
        (Seen(10, 1.0, 5.0, 0.1, 0.0), Risk.LOW),  # much, but not confirmed
        (Seen(1, 1.0, 0.1, 0.1, 0.0), Risk.HIGH),  # a tenth of a small plot
        (Seen(1, 1.0, 0.09, 0.09, 0.0), Risk.LOW),
        (Seen(0.05, 1.0, 0.006, 0.006, 0.0), Risk.NONE),  # a tenth, but less than a pixel
        (Seen(10, 0.949, 0.0, 0.0, 0.0), Risk.UNKNOWN),
        (Seen(10, 0.95, 0.0, 0.0, 0.0), Risk.NONE),
        (Seen(10, 0.3, 0.2, 0.2, 0.0), Risk.HIGH),  # what was seen is enough
        (Seen(10, 0.3, 0.1, 0.1, 0.0), Risk.UNKNOWN),
        (Seen(10, 1.0, 0.1, 0.1, 0.01), Risk.UNKNOWN),
        (Seen(10, 1.0, 0.2, 0.2, 3.0), Risk.HIGH),
        (Seen(0, 1.0, 0.0, 0.0, 0.0), Risk.UNKNOWN),
        (None, Risk.UNKNOWN),
    ],
)
def test_the_rule_says(seen, risk):
    assert RULE.judge(seen) is risk


def test_its_words_have_its_numbers():
    words = " ".join(RiskRule(0.02, 0.3, 0.25, 0.8).sentences())
    for number in ("0.02 ha", "0.3 ha", "25%", "80%"):
        assert number in words


def test_presets_are_those_that_others_have_laid_down():
    eudr = preset_called("EUDR")
    assert str(eudr.cut_off) == "2020-12-31"
    assert (str(eudr.outline_above), eudr.decimals) == ("4 ha", 6)
    assert eudr.forest is not None
    assert (str(eudr.forest.min_area), eudr.forest.canopy_percent, eudr.forest.height_m) == (
        "0.5 ha",
        10,
        5,
    )
    assert str(PRESETS["radd"].min_area) == "0.2 ha"
    with pytest.raises(InputError, match="did you mean 'eudr'"):
        preset_called("eudrr")
