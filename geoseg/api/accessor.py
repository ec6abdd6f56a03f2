"""``.geoseg`` on xarray's arrays and datasets; what it does is loaded when it is first used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from geoseg.legend import Legend
    from geoseg.scene import Units


def register() -> None:
    """Give it to xarray, once; xarray is loaded by this."""
    import xarray as xr  # noqa: PLC0415 (import geoseg takes milliseconds)

    if getattr(xr.DataArray, "geoseg", None) is not ArrayAccessor:
        xr.register_dataarray_accessor("geoseg")(ArrayAccessor)  # type: ignore[no-untyped-call]  # xarray's own
        xr.register_dataset_accessor("geoseg")(DatasetAccessor)  # type: ignore[no-untyped-call]  # xarray's own


class _Predicting(ABC):
    """What arrays of bands and datasets of bands share."""

    _data: xr.DataArray | xr.Dataset

    def predict(
        self,
        model: str | Mapping[str, Any] = "landcover-s2",
        *,
        bands: Sequence[str] = (),
        units: Units | None = None,
        scale: float | None = None,
        offset: float | None = None,
        valid: Any = None,
        layers: Sequence[str] = (),
        tiling: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Map the scene, lazily: nothing is read or predicted before the result is computed.

        The same classes and percents, to the bit, as a run with ``engine: torch`` over a file that
        holds the same numbers; chunks of the array decide nothing, and leave no seams.

        Args:
            model: Name or path of a model, or what a workflow may say of it: ``{"name":
                "landcover-s2", "tta": "flips"}``.
            bands: Common names (blue, red, nir, ...) of all bands in their order, where neither
                the coordinate of the bands nor ``long_name`` nor the names of variables say them.
            units: ``"reflectance"`` or ``"dn"``, where the attribute ``units`` says neither.
            scale: ``reflectance = number * scale + offset``; else ``scale_factor`` of the array.
            offset: Else ``add_offset`` of the array.
            valid: True where pixels ``(y, x)`` may be used, e.g. ``scl.isin([4, 5, 6])``; nodata
                (``_FillValue``, ``nodata``) and NaN never are.
            layers: More to be told of each pixel: entropy, margin, disagreement, probabilities.
            tiling: As in a workflow: size, margin, block, seams, weights, min_valid.

        Returns:
            ``classes`` and ``confidence``, as :func:`geoseg.open` gives them, and the layers; along
            ``time``, where the array has that dimension. A chunk is a block of the model's lattice.

        Raises:
            InputError: The array does not say where it lies, or a setting is wrong.
            SceneError: A band is missing or has no name.
            ModelError: There is no such model, or the numbers are in other units than it needs.
        """
        from geoseg.api.array_scene import Numbers  # noqa: PLC0415 (only where it is used)
        from geoseg.api.arrays import predict_array  # noqa: PLC0415 (only where it is used)

        return predict_array(
            self._data,
            model=model,
            bands=bands,
            numbers=Numbers(units, scale, offset),
            valid=valid,
            layers=layers,
            tiling=tiling,
        )

    @property
    @abstractmethod
    def _classes(self) -> xr.DataArray:
        """The array of class codes."""

    @property
    def legend(self) -> Legend:
        """Codes, names and colours of the classes.

        Raises:
            InputError: There are no classes, or they have no legend.
        """
        from geoseg.api.arrays import legend_in  # noqa: PLC0415 (only where it is used)

        return legend_in(self._classes)

    def areas(self) -> pd.DataFrame:
        """Pixels, hectares on the ellipsoid and share of each class; computes the classes.

        Counted from pixels: biased by the map's errors, see ``geoseg evaluate areas``.

        Raises:
            InputError: There are no classes, they have no legend, or do not say where they lie.
        """
        from geoseg.api.arrays import areas_of  # noqa: PLC0415 (only where it is used)

        return areas_of(self._classes)

    def rgba(self) -> xr.DataArray:
        """The classes in their colours, ``(y, x, rgba)`` uint8, nodata transparent; lazy.

        ``ds.geoseg.rgba().plot.imshow(rgb="rgba")`` draws them.

        Raises:
            InputError: There are no classes, or they have no legend.
        """
        from geoseg.api.arrays import colors_of  # noqa: PLC0415 (only where it is used)

        return colors_of(self._classes)


class ArrayAccessor(_Predicting):
    """``.geoseg`` of a DataArray: of bands ``(band, y, x)``, or of classes ``(y, x)``."""

    def __init__(self, data: xr.DataArray) -> None:
        self._data = self._array = data

    @property
    def _classes(self) -> xr.DataArray:
        return self._array


class DatasetAccessor(_Predicting):
    """``.geoseg`` of a Dataset: of bands, or of products."""

    def __init__(self, data: xr.Dataset) -> None:
        self._data = self._dataset = data

    @property
    def _classes(self) -> xr.DataArray:
        from geoseg.api.arrays import classes_in  # noqa: PLC0415 (only where it is used)

        return classes_in(self._dataset)
