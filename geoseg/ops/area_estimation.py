"""Areas and accuracies of a map, estimated from a stratified sample with standard errors.

Sources: Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land
change", doi:10.1016/j.rse.2014.02.015 (numbers of equations below are theirs); Cochran 1977,
"Sampling Techniques", 3rd edition, eq. 5.25 (sample size).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.accuracy import Floats, ratio

CONFIDENCE = 0.95

_LEAST = 2  # a variance takes two points
_EXACT = 1e-9  # 640.0000000001 points are 640
_NEAR = 1e-5  # and so are 639.99999 that were found by bisection


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Numbers with their standard errors, of one shape; NaN where a sample cannot tell."""

    value: Floats
    error: Floats

    def interval(self, confidence: float = CONFIDENCE) -> Floats:
        """Half the width of the confidence interval: ``value`` plus or minus this."""
        return self.error * deviate(confidence)


@dataclass(frozen=True, slots=True, eq=False)
class AreaEstimates:
    """What a sample says of a map.

    Attributes:
        proportions: ``(mapped class, true class)`` estimated share of the whole area.
        overall: Overall accuracy, a scalar.
        users: ``(class,)`` user's accuracy.
        producers: ``(class,)`` producer's accuracy.
        mapped: ``(class,)`` areas as counted from the map.
        areas: ``(class,)`` areas adjusted for the map's errors, in the unit of ``mapped``.
    """

    proportions: Floats
    overall: Estimate
    users: Estimate
    producers: Estimate
    mapped: Floats
    areas: Estimate


def deviate(confidence: float) -> float:
    """How many standard errors an interval of ``confidence`` reaches to either side.

    Raises:
        InputError: It does not lie between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence: found {confidence:g}; it lies between 0 and 1, like 0.95")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def estimate_areas(
    sample: NDArray[Any], mapped: Floats, census: NDArray[np.bool_] | None = None
) -> AreaEstimates:
    """The stratified estimator, with the mapped classes as strata.

    Args:
        sample: ``(mapped class, true class)`` points, square.
        mapped: ``(class,)`` area of each class on the map. A class that only the truth has is
            mapped with area 0 and no points.
        census: ``(class,)`` strata of which every pixel is in the sample: what is known of them
            is certain, even from one point. None without it.

    Raises:
        InputError: A mapped class has fewer than two points, or one that is not mapped has some.
    """
    n, area = sample.astype(np.float64), np.asarray(mapped, np.float64)
    points = n.sum(axis=1)
    certain = np.zeros(len(area), np.bool_) if census is None else census
    _check(points, area, certain)
    total = float(area.sum())
    weight = area / total
    # Rows of classes that are not mapped have no points, weigh nothing, and say nothing.
    share = np.nan_to_num(ratio(n, points[:, None]))
    spread = np.nan_to_num(ratio(share * (1 - share), points[:, None] - 1))
    spread[(points == 0) | certain] = 0.0
    proportions = weight[:, None] * share  # eq. 4
    true = proportions.sum(axis=0)  # eq. 9
    diagonal = np.diagonal(share)
    users = Estimate(
        np.where(points > 0, diagonal, nan),  # eq. 2
        np.where(points > 0, np.sqrt(np.diagonal(spread)), nan),  # eq. 6
    )
    overall = Estimate(
        np.asarray(np.trace(proportions)),  # eq. 1
        np.sqrt((weight**2 * np.diagonal(spread)).sum()),  # eq. 5
    )
    areas = Estimate(
        total * true,  # eq. 11
        total * np.sqrt((weight[:, None] ** 2 * spread).sum(axis=0)),  # eqs. 10 and 12
    )
    producers = _producers(proportions, spread, area, total)
    return AreaEstimates(proportions, overall, users, producers, area, areas)


def _producers(proportions: Floats, spread: Floats, area: Floats, total: float) -> Estimate:
    """Producer's accuracies, eqs. 3 and 7."""
    true = proportions.sum(axis=0)
    value = ratio(np.diagonal(proportions), true)
    known = np.nan_to_num(value)
    from_class = area**2 * (1 - known) ** 2 * np.diagonal(spread)
    elsewhere = area[:, None] ** 2 * spread
    np.fill_diagonal(elsewhere, 0.0)
    variance = from_class + known**2 * elsewhere.sum(axis=0)
    return Estimate(value, ratio(np.sqrt(variance), total * true))


