"""A commented workflow to start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from geoseg.api.places import check_folder
from geoseg.errors import InputError
from geoseg.io.archive import archive_names
from geoseg.io.atomic import write_bytes
from geoseg.models.registry import check_classes, find
from geoseg.workflow import loads

_FILES = """\
input:
  kind: files
  path: ${scene}          # patterns like images/*.tif, or a Sentinel-2 .SAFE folder
  # bands: [${bands}]   # common names in file order, where the files do not say
  ${units}    # what scale and offset lead to: reflectance (0 to 1) or dn
  # scale: 0.0001         # reflectance = number * scale + offset
  # offset: 0"""

_STAC = """\
input:
  kind: stac
  catalog: ${catalog}
  # time: {last: 14d}     # or 2024-06-01/2024-06-30
  # max_cloud: 60         # percent
  # mask: {method: scl, dilate: 20 m}"""

_SAMPLE = """\
input:
  kind: sample            # a synthetic scene; for your own: kind: files, path: images/*.tif
  size: 1024"""

_WORKFLOW = """\
# A geoseg workflow. Check it with `geoseg validate`, see what it would do with `geoseg plan`,
# do it with `geoseg run`. All keys: `geoseg schema`.
geoseg: 1
name: ${name}
${input}
model: ${model}           # `geoseg models list` knows more
# model: {name: ${model}, tta: flips}   # average mirrored views: surer, four times slower
# postprocess: [{step: sieve, min_area: 400 m2}]   # or majority, open, close, fill_holes, smooth
# area: {file: area.gpkg} # only this part of the scenes
output:
  directory: ${output}
  # raster: {entropy: true, margin: true}   # how sure the model is, beside confidence
${vector}
# cluster: {workers: 2, memory: 4 GB}
"""

_POLYGONS = """\
  vector:
    ${classes}         # names of the classes to outline; all without it
    min_area: ${min_area}        # leave out smaller polygons, e.g. 0.5 ha
    formats: [gpkg, geoparquet]"""

_NO_POLYGONS = "  vector: false           # polygons of all classes without this line"


@dataclass(frozen=True, slots=True)
class Start:
    """What a workflow begins with.

    Attributes:
        scene: Files of the scenes: a path or a pattern.
        catalog: A STAC catalog, instead of files; a synthetic scene without either.
        model: Name or folder.
        output: Folder of the products; below ``products`` without it.
        polygons: Whether classes are outlined.
        classes: Names of those that are; all, where there are none.
        min_area: Of polygons, with its unit.
        units: What the numbers of files are: reflectance or dn; as they say themselves without it.
    """

    scene: str = ""
    catalog: str = ""
    model: str = "landcover-s2"
    output: str = ""
    polygons: bool = True
    classes: tuple[str, ...] = ()
    min_area: str = "0 m2"
    units: str = ""


def is_catalog(place: str) -> bool:
    """Whether scenes at ``place`` are in a STAC catalog: an address, a JSON file, a known archive."""
    low = place.partition("?")[0].lower()
    if place in archive_names() or low.endswith((".json", ".geojson", ".parquet")):
        return True
    return low.startswith(("http://", "https://")) and not low.endswith((".tif", ".tiff", ".jp2"))


def write_workflow(path: Path, start: Start) -> None:
    """Write a workflow that is valid as it is.

    Raises:
        InputError: The file is there already, both a scene and a catalog are given, or a setting
            cannot be.
        ModelError: There is no such model or class.
    """
    if path.exists():
        raise InputError(f"{path}: is there already; choose another name or remove it")
    if start.scene and start.catalog:
        raise InputError("init: give either --scene or --catalog, not both")
    if start.units and not start.scene:
        raise InputError("init: --units says what numbers of files mean; give --scene, too")
    check_folder(path.parent, what=str(path))
    text = workflow_text(path, start)
    loads(text, str(path))
    write_bytes(path, text.encode())


def workflow_text(path: Path, start: Start) -> str:
    """The workflow that :func:`write_workflow` writes.

    Raises:
        ModelError: There is no such model or class.
    """
    card = find(start.model).card
    check_classes(card.legend, start.classes, what="init: classes")
    kind = _FILES if start.scene else _STAC if start.catalog else _SAMPLE
    source = Template(kind).substitute(
        scene=_quoted(start.scene),
        catalog=_quoted(start.catalog),
        bands=", ".join(card.bands),
        units=f"units: {_quoted(start.units)}" if start.units else "# units: reflectance",
    )
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem) or "workflow"
    return Template(_WORKFLOW).substitute(
        name=_quoted(name),
        input=source,
        model=_quoted(start.model),
        output=_quoted(start.output) if start.output else f"products/{_quoted(name)}/{{scene}}",
        vector=_vector(start),
    )


def _vector(start: Start) -> str:
    if not start.polygons:
        return _NO_POLYGONS
    listed = ", ".join(_quoted(name) for name in start.classes)
    classes = f"classes: [{listed}]" if listed else "# classes: []"
    return Template(_POLYGONS).substitute(classes=classes, min_area=start.min_area)


def _quoted(text: str) -> str:
    """``text`` as a YAML scalar, quoted only where it has to be."""
    plain = text.replace("/", "").replace(".", "").replace("-", "").replace("_", "")
    if plain.isalnum() and plain.isascii() and not plain.isdigit():
        return text
    return "'" + text.replace("'", "''") + "'"
