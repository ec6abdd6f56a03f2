"""The rules that turn observations into alerts, their parameters, and where those come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import log

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError

EPOCH = date(1970, 1, 1)
"""Day 0 of all days here; uint16 reaches to June 2149. Day 0 itself stands for none."""

NONE, NODATA = 0, 255
FIRST, PROVISIONAL, CONFIRMED = 1, 2, 3
HIGH = 3  # added to the three above where confidence is high
FINISHED_LOW, FINISHED_HIGH = 7, 8
STATE_NAMES = {
    NONE: "No alert",
    1: "First, low confidence",
    2: "Provisional, low confidence",
    3: "Confirmed, low confidence",
    4: "First, high confidence",
    5: "Provisional, high confidence",
    6: "Confirmed, high confidence",
    7: "Confirmed, low confidence, finished",
    8: "Confirmed, high confidence, finished",
}
"""The states of OPERA's DIST products (github.com/opera-adt/dist-s1, layer GEN-DIST-STATUS)."""

NATS = 1_000_000  # log odds are whole millionths: sums of integers do not depend on the machine
SLACK = 1000  # millionths, for what is rounded: 0.25 and 0.9 and 0.25 make one half
MOST_ODDS = 9_210_000  # millionths: a probability of 0.9999
LONGEST_WINDOW = 8


@dataclass(frozen=True, slots=True)
class Common:
    """What both rules have.

    Attributes:
        flag: Percent of non-forest from which an observation speaks of loss. 50 as PNFmin in
            bayts (Reiche et al. 2015, doi:10.3390/rs70504973).
        high: Percent of non-forest that one observation of an alert must reach for the high states;
            DIST tells low from high by the largest anomaly, too.
        within: Days after the first detection in which an alert must be confirmed; else it is
            dropped. 90 as for RADD (Reiche et al. 2021, doi:10.1088/1748-9326/abd0a8).
        finish: Clear observations of forest in a row that end a confirmed alert; 2 as in DIST.
        settled: Clear observations of forest in a row that a pixel needs before it is watched. 0
            watches all pixels, which needs a map of where forest was to begin with.
    """

    flag: int = 50
    high: int = 85
    within: int = 90
    finish: int = 2
    settled: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.flag <= self.high <= 100:
            raise InputError(
                f"alerts: flag {self.flag} % and high {self.high} %: expected 1 <= flag <= high "
                f"<= 100"
            )
        if not 1 <= self.within <= 36_500 or not 1 <= self.finish <= 250:
            raise InputError(
                f"alerts: confirm within {self.within} days, finished after {self.finish}: expected "
                f"1 to 36500 days, and 1 to 250 observations"
            )
        if not 0 <= self.settled <= 250:
            raise InputError(f"alerts: {self.settled} observations of forest: expected 0 to 250")


@dataclass(frozen=True, slots=True)
class Bayes(Common):
    """Bayesian updating of the probability of change, as in bayts and RADD.

    An observation of at least ``flag`` percent non-forest is flagged; the probability of change
    starts as the posterior of the observation before it and this one, and is updated by each one
    that follows. The alert is confirmed when it reaches ``chi`` on an observation that speaks of
    loss, and dropped when it falls below one half.

    Source: Reiche et al. 2015, doi:10.3390/rs70504973, section 2.1; github.com/jreiche/bayts.

    Attributes:
        chi: Probability that confirms. 0.975 as for RADD's alerts of high confidence.
        weights: Percents that observations are held within (block weighting function), so that no
            single one decides; 10 and 90 as in bayts.
        start: Percent of non-forest before the first observation; 50 as in bayts.
    """

    chi: float = 0.975
    weights: tuple[int, int] = (10, 90)
    start: int = 50

    def __post_init__(self) -> None:
        Common.__post_init__(self)
        low, high = self.weights
        if not 0.5 < self.chi < 0.9999:
            raise InputError(f"alerts: chi {self.chi}: expected above 0.5 and below 0.9999")
        if not 1 <= low < 50 < high <= 99:
            raise InputError(f"alerts: weights {low} and {high}: expected 1..49 and 51..99 percent")
        if not 1 <= self.start <= 99:
            raise InputError(f"alerts: start {self.start}: expected 1 to 99 percent")

    def odds(self) -> NDArray[np.int32]:
        """Log odds of non-forest by percent ``(101,)``, in millionths, weights applied."""
        percent = np.clip(np.arange(101), *self.weights) / 100
        odds: NDArray[np.int32] = np.rint(NATS * np.log(percent / (1 - percent))).astype(np.int32)
        return odds

    def threshold(self) -> int:
        """Log odds of ``chi``."""
        return round(NATS * log(self.chi / (1 - self.chi)))


@dataclass(frozen=True, slots=True)
class Count(Common):
    """An alert is confirmed when ``k`` of the last ``n`` clear observations speak of loss.

    ``k=2, n=4, within=180`` is how GLAD's Landsat alerts are confirmed (Hansen et al. 2016,
    doi:10.1088/1748-9326/11/3/034008).
    """

    k: int = 2
    n: int = 3

    def __post_init__(self) -> None:
        Common.__post_init__(self)
        if not 1 <= self.k <= self.n <= LONGEST_WINDOW:
            raise InputError(
                f"alerts: {self.k} of {self.n} observations: expected 1 <= k <= n <= "
                f"{LONGEST_WINDOW}"
            )


Rule = Bayes | Count


def to_day(when: date) -> int:
    """Days since :data:`EPOCH`.

    Raises:
        InputError: The day does not fit into uint16.
    """
    day = (when - EPOCH).days
    if not 1 <= day <= np.iinfo(np.uint16).max:
        raise InputError(f"alerts: {when} does not lie within 1970-01-02 and 2149-06-06")
    return day


def to_date(day: int) -> date:
    """The date of a day since :data:`EPOCH`."""
    return date.fromordinal(EPOCH.toordinal() + int(day))