def _check(points: Floats, area: Floats, certain: NDArray[np.bool_]) -> None:
    for index, (count, size) in enumerate(zip(points, area, strict=True)):
        if size > 0 and count < (1 if certain[index] else _LEAST):
            raise InputError(
                f"stratum {index} covers a part of the map but has {int(count)} points with a "
                f"reference; a standard error takes at least {_LEAST}"
            )
        if size <= 0 < count:
            raise InputError(f"stratum {index} has {int(count)} points, but covers no area")
    if not area.sum() > 0:
        raise InputError("there is no mapped area")


def sample_size(weights: Floats, users: Floats, standard_error: float, population: float) -> int:
    """Points that give overall accuracy a wished standard error, if accuracies are as expected.

    Args:
        weights: ``(stratum,)`` share of the area; they sum to 1.
        users: ``(stratum,)`` expected user's accuracies.
        standard_error: Of overall accuracy.
        population: Pixels of the map; the fewer there are, the fewer points it takes.

    Returns:
        The sample size of Cochran's eq. 5.25 (eq. 13 of Olofsson et al., who leave out the
        population as it is large), rounded up; not less than two a stratum.

    Raises:
        InputError: The standard error or an accuracy is out of range.
    """
    if not 0 < standard_error < 1:
        raise InputError(
            f"standard error: found {standard_error:g}; it lies between 0 and 1, like 0.01"
        )
    if not np.all((users > 0) & (users <= 1)):
        raise InputError(f"expected accuracy: found {users.min():g}; it lies between 0 and 1")
    deviation = np.sqrt(users * (1 - users))
    within = float((weights * deviation**2).sum())
    size = float((weights * deviation).sum()) ** 2 / (standard_error**2 + within / population)
    return max(ceil(size - _EXACT), _LEAST * len(weights))


def expected_errors(
    weights: Floats, users: Floats, points: NDArray[np.int64], pixels: NDArray[np.int64]
) -> tuple[float, Floats]:
    """Standard errors of overall and of user's accuracies that a sample will have.

    All ``(stratum,)``; 0 for strata of which every pixel is sampled, NaN for others of one point.
    """
    variance = ratio(users * (1 - users), points.astype(np.float64) - 1)
    variance = np.where(points >= pixels, 0.0, variance)
    return sqrt(float((weights**2 * variance).sum())), np.sqrt(variance)


def enough_points(
    weights: Floats,
    users: Floats,
    pixels: NDArray[np.int64],
    *,
    standard_error: float,
    equal: bool = False,
    minimum: int = 0,
) -> int:
    """The least total that gives overall accuracy a standard error, however it is shared out.

    :func:`sample_size` is for the best allocation; others, or minima, take some more.

    Raises:
        InputError: The standard error or an accuracy is out of range.
    """

    def error(total: int) -> float:
        points = allocate(total, weights, pixels, equal=equal, minimum=minimum)
        return expected_errors(weights, users, points, pixels)[0]

    low, most = sample_size(weights, users, standard_error, int(pixels.sum())), int(pixels.sum())
    if error(low) <= standard_error or low >= most:
        return min(low, most)
    high = min(2 * low, most)
    while high < most and not error(high) <= standard_error:
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= standard_error else (middle, high)
    return high


def allocate(
    total: int,
    weights: Floats,
    pixels: NDArray[np.int64],
    *,
    equal: bool = False,
    minimum: int = 0,
) -> NDArray[np.int64]:
    """Share points out to strata.

    Proportional to area, or equal; a stratum that would get fewer than ``minimum`` gets that, one
    that would get more points than it has pixels gets these, and the others share what is left,
    as in table 5 of Olofsson et al. The sum is ``total``, unless the minima take more or there
    are fewer pixels.

    Args:
        total: Points to share out.
        weights: ``(stratum,)`` share of the area.
        pixels: ``(stratum,)`` at least 1.
        equal: All strata alike, whatever their area.
        minimum: Least number of points of a stratum.
    """
    wish = np.full(len(weights), 1 / len(weights)) if equal else weights / weights.sum()
    least = np.minimum(pixels, max(minimum, 0))
    wanted = min(max(total, int(least.sum())), int(pixels.sum()))
    low, high = 0.0, 2.0 * float((pixels / wish).max())
    while high - low > 1e-13 * high:
        level = (low + high) / 2
        enough = np.clip(level * wish, least, pixels).sum() >= wanted
        low, high = (low, level) if enough else (level, high)
    return _rounded(np.clip(high * wish, least, pixels), wanted, pixels)


def _rounded(shares: Floats, total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers near ``shares`` that sum to ``total``: largest remainders, then first come."""
    whole = np.floor(shares + _NEAR).astype(np.int64)
    remainders = np.where(whole < most, shares - whole, -1.0)
    # Shares that are alike but for the last bits must not be told apart by those.
    order = np.argsort(-np.round(remainders, 6), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole
