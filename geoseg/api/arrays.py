"""Products as xarray datasets, and models over xarrays: lazily, block by block."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import xarray as xr

from geoseg.api import accessor, fingerprint
from geoseg.api.array_blocks import BlockModel, ChunkAreas
from geoseg.api.array_scene import NAME, ArrayScene, Numbers, array_scene, placed
from geoseg.api.planning import choose_models, wish_of
from geoseg.errors import InputError
from geoseg.io.cf import (
    CONVENTIONS,
    GRID_MAPPING,
    class_attributes,
    decoded,
    is_flagged,
    legend_of,
    percent_attributes,
)
from geoseg.io.product_backend import ProductBackend
from geoseg.io.product_dataset import grid_of, is_product
from geoseg.legend import Legend
from geoseg.models.committee import Committee
from geoseg.models.engines import Runtime
from geoseg.models.registry import check_scene
from geoseg.ops.layers import LAYERS
from geoseg.plan import Resources, ScenePlan, plan_scene
from geoseg.run.lazily import by_blocks, per_chunk
from geoseg.run.resources import available_cores
from geoseg.steps.segment import plane_names
from geoseg.workflow import Workflow, from_data

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.models.engines import Precision

accessor.register()

_TIME: Final = "time"
_BLOCK: Final = 1024
"""Pixels that the side of a block has at most, where a chip's part is no larger."""

Chunks = int | Mapping[str, int | str] | str | None


def open_products(product: str | os.PathLike[str], *, chunks: Chunks = "tiles") -> xr.Dataset:
    """Products as a dataset of Dask arrays: reads headers now, pixels when they are computed.

    Args:
        product: A folder of products, a folder of such folders (scenes of one grid, which become one
            dataset along ``time``), a STAC item, a GeoTIFF or its address, or a Zarr group.
        chunks: As of :func:`xarray.open_dataset`: ``{}`` or the default are whole tiles of the
            files, None is lazy without Dask.

    Returns:
        ``classes``: codes (uint8) with ``flag_values``, ``flag_meanings`` and ``flag_colors``;
        ``confidence`` and other percents: shares of 1, NaN where there is none; other rasters
        by their names, NaN where they are nodata. With the CRS in ``spatial_ref``, ``time`` where
        there is one moment, and in the attributes where all of it comes from.

    Raises:
        InputError: There is no such product.
        SceneError: A raster cannot be opened.
        RemoteError: A server does not deliver it now.
    """
    name = os.fspath(product)
    folder = Path(name)
    if folder.is_dir() and not is_product(folder):
        below = sorted(one for one in folder.iterdir() if one.is_dir() and is_product(one))
        if below:
            return _by_time(folder, [_opened(str(one), chunks) for one in below])
    return _opened(name, chunks)


open = open_products  # noqa: A001 (called geoseg.open)


def _opened(product: str, chunks: Chunks) -> xr.Dataset:
    wanted = {} if chunks == "tiles" else chunks
    return xr.open_dataset(product, engine=ProductBackend, chunks=wanted)


def _by_time(folder: Path, parts: list[xr.Dataset]) -> xr.Dataset:
    """Scenes of one grid, oldest first.

    Raises:
        InputError: They lie on different grids, or have no dates.
    """
    first = parts[0]
    for part in parts:
        source = Path(str(part.encoding["source"]))
        if _TIME not in part.coords:
            raise InputError(f"{folder}: {source.name} has no date; open each by itself")
        if grid_of(part) != grid_of(first):
            other = Path(str(first.encoding["source"]))
            raise InputError(
                f"{folder}: {source.name} and {other.name} lie on different grids; open each by "
                f"itself"
            )
    ordered = sorted(parts, key=lambda part: part.time.item())
    return xr.concat(
        ordered,
        _TIME,
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop_conflicts",
    )


