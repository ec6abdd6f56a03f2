"""Between the land and the sensor: clouds, their shadows, cirrus, haze and noise; and the SCL."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry
from geoseg.ops.synthetic.lines import Field
from geoseg.ops.synthetic.noise import fbm, grain, positions, salt
from geoseg.ops.synthetic.spectra import BANDS

SCL_NODATA, SCL_SHADOW, SCL_VEGETATION, SCL_BARE, SCL_WATER = 0, 3, 4, 5, 6
SCL_CLOUD_MEDIUM, SCL_CLOUD_HIGH, SCL_CIRRUS = 8, 9, 10

_F0, _F1 = np.float32(0), np.float32(1)
# Reflectance of thick cloud and of thin cirrus, and path radiance left over by the correction.
_CLOUD: Final = np.array([0.78, 0.75, 0.74, 0.78, 0.46, 0.36], np.float32)
_CIRRUS: Final = np.array([0.34, 0.33, 0.33, 0.38, 0.30, 0.26], np.float32)
# What of the light of a shaded pixel comes from the blue sky.
_DIFFUSE: Final = np.array([0.42, 0.36, 0.31, 0.25, 0.17, 0.14], np.float32)
# Sentinel-2 MSI: about 1/SNR of 150 at the reference radiance (ESA, S2 MSI radiometric budget).
_NOISE: Final = np.array([0.0011, 0.0011, 0.0011, 0.0016, 0.0014, 0.0012], np.float32)
_LIGHT: Final = np.ascontiguousarray(np.stack([_CLOUD, _CIRRUS, _DIFFUSE, _NOISE], axis=1))
_THIN = np.float32(0.7)  # brightness of thin cloud, of that of thick cloud
# Where the shadow of a pixel lies, pixels: clouds at about 1200 m, sun of June and September.
SHADOW: Final = {0: (-66, -22), 1: (-118, -38)}


@dataclass(frozen=True, slots=True)
class Sky:
    """Opacity of cloud and cirrus and depth of shadow, each 0..1, ``(y, x)``."""

    cloud: Field
    cirrus: Field
    shadow: Field


@lru_cache(maxsize=16)
def cloud_level(size: tuple[int, int], seed: int, season: int, share: float) -> float:
    """The level of noise that ``share`` of the scene, or of its surroundings, lies above."""
    # Less than 6 km is no scene to a cloud: it may be clear, or overcast.
    spans = [max(n, 600) for n in size]
    rows, cols = (
        np.linspace((n - span) / 2, (n + span) / 2, 96).astype(np.float32)
        for n, span in zip(size, spans, strict=True)
    )
    ys, xs = (np.ascontiguousarray(a) for a in np.meshgrid(rows, cols, indexing="ij"))
    return float(np.quantile(_density(ys, xs, seed, season), 1 - share))


def sky_over(window: Window, size: tuple[int, int], seed: int, season: int, share: float) -> Sky:
    """What is above ``window`` when about ``share`` of the scene is clouded."""
    ys, xs = positions(window)
    if share <= 0:
        clear = np.zeros(window.shape, np.float32)
        return Sky(clear, clear, clear)
    level = np.float32(cloud_level(size, seed, season, share))
    dy, dx = SHADOW[season]
    # Shadows lie north-west of their clouds, so clouds are looked at beyond the south and east.
    rows, cols = window.shape
    beyond = positions(Window(window.y0, window.x0, window.y1 - dy, window.x1 - dx))
    clouds = _opacity(_density(*beyond, seed, season) - level)
    cloud, shadow = clouds[:rows, :cols], clouds[-dy:, -dx:]
    veil = fbm(
        xs * np.float32(0.35) + ys * np.float32(0.2), ys, salt(seed, f"cirrus {season}"),
        wave=260, octaves=5, gain=0.55,
    )  # fmt: skip
    cirrus = np.clip((veil - np.float32(1.55)) * np.float32(0.35), 0, np.float32(0.4))
    return Sky(cloud, cirrus, shadow)


def expose(surface: Field, sky: Sky, window: Window, seed: int) -> NDArray[np.uint16]:
    """DN ``(band, y, x)``: ``reflectance * 10000 + 1000``, as of processing baseline 04.00."""
    out = np.empty(surface.shape, np.uint16)
    above = np.stack([sky.cloud, sky.cirrus, sky.shadow])
    for b, name in enumerate(BANDS):
        noise = grain(window, salt(seed, f"sensor {name}"))
        _expose(surface[b], above, noise, _LIGHT[b], out[b])
    return out


def classify_scene(
    dn: NDArray[np.uint16], water: NDArray[np.bool_], sky: Sky, window: Window, seed: int
) -> NDArray[np.uint8]:
    """A scene classification at half the resolution, with the faults of a real one.

    Cloud edges are missed or overdone by a pixel or two, bright ground is now and then taken for
    cloud and dark ground for shadow. ``window`` starts and ends on even pixels.
    """
    half = Window(window.y0 // 2, window.x0 // 2, window.y1 // 2, window.x1 // 2)
    doubt = _F1 + np.float32(0.12) * grain(half, salt(seed, "scl doubt"))
    cloud, cirrus, shade = (_halve(a) * doubt for a in (sky.cloud, sky.cirrus, sky.shadow))
    blue, green, red, nir, swir = (
        (_halve(dn[b].astype(np.float32)) - 1000) / np.float32(10000) for b in range(5)
    )
    ndvi = (nir - red) / np.maximum(nir + red, np.float32(0.01))
    out = np.where(ndvi > 0.38, np.uint8(SCL_VEGETATION), np.uint8(SCL_BARE))
    out[(_halve(water.astype(np.float32)) > 0.5) | ((green > nir) & (swir < 0.03))] = SCL_WATER
    out[(shade > 0.32) & (nir < 0.24)] = SCL_SHADOW
    out[cirrus > 0.10] = SCL_CIRRUS
    out[(cloud > 0.22) | (blue > 0.34)] = SCL_CLOUD_MEDIUM
    out[cloud > 0.62] = SCL_CLOUD_HIGH
    out[(dn[0] == 0)[::2, ::2]] = SCL_NODATA
    return out


def _density(ys: Field, xs: Field, seed: int, season: int) -> Field:
    """Banks of cumulus: noise of many scales, gathered by a slow field."""
    gather = fbm(ys, xs, salt(seed, f"weather {season}"), wave=900, octaves=2)
    puff = fbm(ys, xs, salt(seed, f"cloud {season}"), wave=140, octaves=7, gain=0.56)
    return gather + np.float32(0.8) * puff


def _opacity(above: Field) -> Field:
    """Thin at the rim, opaque soon after."""
    t = np.clip((above + np.float32(0.15)) * np.float32(1.7), 0, 1)
    return np.asarray(t * t * (np.float32(3) - np.float32(2) * t), np.float32)


def _halve(values: Field) -> Field:
    top, low = values[::2], values[1::2]
    return (top[:, ::2] + top[:, 1::2] + low[:, ::2] + low[:, 1::2]) * np.float32(0.25)


@entry
def _expose(
    surface: Field, above: Field, noise: Field, light: Field, out: NDArray[np.uint16]
) -> None:
    white, thin, diffuse, sigma = light[0], light[1], light[2], light[3]
    h, w = surface.shape
    for i in range(h):
        for j in range(w):
            cloud, veil, shadow = above[0, i, j], above[1, i, j], above[2, i, j]
            s = surface[i, j] * (_F1 - shadow * (_F1 - diffuse))
            s += veil * (thin - s * np.float32(0.6))
            s += cloud * (white * (_THIN + (_F1 - _THIN) * cloud) - s)
            s += sigma * noise[i, j] * (np.float32(0.7) + s)
            dn = np.floor(s * np.float32(10000) + np.float32(1000.5))
            out[i, j] = np.uint16(min(np.float32(65535), max(_F1, dn)))
