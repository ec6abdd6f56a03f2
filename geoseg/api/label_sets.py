"""Label sets, for callers who do not care about the floors below."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.api.evaluation import Truth
    from geoseg.api.label_agreement import LabelAgreement, Terms
    from geoseg.api.label_check import LabelCheck, Wishes
    from geoseg.io.label_files import LabelFile
    from geoseg.run.reporter import Reporter

__all__ = ["check_labels", "compare_labels"]


def check_labels(
    parts: Mapping[str, Sequence[LabelFile]],
    wishes: Wishes | None = None,
    *,
    reporter: Reporter | None = None,
    workers: int | None = None,
) -> LabelCheck:
    """Look label files over: what they hold, what is wrong with them, and their content hash.

    Args:
        parts: Label files by the part of a split that they belong to; ``{"": files}`` where there
            is none. Two parts or more are compared with one another.
        wishes: Images, legend and limits.
        reporter: Told of progress; nobody is, without it.
        workers: Threads; one a core without it.

    Raises:
        InputError: A file cannot be read, or a limit is none.
    """
    from geoseg.api.label_check import Wishes, check_label_files  # noqa: PLC0415 (numba, rasterio)
    from geoseg.run.reporter import Silent  # noqa: PLC0415 (with its progress)

    return check_label_files(
        dict(parts), wishes or Wishes(), reporter=reporter or Silent(), workers=workers
    )


def compare_labels(
    one: str | os.PathLike[str] | Truth,
    other: str | os.PathLike[str] | Truth,
    terms: Terms | None = None,
    *,
    reporter: Reporter | None = None,
    workers: int | None = None,
) -> LabelAgreement:
    """Compare two label sets of one place, neither of which is the truth.

    Args:
        one: A raster of class codes, or polygons.
        other: Likewise; laid onto the grid of ``one``, or of the image of ``terms``.
        terms: Tolerance, mapping, and where to write how they differ.
        reporter: Told of progress; nobody is, without it.
        workers: Threads; one a core without it.

    Raises:
        InputError: A file cannot be used, or the two have nothing in common.
    """
    from geoseg.api.evaluation import Truth  # noqa: PLC0415 (rasterio and the like)
    from geoseg.api.label_agreement import Terms, agree  # noqa: PLC0415 (numba)
    from geoseg.run.reporter import Silent  # noqa: PLC0415 (with its progress)

    return agree(
        one if isinstance(one, Truth) else Truth(Path(one)),
        other if isinstance(other, Truth) else Truth(Path(other)),
        terms or Terms(),
        reporter=reporter or Silent(),
        workers=workers,
    )
