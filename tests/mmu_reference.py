"""The rule of minimum mapping units, followed to the letter on the whole raster: slow and plain."""

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from polygon_reference import MIRRORED, NORTH_UP, OBLONG, ROTATED
from scipy import ndimage

from geoseg.grid import Window
from geoseg.ops.arcs import pad
from geoseg.ops.metric import measure_grid
from geoseg.ops.regions import find_regions

CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool)
GRIDS = {
    "utm": (NORTH_UP, "EPSG:32633"),
    "oblong": (OBLONG, "EPSG:32633"),
    "rotated": (ROTATED, "EPSG:32633"),
    "mirrored": (MIRRORED, "EPSG:32633"),
    "geographic": (Affine(0.01, 0, 10, 0, -0.01, 71), "EPSG:4326"),
    "planar": (Affine(1, 0, 0, 0, -3, 0), None),
}


def grid_called(name, shape):
    transform, crs = GRIDS[name]
    return GeoBox(shape, transform, crs)


def pixel_areas(grid):
    """Counts of area of each pixel ``(y, x)``."""
    metric = measure_grid(grid)
    height, width = metric.shape
    # On a chequerboard each pixel is a region.
    board = (np.indices(metric.shape).sum(0) % 2).astype(np.int16)
    window = Window(0, 0, height, width)
    _, regions = find_regions(
        pad(board, window, window), None, metric.row_density(0, height), (0, 0, height, width)
    )
    return regions["area"].reshape(metric.shape)


def sides(grid):
    """Length of the sides between pixels beside each other and above each other, in thousandths."""
    metric = measure_grid(grid)
    rows, cols = metric.density.shape
    assert rows % 2
    assert cols % 2
    down, right = metric.steps[rows // 2, cols // 2]
    return round(1000 * down / min(down, right)), round(1000 * right / min(down, right))


def regions_of(codes, nodata, structure):
    """Labels from 1 ``(y, x)``, 0 for nodata, in the order of their first pixels."""
    labels, count = np.zeros(codes.shape, int), 0
    for code in np.unique(codes[codes != nodata]):
        found, n = ndimage.label(codes == code, structure)
        labels[found > 0] = found[found > 0] + count
        count += n
    return labels, count


def reference(array, grid, unit, nodata, probabilities=None):
    """The raster that the rule leads to, how many regions were given away, isolated, filled."""
    codes, given, areas, lengths = array.copy(), 0, pixel_areas(grid), sides(grid)
    while True:
        found, isolated = _smallest(codes, areas, lengths, unit, nodata, measure_grid(grid).unit)
        if found is None:
            break
        inside, borders = found
        if unit.by == "border":
            worth = borders
        else:
            layers, of = probabilities
            worth = {c: layers[of.index(c)][inside].sum() if c in of else 0 for c in borders}
        codes[inside] = min(borders, key=lambda c: (-worth[c], c))
        given += 1
    filled = 0
    rim = np.ones(codes.shape, bool)
    rim[1:-1, 1:-1] = False
    for code, limit in unit.fill_holes.items():
        dual = SQUARE if unit.connectivity == 4 else CROSS
        labels, count = ndimage.label(codes != code, dual)
        for label in range(1, count + 1):
            inside = labels == label
            size = np.count_nonzero(inside)
            if unit.unit == "m2":
                size = int(areas[inside].sum()) * measure_grid(grid).unit
            if not (inside & rim).any() and size <= limit:
                codes[inside] = code
                filled += 1
    return codes, given, isolated, filled


def _smallest(codes, areas, lengths, unit, nodata, count):
    """The region that goes next and its borders by class; and how many have nowhere to go."""
    labels, n = regions_of(codes, nodata, CROSS if unit.connectivity == 4 else SQUARE)
    keys = [[0, codes.size, 0, 0] for _ in range(n + 1)]
    for at, (label, area, code) in enumerate(zip(labels.flat, areas.flat, codes.flat, strict=True)):
        area_of, first, pixels, _ = keys[label]
        keys[label] = [area_of + int(area), min(first, at), pixels + 1, int(code)]
    small = []
    for label, (area, first, pixels, code) in list(enumerate(keys))[1:]:
        size = pixels if unit.unit == "px" else area * count
        if size < unit.areas.get(code, unit.default):
            small.append((area, first, label))
    isolated = 0
    for _, _, label in sorted(small):
        inside = labels == label
        borders = _borders(inside, codes, nodata, unit, lengths)
        if borders:
            return (inside, borders), isolated
        isolated += 1
    return None, isolated


def _borders(inside, codes, nodata, unit, lengths):
    """Length of the border with each class that touches."""
    around = np.pad(np.where(inside, nodata, codes), 1, constant_values=nodata)
    rows, cols = np.nonzero(inside)
    borders = {}
    for di, dj in [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]:
        if di and dj and unit.connectivity == 4:
            continue
        length = 0 if di and dj else lengths[1] if di else lengths[0]
        for code in around[rows + di + 1, cols + dj + 1].tolist():
            if code != nodata:
                borders[code] = borders.get(code, 0) + length
    return borders