def predict_array(
    data: xr.DataArray | xr.Dataset,
    *,
    model: str | Mapping[str, Any],
    bands: Sequence[str] = (),
    numbers: Numbers | None = None,
    valid: Any = None,
    layers: Sequence[str] = (),
    tiling: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """See :meth:`geoseg.api.accessor.ArrayAccessor.predict`."""
    if _TIME in data.dims:
        return _each_time(
            data, valid, model=model, bands=bands, numbers=numbers, layers=layers, tiling=tiling
        )
    workflow = _workflow(model, layers, tiling)
    committee = choose_models(workflow.model)
    seen = array_scene(data, committee.card, bands=bands, numbers=numbers or Numbers())
    for warning in check_scene(committee.card, seen.scene):
        warnings.warn(warning, stacklevel=4)
    plan = _plan(seen, workflow, committee)
    runtime, device = _runtime(workflow), workflow.model.device
    key = [repr(plan), repr(committee), str(runtime), device]
    work = BlockModel(plan, committee, runtime, device, fingerprint.digest(key))
    arrays = [seen.pixels, *([] if valid is None else [_mask(valid, seen)])]
    names = ["classes", "confidence", *plane_names(plan.layers, plan.card.legend.values)]
    made = by_blocks(arrays, work, block=plan.block, seen=work.seen, planes=len(names))
    return _mapped(made, names, seen, plan)


def _each_time(data: xr.DataArray | xr.Dataset, valid: Any, **settings: Any) -> xr.Dataset:
    """The maps of several dates, each by itself, along ``time``."""
    found = []
    for number in range(data.sizes[_TIME]):
        dated = isinstance(valid, xr.DataArray) and _TIME in valid.dims
        mask = valid.isel({_TIME: number}) if dated else valid
        found.append(predict_array(data.isel({_TIME: number}), valid=mask, **settings))
    return xr.concat(found, _TIME, data_vars="all", coords="minimal", compat="override")


def areas_of(classes: xr.DataArray) -> pd.DataFrame:
    """See :meth:`geoseg.api.accessor.ArrayAccessor.areas`."""
    import pandas as pd  # noqa: PLC0415 (xarray has it anyway)

    legend = legend_of(classes.attrs)
    grid, dims = placed(classes)
    if classes.ndim != 2 or classes.dtype != np.uint8:
        raise InputError(
            f"{NAME} has {classes.dtype} and the dimensions {', '.join(map(str, classes.dims))}; "
            f"wanted are class codes (uint8) of rows and columns"
        )
    whole = classes.transpose(*dims)
    chunked = whole if whole.chunks else whole.chunk(dict.fromkeys(dims, 1024))
    sums = per_chunk(chunked.data, ChunkAreas(grid), 512).sum(axis=(0, 1)).compute()
    codes = list(legend.values)
    hectares = sums[256:][codes] / 1e4
    rows = {
        "name": legend.names,
        "pixels": sums[:256][codes].astype(np.int64),
        "area_ha": hectares,
        "share": hectares / max(hectares.sum(), np.finfo(float).tiny),
    }
    return pd.DataFrame(rows, index=pd.Index(codes, name="class"))


def colors_of(classes: xr.DataArray) -> xr.DataArray:
    """See :meth:`geoseg.api.accessor.ArrayAccessor.rgba`."""
    legend = legend_of(classes.attrs)
    table = np.zeros((256, 4), np.uint8)
    for one in legend.classes:
        table[one.value] = (*one.rgb, 255)
    drawn: xr.DataArray = xr.apply_ufunc(
        lambda codes: table[codes],
        classes,
        output_core_dims=[["rgba"]],
        dask="parallelized",
        output_dtypes=[np.uint8],
        dask_gufunc_kwargs={"output_sizes": {"rgba": 4}},
    )
    return drawn


def classes_in(dataset: xr.Dataset) -> xr.DataArray:
    """The classes of a dataset of products.

    Raises:
        InputError: It has none, or several.
    """
    flagged = [str(name) for name, one in dataset.data_vars.items() if is_flagged(one)]
    if "classes" in flagged or len(flagged) == 1:
        return dataset["classes" if "classes" in flagged else flagged[0]]
    there = ", ".join(flagged) if flagged else f"none of {', '.join(map(str, dataset.data_vars))}"
    raise InputError(
        f"the dataset has {len(flagged)} variables of classes ({there}); take one of them first"
    )


def legend_in(classes: xr.DataArray) -> Legend:
    """The legend of classes."""
    return legend_of(classes.attrs, NAME if classes.name is None else f"array {classes.name}")


def _workflow(
    model: str | Mapping[str, Any], layers: Sequence[str], tiling: Mapping[str, Any] | None
) -> Workflow:
    """Settings with the checks and words of workflows."""
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown:
        raise InputError(f"layers: there is no {unknown[0]!r}; wanted: {', '.join(LAYERS)}")
    data = {
        "geoseg": 1,
        "name": "predict",
        "input": {"kind": "files", "path": "array"},
        "model": dict(model) if isinstance(model, Mapping) else model,
        "tiling": dict(tiling or {}),
        "output": {"directory": "array", "raster": dict.fromkeys(layers, True), "vector": False},
    }
    return from_data(data, name="predict()")


def _plan(seen: ArrayScene, workflow: Workflow, committee: Committee) -> ScenePlan:
    """Blocks enough for all cores, and so small that a look at a corner takes seconds."""
    wish, resources = wish_of(workflow, committee, gpu=False), Resources(available_cores(), 1)
    plan = plan_scene(seen.scene, committee.card, wish, resources)
    lattice = plan.lattice
    whole = any(lattice.padded(side) <= lattice.size for side in plan.shape)
    if wish.block is not None or plan.block <= _BLOCK or whole:
        return plan
    block = max(1, _BLOCK // lattice.stride) * lattice.stride
    return plan_scene(seen.scene, committee.card, replace(wish, block=block), resources)


def _runtime(workflow: Workflow) -> Runtime:
    """What computes: torch in fp32 where nothing is asked for, as in runs of small scenes."""
    engine, numbers = workflow.model.engine, workflow.model.numbers
    if numbers == "int8":
        raise InputError("predict(): int8 is calibrated on a scene's files; take bf16, or a run")
    return Runtime(
        "torch" if engine == "auto" else engine,
        cast("Precision", "fp32" if numbers == "auto" else numbers),
    )


def _mask(valid: Any, seen: ArrayScene) -> Any:
    """Pixels that may be used, as a Dask array ``(y, x)``."""
    shape, dims = tuple(seen.scene.grid.shape), seen.dims
    if not isinstance(valid, xr.DataArray):
        valid = xr.DataArray(valid, dims=dims)
    fits = set(valid.dims) == set(dims) and valid.transpose(*dims).shape == shape
    if not fits or valid.dtype != np.bool_:
        raise InputError(
            f"valid: is {valid.dtype} with {dict(valid.sizes)}; wanted are true and false for "
            f"each pixel, {dict(zip(dims, shape, strict=True))}"
        )
    placed_one = valid.transpose(*dims)
    return (placed_one if placed_one.chunks else placed_one.chunk(1024)).data


def _mapped(made: Any, names: list[str], seen: ArrayScene, plan: ScenePlan) -> xr.Dataset:
    """Planes as variables, like those of products that are opened."""
    card, dims = plan.card, seen.dims
    mapping = {"grid_mapping": GRID_MAPPING}
    variables = {
        "classes": xr.Variable(dims, made[0], class_attributes(card.legend) | mapping),
        "confidence": xr.Variable(dims, made[1], percent_attributes("confidence") | mapping),
    }
    coords = dict(seen.coords)
    for layer in plan.layers:
        attributes = percent_attributes(layer) | mapping
        at = [names.index(one) for one in plane_names([layer], card.legend.values)]
        if layer != "probabilities":
            variables[layer] = xr.Variable(dims, made[at[0]], attributes)
            continue
        coords["class"] = xr.DataArray(np.array(card.legend.names, object), dims="class")
        variables[layer] = xr.Variable(("class", *dims), made[at[0] : at[-1] + 1], attributes)
    version = fingerprint.software()["geoseg"]
    told = {
        "Conventions": CONVENTIONS,
        "source": f"geoseg {version}",
        "lineage": f"Segmented with {card.name} {card.version}",
        "geoseg_version": version,
        "geoseg_model": f"{card.name} {card.version}",
        "geoseg_model_sha256": card.sha256 or "",
    }
    return decoded(xr.Dataset(variables, coords, told))
