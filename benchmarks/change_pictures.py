"""Change on real pairs of dates: tables, and pictures to be looked at.

    GEOSEG_DATA=../shared/data python benchmarks/change_pictures.py /tmp/change-pictures

- Global Mangrove Watch of Florida, 1996 and 2020, two published maps: with edges kept, lost and
  gained pixels must be those of the published layer of change (83,863 and 24,010).
- LCMAP of Hawaii: the map of 2019 is that of 2020, but for the pixels whose published change says
  what they were; with edges kept, the transitions must be the published ones. The published
  confidence of 2020 lets edges be weighed.
- Pucallpa, Landsat, 1985 to 2000 and 2000 to 2020: water, forest and open land by thresholds.
- A fire in Australia, Sentinel-2, before and after: burnt or not by thresholds.

Thresholds are no model: what they call a class is told by the picture, not by a score.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.api.change import Known, change
from geoseg.io.rat import write_rat
from geoseg.legend import LandClass, Legend

LCMAP = Legend(
    "lcmap",
    tuple(
        LandClass(code, name, color)
        for code, name, color in (
            (1, "Developed", "#ff0000"), (2, "Cropland", "#ffff64"), (3, "Grass and shrub", "#ffb432"),
            (4, "Tree cover", "#286400"), (5, "Water", "#0046c8"), (6, "Wetland", "#00dc82"),
            (7, "Ice and snow", "#d2d2d2"), (8, "Barren", "#c8b496"),
        )
    ),
    0,
)  # fmt: skip
LAND = Legend(
    "land",
    (
        LandClass(1, "Water", "#1a5bab"),
        LandClass(2, "Forest", "#358221"),
        LandClass(3, "Open land", "#ffdb5c"),
    ),
    0,
)
FIRE = Legend("fire", (LandClass(1, "Unburnt", "#a7d282"), LandClass(2, "Burnt", "#4d2c19")), 0)


def write(path: Path, codes: NDArray[np.uint8], like: Path, legend: Legend, day: str) -> Path:
    with rasterio.open(like) as source:
        profile: dict[str, Any] = {"crs": source.crs, "transform": source.transform}
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"height": codes.shape[0], "width": codes.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", nodata=0, compress="deflate", **shape, **profile) as file:  # fmt: skip
        file.write(codes, 1)
        file.update_tags(ACQUISITIONDATETIME=f"{day}T00:00:00Z")
    write_rat(path, legend)
    return path


def tell(what: str, before: Path, after: Path, out: Path, **settings: Any) -> dict[str, Any]:
    record = change(before, after, out, **settings).record
    left = {key: round(value, 1) for key, value in record["left_out_ha"].items() if value}
    print(f"\n{what}: {record['changed_ha']:,.1f} ha of change, left out {left or 'nothing'}")
    print(f"  shift {record['shift']['pixels']} px; {record['polygons']['count']} polygons")
    for row in record["transitions"][:5]:
        print(f"  {row['ha']:>12,.1f} ha {row['pixels']:>8,} px  {row['from']} to {row['to']}")
    for warning in record["warnings"]:
        print(f"  {warning}")
    return record


def mangroves(data: Path, out: Path) -> None:
    one, two = sorted((data / "mangrove_watch_4500px").glob("*_v3.tif"))
    for edges in ("keep", "weigh"):
        tell(f"mangroves, edges {edges}", one, two, out / f"mangroves-{edges}", edges=edges, background="Other")  # fmt: skip


def lcmap(data: Path, out: Path) -> None:
    files = {path.stem.split("_")[-1]: path for path in (data / "lcmap_5000px").glob("*.tif")}
    with rasterio.open(files["LCPRI"]) as file:
        later = file.read(1)
    with rasterio.open(files["LCACHG"]) as file:
        changed = file.read(1)
    moved = (changed > 9) & (changed % 10 == later)
    earlier = np.where(moved, changed // 10, later).astype(np.uint8)
    print(f"\nLCMAP: {int((earlier != later).sum()):,} pixels of published change")
    one = write(out / "lcmap" / "2019.tif", earlier, files["LCPRI"], LCMAP, "2019-07-01")
    two = write(out / "lcmap" / "2020.tif", later, files["LCPRI"], LCMAP, "2020-07-01")
    known = Known(after_confidence=files["LCPCONF"])
    for edges in ("keep", "weigh", "erode"):
        tell(f"Hawaii, edges {edges}", one, two, out / f"lcmap-{edges}", edges=edges, known=known)


def pucallpa(data: Path, out: Path) -> None:
    maps = {}
    for year in (1985, 2000, 2020):
        like = data / "landsat_pucallpa_timeseries" / f"{year}.tif"
        with rasterio.open(like) as file:
            swir, nir = file.read([1, 2]).astype(np.int16)
        codes = np.full(swir.shape, 3, np.uint8)
        codes[(swir < 118) & (nir > 120)] = 2
        codes[(nir < 90) & (swir < 60)] = 1
        codes[(swir == 0) & (nir == 0)] = 0
        maps[year] = write(out / "pucallpa" / f"{year}.tif", codes, like, LAND, f"{year}-07-01")
    for one, two in ((1985, 2000), (2000, 2020)):
        for edges, area in (("keep", 0), ("weigh", "5 ha")):
            name = f"pucallpa-{one}-{two}-{edges}"
            tell(name, maps[one], maps[two], out / name, edges=edges, min_area=area)


def fire(data: Path, out: Path) -> None:
    folder, maps = data / "australia_fire_s2_pair", []
    for day in ("2018-12-01", "2019-01-05"):
        like = folder / f"{day}_B08.tif"
        with rasterio.open(like) as file:
            nir = file.read(1).astype(np.float64)
        with rasterio.open(folder / f"{day}_B11.tif") as file:
            swir = file.read(1).astype(np.float64)
        codes = np.where((nir < 0.6 * swir) & (nir < 8200), 2, 1).astype(np.uint8)
        maps.append(write(out / "fire" / f"{day}.tif", codes, like, FIRE, day))
    for edges, area in (("keep", 0), ("weigh", "0.5 ha")):
        tell(f"fire, edges {edges}", *maps, out / f"fire-{edges}", edges=edges, min_area=area, to=["Burnt"])  # fmt: skip


def main() -> None:
    data, out = Path(os.environ["GEOSEG_DATA"]) / "visible", Path(sys.argv[1])
    for show in (mangroves, lcmap, pucallpa, fire):
        show(data, out)


if __name__ == "__main__":
    main()
