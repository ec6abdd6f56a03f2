"""Options of pyogrio's GDAL (not rasterio's) for as long as a file is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, pa.ArrowException)
"""What goes wrong in pyogrio."""

_SETTINGS = threading.Lock()  # they belong to the process


@contextmanager
def gdal_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Set options for a while, one writer at a time."""
    with _SETTINGS:
        before = {key: pyogrio.get_gdal_config_option(key) for key in settings}
        pyogrio.set_gdal_config_options(dict(settings))
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)
