"""What goes wrong in pyogrio's GDAL, which is not rasterio's."""

from __future__ import annotations

import pyarrow as pa
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, pa.ArrowException)
"""Its errors."""
