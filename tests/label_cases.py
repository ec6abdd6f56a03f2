"""Labels with known faults, and what a check finds in them."""

import geopandas
import rasterio
import shapely
from rasters import UTM, write


def kinds(found, level=None):
    """Findings of a check by what they are."""
    return {f["what"]: f for f in found["findings"] if level in (None, f["level"])}


def read(path):
    """Values and profile of a raster."""
    with rasterio.open(path) as file:
        return file.read(1), file.profile


def rewrite(path, values, folder, **changes):
    """The truth's file with other numbers, and its names."""
    profile = read(folder / "truth.tif")[1] | changes
    place = {"transform": profile["transform"], "crs": profile["crs"].to_string()}
    write(path, values, nodata=profile["nodata"], **place)


def polygons(path, crs=UTM):
    """Two fields with an overlap, a sliver, a bow tie, a spelling and a field without a label."""
    box = shapely.box
    shapes = [
        box(0, 0, 100, 100), box(90, 0, 200, 100), box(300, 0, 301, 200),
        shapely.Polygon([(400, 0), (450, 50), (450, 0), (400, 50)]), box(500, 0, 560, 60),
        box(600, 0, 650, 50),
    ]  # fmt: skip
    names = ["Water", "Trees", "Trees", "Crops", "water ", None]
    moved = [shapely.affinity.translate(s, 561_000, 5_898_000) for s in shapes]
    frame = geopandas.GeoDataFrame({"class": names}, geometry=moved, crs=UTM)
    frame.to_crs(crs).to_file(path)
