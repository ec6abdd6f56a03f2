"""The synthetic scene that comes with geoseg: described without writing it, written in blocks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.atomic import replacing, write_bytes
from geoseg.legend import LANDCOVER
from geoseg.ops.synthetic.spectra import BANDS
from geoseg.scene import Band, Mask, Scene

if TYPE_CHECKING:
    from geoseg.ops.synthetic import Observation

OnBlock = Callable[[int, int], None]
"""Called with the number of blocks done and of all."""

SCENE_FILE, SCL_FILE, TRUTH_FILE, DONE_FILE = "scene.tif", "scl.tif", "truth.tif", "sample.json"
SCALE, OFFSET, NODATA = 0.0001, -0.1, 0
_FILES = (SCENE_FILE, SCL_FILE, TRUTH_FILE)
HIDDEN: Final = (0, 1, 3, 8, 9, 10)
DILATE: Final = 2  # pixels: the classification misses the rim of clouds
ACQUIRED: Final = {
    1: datetime(2024, 6, 15, 11, 54, 11, tzinfo=UTC),
    2: datetime(2024, 9, 13, 11, 54, 11, tzinfo=UTC),
}

_FORMAT = 2  # raise it whenever the same spec gives other pixels
_TILE = 512
_CACHE = 64  # bytes: tiles are written as they come, for GDAL's order depends on what it keeps
_MAX_SIDE = 1_000_000
_TAG = "GEOSEG_SAMPLE"
_EPSG, _NORTH, _WEST = 32629, 5_900_000.0, 560_000.0
# Colours of the scene classification as in ESA's Level-2A product definition.
_SCL_COLORS: Final = {
    0: (0, 0, 0, 0),
    3: (100, 50, 0, 255),
    4: (0, 160, 0, 255),
    5: (255, 230, 90, 255),
    6: (0, 0, 255, 255),
    8: (192, 192, 192, 255),
    9: (255, 255, 255, 255),
    10: (100, 200, 255, 255),
}


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """Which synthetic scene: the same spec gives the same bytes.

    ``size`` is rows and columns of 10 m. ``date`` 1 is in June; 2 is in September of the same
    year, with other crops, new clearings in the forest and a flood. ``cloud_cover`` is the share
    of the scene under clouds, where there are ``clouds``; with a ``swath_edge`` its lower right
    is nodata.
    """

    size: tuple[int, int] = (1024, 1024)
    seed: int = 7
    date: Literal[1, 2] = 1
    clouds: bool = True
    cloud_cover: float = 0.06
    swath_edge: bool = True

    def __post_init__(self) -> None:
        if not all(1 <= n <= _MAX_SIDE for n in self.size):
            shown = " x ".join(map(str, self.size))
            raise InputError(f"sample: size {shown} is not within 1..{_MAX_SIDE} pixels a side")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"sample: seed {self.seed} is not within 0..{2**32 - 1}")
        if self.date not in ACQUIRED:
            raise InputError(f"sample: no date {self.date!r}; there are 1 (June) and 2 (September)")
        if not 0 <= self.cloud_cover <= 0.95:
            raise InputError(f"sample: cloud cover {self.cloud_cover} is not within 0..0.95")

    @property
    def id(self) -> str:
        """What the scene is called."""
        rows, cols = self.size
        return f"sample-{self.seed}-{rows}x{cols}-{ACQUIRED[self.date]:%Y%m%d}"

    @property
    def grid(self) -> GeoBox:
        """Pixels of 10 m in UTM zone 29 north."""
        return GeoBox(self.size, Affine(10, 0, _WEST, 0, -10, _NORTH), f"EPSG:{_EPSG}")

    @property
    def mask_grid(self) -> GeoBox:
        """Pixels of 20 m from the same corner; the last ones may reach beyond the scene."""
        rows, cols = ((n + 1) // 2 for n in self.size)
        return GeoBox((rows, cols), Affine(20, 0, _WEST, 0, -20, _NORTH), f"EPSG:{_EPSG}")

    def observe(self, window: Window) -> Observation:
        """Any window of the scene, made on the spot; equals the crop of the whole, bit for bit."""
        from geoseg.ops.synthetic import observe  # noqa: PLC0415 (numba, for who writes it)

        return observe(
            window,
            size=self.size,
            seed=self.seed,
            season=self.date - 1,
            cloud_cover=self.cloud_cover if self.clouds else 0.0,
            swath_edge=self.swath_edge,
        )


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A synthetic scene and the folder in which its files lie, or will lie."""

    spec: SampleSpec
    directory: Path

    def scenes(self, wanted: Sequence[str] = ()) -> list[Scene]:
        """The scene with its bands ``wanted`` (all without), written or not; reads nothing.

        Raises:
            SceneError: A wanted band is not among blue, green, red, nir, swir16, swir22.
        """
        spec = self.spec
        uri, scl = str(Path(self.directory, SCENE_FILE)), str(Path(self.directory, SCL_FILE))
        bands = {
            name: Band(uri, k, spec.grid, "uint16", SCALE, OFFSET, NODATA)
            for k, name in enumerate(BANDS, start=1)
        }
        mask = Mask(scl, 1, spec.mask_grid, "values", HIDDEN, DILATE)
        scene = Scene(spec.id, bands, spec.grid, (mask,), ACQUIRED[spec.date], "reflectance")
        if not wanted:
            return [scene]
        chosen = dict(zip(wanted, scene.select(wanted), strict=True))
        return [Scene(scene.id, chosen, scene.grid, scene.masks, scene.acquired, scene.units)]

    def write(
        self,
        directory: Path | None = None,
        *,
        progress: OnBlock | None = None,
        workers: int = 2,
    ) -> Path:
        """Write the files, unless they are there: see :func:`write_sample`."""
        target = self.directory if directory is None else directory
        return write_sample(self.spec, target, on_block=progress, workers=workers)


