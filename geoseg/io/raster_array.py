"""Rasters that need no place on earth, as arrays: training chips and the like."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.errors import SceneError


def read_array(path: Path) -> NDArray[Any]:
    """All bands of a file ``(band, y, x)``, georeferenced or not.

    Raises:
        SceneError: It cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                return np.asarray(source.read())
    except RasterioError as error:
        raise SceneError(f"{path}: cannot be read: {error}") from error
