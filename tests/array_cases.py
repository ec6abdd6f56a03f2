"""A scene for xarray, and arrays that lack something."""

import dask
import numpy as np
import xarray as xr
from packages import BANDS
from rasters import write

OPENS = """
import sys, xarray as xr
assert "geoseg" in xr.backends.list_engines()
assert "geoseg.io.product_dataset" not in sys.modules, "who opens other files waits for none of it"
found = xr.open_dataset(sys.argv[1], engine="geoseg")
print(found.classes.geoseg.legend.names[0], dict(found.sizes)["x"])
print(*xr.open_dataset(sys.argv[1], drop_variables="classes", chunks={}).data_vars)
print(xr.open_dataset(sys.argv[1] + "/item.json", engine="geoseg").classes.shape)
"""


def write_bands(path, shape):
    """Six bands of reflectance x 10000 with noise, nodata in a corner and in single pixels."""
    random = np.random.default_rng(3)
    coarse = random.integers(200, 4000, (6, 15, 18))
    values = np.kron(coarse, np.ones((15, 15)))[:, : shape[0], : shape[1]]
    values = (values + random.normal(0, 150, values.shape)).clip(1, 9000).astype(np.uint16)
    values[:, :60, :80] = 0
    values[2, random.integers(0, shape[0], 40), random.integers(0, shape[1], 40)] = 0
    scaled = {"scales": (1e-4,) * 6, "offsets": (0.0,) * 6}
    return write(path, values, nodata=0, names=BANDS, **scaled)


def unplaced(array):
    return array.drop_vars("spatial_ref")


def by_orbit(array):
    return xr.concat([array, array], "orbit")


def nameless(array):
    array = array.copy()
    del array.attrs["long_name"]
    return array


def predicted(array, model, **settings):
    return array.geoseg.predict(
        model, **{"units": "reflectance", "tiling": {"size": 128}, **settings}
    )


def same(found, wanted, names=("classes", "confidence")):
    found, wanted = dask.compute(found[list(names)], wanted)
    for name in names:
        np.testing.assert_array_equal(found[name], wanted[name])
