"""What the made-up landscape holds: classes, spectra, seasons, clouds; the same in every process."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label

from geoseg.grid import Window
from geoseg.legend import LANDCOVER
from geoseg.ops.synthetic import BANDS, COVERS, MATERIALS, NO_CLASS, Observation, observe

SIZE = (1024, 1024)
WATER, TREES, GRASS, CROPS, BUILT, BARE = LANDCOVER.values
SEEDS = (0, 7, 12, 2**32 - 1)


@cache
def scene(seed: int = 7, season: int = 0, cover: float = 0.0) -> Observation:
    return observe(
        Window(0, 0, *SIZE),
        size=SIZE,
        seed=seed,
        season=season,
        cloud_cover=cover,
        swath_edge=cover > 0,
    )


def reflectance(made: Observation) -> dict[str, np.ndarray]:
    values = made.dn.astype(np.float32) * 0.0001 - 0.1
    return dict(zip(BANDS, values, strict=True))


def ndvi(bands: dict[str, np.ndarray]) -> np.ndarray:
    return (bands["nir"] - bands["red"]) / (bands["nir"] + bands["red"])


@pytest.mark.parametrize("season", [0, 1])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_has_its_share(seed, season):
    shares = np.bincount(scene(seed, season).classes.ravel(), minlength=256) / (1024 * 1024)
    assert shares[list(LANDCOVER.values)].sum() == pytest.approx(1)
    assert (shares[list(LANDCOVER.values)] >= 0.01).all(), shares[:7]
    assert shares.max() < 0.55


def test_seeds_and_sizes_give_other_landscapes():
    assert (scene(7).classes != scene(12).classes).mean() > 0.3
    window = Window(0, 0, 256, 256)
    a, b = (observe(window, size=size, seed=7) for size in ((1024, 1024), (2048, 2048)))
    assert (a.dn != b.dn).any()


SEEN = """
from hashlib import sha256
from geoseg.grid import Window
from geoseg.ops.synthetic import observe
made = observe(Window(300, 301, 391, 338), size=(1024, 1024), seed=5, season=1, cloud_cover=0.3)
digest = sha256(made.dn.tobytes() + made.classes.tobytes() + made.scl.tobytes()).hexdigest()
"""


def test_another_process_makes_the_same():
    there = subprocess.run(
        [sys.executable, "-c", f"{SEEN}print(digest)"], check=True, capture_output=True, text=True
    )
    here: dict[str, str] = {}
    exec(SEEN, here)  # noqa: S102 - the very same lines
    assert there.stdout.strip() == here["digest"]


def test_samples_that_were_written_stay_valid():
    # If this changes on purpose, raise _FORMAT in geoseg/io/sample.py: old files are made anew.
    here: dict[str, str] = {}
    exec(SEEN, here)  # noqa: S102 - see above
    assert here["digest"] == "2368751265894ea144e467065a62e6f52bf29ebb24fe9dc47cf3f37f18f347ed"


@pytest.mark.parametrize("season", [0, 1])
def test_spectra_are_those_of_the_classes(season):
    made = scene(season=season)
    bands, classes = reflectance(made), made.classes
    median = {
        code: {name: float(np.median(band[classes == code])) for name, band in bands.items()}
        for code in LANDCOVER.values
    }
    index = ndvi(bands)
    assert np.median(index[classes == TREES]) > 0.6
    assert np.median(index[classes == BARE]) < 0.3
    assert np.median(index[classes == WATER]) < 0.1
    assert median[WATER]["nir"] < 0.08
    assert median[WATER]["swir16"] < 0.03
    assert median[TREES]["swir16"] < median[GRASS]["swir16"] < median[BARE]["swir16"]
    assert median[BARE]["red"] > 2 * median[TREES]["red"]
    assert 0.05 < median[BUILT]["blue"] < 0.25
    assert all(band.min() > -0.02 and band.max() < 1.0 for band in bands.values())


def test_fields_differ_and_change_with_the_season():
    june, september = scene(season=0), scene(season=1)
    fields = (june.classes == CROPS) & (september.classes == CROPS)
    before, after = ndvi(reflectance(june))[fields], ndvi(reflectance(september))[fields]
    assert before.std() > 0.15
    assert np.abs(before - after).mean() > 0.15
    woods = (june.classes == TREES) & (september.classes == TREES)
    drift = ndvi(reflectance(june))[woods] - ndvi(reflectance(september))[woods]
    assert np.abs(drift).mean() < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_only_forest_is_cleared_and_only_rivers_flood(seed):
    before, after = scene(seed, 0).classes, scene(seed, 1).classes
    changed = before != after
    assert set(np.unique(after[changed])) <= {BARE, WATER}
    cleared = changed & (after == BARE)
    assert cleared.any()
    assert (before[cleared] == TREES).all()
    flooded = changed & (after == WATER)
    assert flooded.any()
    away = distance_transform_edt(before != WATER)
    assert away[flooded].max() < 75


@pytest.mark.parametrize("seed", SEEDS)
def test_clearings_have_the_size_of_felled_compartments(seed):
    before, after = scene(seed, 0).classes, scene(seed, 1).classes
    parts, count = label((before != after) & (after == BARE), structure=np.ones((3, 3)))
    hectares = np.bincount(parts.ravel())[1:] / 100
    assert count >= 3
    # Streams, farms and the forest's rim cut slivers off some.
    assert hectares[hectares >= 0.5].sum() > 0.88 * hectares.sum()
    assert hectares.max() < 20


def test_clouds_hide_what_the_mask_says_they_hide():
    clear, cloudy = scene(cover=0.0), scene(cover=0.2)
    seen = cloudy.classes != NO_CLASS
    assert 0.9 < seen.mean() < 0.98
    np.testing.assert_array_equal(clear.classes[seen], cloudy.classes[seen])
    scl = np.kron(cloudy.scl, np.ones((2, 2), np.uint8))
    assert ((scl == 0) | seen).mean() > 0.998
    hidden = np.isin(scl, (3, 8, 9, 10)) & seen
    assert 0.15 < np.isin(scl, (8, 9))[seen].mean() < 0.3
    change = np.abs(cloudy.dn.astype(int) - clear.dn.astype(int)).max(axis=0) > 500
    assert hidden[change & seen].mean() > 0.85
    assert change[hidden].mean() > 0.85
    shadow = (scl == 3) & seen
    assert (cloudy.dn[3][shadow] < clear.dn[3][shadow]).mean() > 0.98


def test_a_clear_sky_is_clear():
    made = scene(cover=0.0)
    assert np.isin(made.scl, (4, 5, 6)).mean() > 0.999
    assert (made.dn > 0).all()


def test_reflectances_are_physical():
    for name, values in MATERIALS.items():
        assert len(values) == len(BANDS), name
        assert all(0 < v < 0.6 for v in values), name
    used = {m for cover in COVERS for m in (*cover.june, *cover.september)}
    assert used <= set(MATERIALS)
    assert {cover.code for cover in COVERS} == set(LANDCOVER.values)
