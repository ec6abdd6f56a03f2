"""Small labelled scenes, for tests of training."""

import json
import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32629"
AT = Affine(10, 0, 560_000, 0, -10, 5_900_000)


def write(path: Path, bands, *, crs=UTM, transform=AT, **more) -> Path:
    """A raster ``(band, y, x)``."""
    bands = np.asarray(bands)
    bands = bands[None] if bands.ndim == 2 else bands
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "PNG" if path.suffix == ".png" else "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
    }
    if crs is not None:
        profile |= {"crs": crs, "transform": transform}
    with warnings.catch_warnings():
        # Some are meant not to say where they lie.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile | more) as out:
            out.write(bands)
    return path


def patches(shape, classes=2, side=16, seed=0):
    """Class indices ``(y, x)`` in squares."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (-(-shape[0] // side), -(-shape[1] // side)))
    return np.kron(coarse, np.ones((side, side), int))[: shape[0], : shape[1]].astype(np.uint8)


def image_of(labels, seed=0):
    """Two uint8 bands that tell classes apart, with noise."""
    rng = np.random.default_rng(seed)
    means = np.array([[60, 160], [150, 70], [100, 200], [200, 210]])
    values = means[labels].transpose(2, 0, 1) + rng.normal(0, 8, (2, *labels.shape))
    return values.clip(0, 255).astype(np.uint8)


def polygons(path: Path, features, crs=UTM) -> Path:
    """GeoJSON of ``(properties, [x0, y0, x1, y1])``, in any CRS."""
    found = [
        {
            "type": "Feature",
            "properties": properties,
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]],
            },
        }
        for properties, (x0, y0, x1, y1) in features
    ]
    name = f"urn:ogc:def:crs:{crs.replace(':', '::')}"
    data = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": name}},
        "features": found,
    }
    path.write_text(json.dumps(data))
    return path


def workflow(images: Path, labels, **more):
    """A training workflow of two classes as plain data."""
    data = {
        "geoseg": 1,
        "name": "patches",
        "model": {
            "bands": ["red", "nir"],
            "units": "dn",
            "legend": [{"value": 1, "name": "Low"}, {"value": 2, "name": "High"}],
            "architecture": {"name": "geoseg-unet", "widths": [4, 8, 8, 8], "depths": [1, 1, 1]},
        },
        "data": [
            {
                "name": "patches",
                "input": {
                    "kind": "files",
                    "path": str(images),
                    "bands": ["red", "nir"],
                    "units": "dn",
                },
                "labels": labels,
            }
        ],
        "sampling": {"size": 32, "batch": 4},
        "split": {"block": "64 px", "gap": "32 px"},
        "training": {"steps": 40, "validate_every": 20, "checkpoint_every": 10,
                     "learning_rate": 0.02, "ema": 0.9, "device": "cpu", "threads": 1},
    }  # fmt: skip
    return data | more