def write_sample(
    spec: SampleSpec, directory: str | Path, *, on_block: OnBlock | None = None, workers: int = 2
) -> Path:
    """Write scene, mask, true classes and a STAC catalog of a synthetic scene into a folder.

    Nothing is done where the same sample lies there already. Memory does not grow with the scene:
    it is made in blocks of 512 pixels, on ``workers`` threads.

    Args:
        spec: Which scene.
        directory: Where ``scene.tif``, ``scl.tif``, ``truth.tif``, ``catalog.json`` go;
            ``sample.json``, which says that they are complete, comes last.
        on_block: Called after every block with the number done and of all.
        workers: Threads that make pixels.

    Returns:
        The path of ``scene.tif``.

    Raises:
        InputError: The folder holds a ``scene.tif`` that is no sample.
        ProductError: The folder cannot be written to.
    """
    folder = Path(directory)
    scene = folder / SCENE_FILE
    if is_complete(spec, folder):
        return scene
    _refuse_strangers(scene)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise ProductError(f"{folder}: cannot write here: {error.strerror}") from error
    _write_files(spec, folder, on_block, workers)
    return scene


def is_complete(spec: SampleSpec, directory: str | Path) -> bool:
    """Whether all files of ``spec`` lie in ``directory``, by its ``sample.json`` and their sizes."""
    try:
        done = json.loads(Path(directory, DONE_FILE).read_text("utf-8"))
        sizes = {name: Path(directory, name).stat().st_size for name in _FILES}
        return bool(
            done["format"] == _FORMAT
            and done["spec"] == _as_json(spec)
            and {name: done["files"][name]["bytes"] for name in _FILES} == sizes
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _as_json(spec: SampleSpec) -> dict[str, Any]:
    return {**asdict(spec), "size": list(spec.size)}


def _refuse_strangers(scene: Path) -> None:
    """Never write over somebody's own scene."""
    if not scene.exists():
        return
    try:
        with rasterio.open(scene) as found:
            ours = _TAG in found.tags()
    except RasterioError:
        ours = False
    if not ours:
        raise InputError(
            f"{scene}: lies there already and is no sample of geoseg's; choose another directory"
        )


def _write_files(spec: SampleSpec, folder: Path, on_block: OnBlock | None, workers: int) -> None:
    """All rasters beside their places, then into them; what they mean; and that they are done."""
    from geoseg.io.rat import write_rat  # noqa: PLC0415 (most samples are there already)
    from geoseg.io.sample_item import write_catalog  # noqa: PLC0415 (as above)

    settings = {"GDAL_CACHEMAX": _CACHE, "GDAL_NUM_THREADS": "1"}
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**settings))
        paths = [stack.enter_context(replacing(folder / n)) for n in _FILES]
        try:
            _write_rasters(spec, paths, on_block, workers)
        except RasterioError as error:
            raise ProductError(f"{folder}: the sample cannot be written: {error}") from error
    write_rat(folder / TRUTH_FILE, LANDCOVER)
    write_catalog(spec.id, spec.grid, spec.mask_grid, ACQUIRED[spec.date], folder)
    _write_done(spec, folder)


