"""Products for ``xarray.open_dataset(..., engine="geoseg")``; what opens them is loaded when it does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint


class ProductBackend(BackendEntrypoint):
    """Opens products lazily: headers now, pixels when needed.

    xarray loads the backends of all packages as soon as it opens anything: this one must be light.
    """

    description = "Products of geoseg: folders, STAC items, GeoTIFFs, Zarr groups"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.Dataset:
        """See :func:`geoseg.io.product_dataset.open_product`."""
        from geoseg.io.product_dataset import open_product  # noqa: PLC0415 (see above)

        dataset = open_product(os.fspath(filename_or_obj))
        dropped = (
            [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        )
        return dataset.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Of what nobody else opens: folders with a map of classes."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return Path(filename_or_obj, "classes.tif").is_file()
