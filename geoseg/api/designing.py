"""Draw a stratified random sample from a map, as large as a wished standard error takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.scores import plain
from geoseg.api.strata import Strata, count_strata, windows
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.label_raster import LabelRaster
from geoseg.io.provenance import Provenance
from geoseg.io.sample_points import SamplePoints, write_sample_points
from geoseg.ops.accuracy import Floats
from geoseg.ops.area_estimation import allocate, enough_points, expected_errors
from geoseg.ops.matching import Side
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.sampling import Drawn, draw, merge, shuffled
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

MOST = 100_000
"""Points of a sample at most: somebody has to look at each of them."""

EXPECTED = 0.85
"""User's accuracy of classes of which nothing is said."""

_NUMBERS = 64  # bits of a seed


@dataclass(frozen=True, slots=True)
class Design:
    """How a sample is to be.

    Attributes:
        standard_error: Of overall accuracy, as a share (0.01 is one percent).
        points: How many, whatever the standard error then is; None: as many as that takes.
        expected: User's accuracies by class that are guessed at; ``*`` for all others,
            0.85 without it.
        allocation: ``proportional`` to the classes' areas, or ``equal``.
        minimum: Points that the rarest class gets at least (50 to 100 are usual).
        seed: The same seed, the same points.
        ignore: Classes that are no part of what is to be judged.
    """

    standard_error: float = 0.01
    points: int | None = None
    expected: Mapping[str, float] = field(default_factory=dict)
    allocation: str = "proportional"
    minimum: int = 50
    seed: int = 0
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.allocation not in ("proportional", "equal"):
            raise InputError(f"allocation: found {self.allocation!r}; proportional or equal")
        if self.points is not None and not 2 <= self.points <= MOST:
            raise InputError(f"points: found {self.points}; expected 2 to {MOST:,}")
        if not 0 <= self.minimum <= MOST:
            raise InputError(f"minimum: found {self.minimum}; expected 0 to {MOST:,}")
        if not 0 <= self.seed < 2 ** (_NUMBERS - 2):
            raise InputError(f"seed: found {self.seed}; expected 0 to 2^{_NUMBERS - 2} - 1")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A sample that was drawn; arrays are by stratum.

    Attributes:
        path: Where the points are.
        strata: The map's classes.
        points: How many of each.
        expected: User's accuracies that were guessed at.
        standard_error: That overall accuracy will have, if these are right.
        users_errors: And that the user's accuracies will have.
    """

    raster: Path
    path: Path
    strata: Strata
    points: NDArray[np.int64]
    expected: Floats
    standard_error: float
    users_errors: Floats

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it."""
        s = self.strata
        return {
            "raster": str(self.raster),
            "path": str(self.path),
            "points": int(self.points.sum()),
            "expected_standard_error": plain(self.standard_error),
            "strata": [
                {
                    "code": s.codes[i],
                    "name": s.names[i],
                    "pixels": int(s.pixels[i]),
                    "area_ha": float(s.areas[i]) / 1e4,
                    "share": float(s.weights[i]),
                    "points": int(self.points[i]),
                    "expected_users_accuracy": float(self.expected[i]),
                    "expected_standard_error": plain(self.users_errors[i]),
                }
                for i in range(len(s.codes))
            ],
        }


def draw_sample(raster: Path, out: Path, design: Design, *, reporter: Reporter) -> Sample:
    """See :func:`geoseg.api.design_sample`."""
    if out.suffix != ".gpkg":
        raise InputError(f"{out}: write to a file that ends in .gpkg")
    if out.exists() and (out.is_dir() or out.samefile(raster)):
        raise InputError(f"{out}: is {'a folder' if out.is_dir() else 'the raster itself'}")
    with closing(LabelRaster(raster)) as labels:
        metric = measure_grid(labels.grid)
        strata = count_strata(labels, metric, design.ignore, reporter)
        expected = _expected(Side(str(raster), labels.names), strata, design.expected)
        points = _points(strata, expected, design)
        wanted = dict(zip(strata.codes, points.tolist(), strict=True))
        drawn = _drawn(labels, metric, wanted, design.seed, reporter)
        write_sample_points(
            out,
            _ordered(drawn, labels, strata, design.seed),
            labels.grid,
            classes=tuple(dict.fromkeys((*labels.names.values(), *strata.names))),
            tags=_provenance(raster, design).document(),
        )
    overall, users = expected_errors(strata.weights, expected, points, strata.pixels)
    return Sample(raster, out, strata, points, expected, overall, users)


def _provenance(raster: Path, design: Design) -> Provenance:
    (known,) = fingerprint.inputs([str(raster)])
    inputs = [{**known, "href": raster.name}]
    return Provenance("sample", inputs, asdict(design), fingerprint.software())


def _points(strata: Strata, expected: Floats, design: Design) -> NDArray[np.int64]:
    equal, minimum = design.allocation == "equal", max(design.minimum, 2)
    total = design.points
    if total is None:
        total = enough_points(
            strata.weights,
            expected,
            strata.pixels,
            standard_error=design.standard_error,
            equal=equal,
            minimum=minimum,
        )
    points = allocate(total, strata.weights, strata.pixels, equal=equal, minimum=minimum)
    if points.sum() > MOST:
        raise InputError(
            f"standard error: {design.standard_error:g} takes {points.sum():,} points, more than "
            f"{MOST:,}; wish for a larger one"
        )
    return points


def _expected(side: Side, strata: Strata, given: Mapping[str, float]) -> Floats:
    """User's accuracies by stratum."""
    values = np.full(len(strata.codes), given.get("*", EXPECTED))
    for text, value in given.items():
        if not 0 < value <= 1:
            raise InputError(f"expected: accuracy {value:g} of {text!r} is not within 0 to 1")
        if text != "*":
            code = side.find(text, "expected")
            values[[c == code for c in strata.codes]] = value
    return values


def _drawn(
    labels: LabelRaster,
    metric: Metric,
    wanted: Mapping[int, int],
    seed: int,
    reporter: Reporter,
) -> dict[int, Drawn]:
    total: dict[int, Drawn] = {}

    def work(window: Window) -> dict[int, Drawn]:
        return draw(labels.codes(window), window, metric, wanted, seed)

    for some in each_block(work, windows(labels), name="draw", reporter=reporter):
        total = merge(total, some, wanted)
    return total


def _ordered(
    drawn: Mapping[int, Drawn], labels: LabelRaster, strata: Strata, seed: int
) -> SamplePoints:
    """All strata mixed: who looks at points must not know which class is next, and may stop."""
    place = np.concatenate([drawn[code].place for code in strata.codes])
    code = np.repeat(strata.codes, [len(drawn[c].place) for c in strata.codes])
    order = shuffled(place, seed)
    names = dict(zip(strata.codes, strata.names, strict=True))
    return SamplePoints(
        np.column_stack(np.divmod(place[order], int(labels.grid.shape[1]))),
        code[order],
        [names[int(c)] for c in code[order]],
    )