def _write_rasters(
    spec: SampleSpec, paths: Sequence[Path], on_block: OnBlock | None, workers: int
) -> None:
    windows = list(blocks(spec.size, _TILE))
    with (
        _open_scene(paths[0], spec) as scene,
        _open_codes(paths[1], spec, spec.mask_grid, _TILE // 2) as scl,
        _open_codes(paths[2], spec, spec.grid, _TILE) as truth,
    ):
        _describe_codes(scl, truth)
        for k, (window, made) in enumerate(_in_order(spec, windows, workers), start=1):
            scene.write(made.dn, window=_raster_window(window))
            truth.write(made.classes, 1, window=_raster_window(window))
            half = Window(
                window.y0 // 2, window.x0 // 2, *((n + 1) // 2 for n in (window.y1, window.x1))
            )
            scl.write(made.scl, 1, window=_raster_window(half))
            if on_block is not None:
                on_block(k, len(windows))


def _in_order(
    spec: SampleSpec, windows: Sequence[Window], workers: int
) -> Iterator[tuple[Window, Observation]]:
    """Blocks made on threads, in order, with no more than two a thread waiting."""
    rest = iter(windows)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        waiting: deque[tuple[Window, Future[Observation]]] = deque()
        for window in islice(rest, 2 * max(1, workers)):
            waiting.append((window, pool.submit(spec.observe, window)))
        while waiting:
            window, future = waiting.popleft()
            made = future.result()
            for following in islice(rest, 1):
                waiting.append((following, pool.submit(spec.observe, following)))
            yield window, made


def _raster_window(window: Window) -> RasterWindow:
    rows, cols = window.shape
    return RasterWindow(window.x0, window.y0, cols, rows)


def _open_scene(path: Path, spec: SampleSpec) -> DatasetWriter:
    scene = _create(path, spec, spec.grid, _TILE, count=len(BANDS), dtype="uint16", predictor=2)
    scene.scales, scene.offsets = [SCALE] * len(BANDS), [OFFSET] * len(BANDS)
    scene.units = ["reflectance"] * len(BANDS)
    from geoseg.io.sample_item import describe_bands  # noqa: PLC0415 (pystac, for who writes it)

    describe_bands(scene)
    known = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}
    scene.colorinterp = [known.get(name, ColorInterp.undefined) for name in BANDS]
    return scene


def _open_codes(path: Path, spec: SampleSpec, grid: GeoBox, tile: int) -> DatasetWriter:
    nodata = LANDCOVER.nodata if path.name == TRUTH_FILE else 0
    return _create(path, spec, grid, tile, count=1, dtype="uint8", nodata=nodata)


def _create(path: Path, spec: SampleSpec, grid: GeoBox, tile: int, **profile: Any) -> DatasetWriter:
    rows, cols = grid.shape
    made = rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=cols,
        crs=f"EPSG:{_EPSG}",
        transform=grid.affine,
        tiled=True,
        blockxsize=tile,
        blockysize=tile,
        compress="deflate",
        interleave="pixel",
        bigtiff="if_safer",
        **{"nodata": NODATA, **profile},
    )
    made.update_tags(
        TIFFTAG_DATETIME=f"{ACQUIRED[spec.date]:%Y:%m:%d %H:%M:%S}",
        TIFFTAG_IMAGEDESCRIPTION="Synthetic scene made by geoseg; no place on Earth",
        **{_TAG: spec.id},
    )
    return made


def _describe_codes(scl: DatasetWriter, truth: DatasetWriter) -> None:
    scl.set_band_description(1, "scene classification")
    scl.write_colormap(1, {**dict.fromkeys(range(256), (0, 0, 0, 255)), **_SCL_COLORS})
    truth.set_band_description(1, LANDCOVER.name)
    colors = {c.value: (*c.rgb, 255) for c in LANDCOVER.classes}
    colors[LANDCOVER.nodata] = (0, 0, 0, 0)
    truth.write_colormap(1, {**dict.fromkeys(range(256), (0, 0, 0, 255)), **colors})


def _write_done(spec: SampleSpec, folder: Path) -> None:
    files = {}
    for name in _FILES:
        with (folder / name).open("rb") as file:
            digest = sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            files[name] = {"bytes": file.tell(), "sha256": digest.hexdigest()}
    about = {"format": _FORMAT, "spec": _as_json(spec), "files": files}
    write_bytes(folder / DONE_FILE, (json.dumps(about, indent=2) + "\n").encode())
