"""A commented workflow to start from."""

from __future__ import annotations

from pathlib import Path
from string import Template

from geoseg.api.places import check_folder
from geoseg.errors import InputError
from geoseg.io.atomic import write_bytes
from geoseg.models.registry import find
from geoseg.workflow import loads

_FILES = """\
input:
  kind: files
  path: ${scene}          # patterns like images/*.tif, or a Sentinel-2 .SAFE folder
  # bands: [${bands}]   # common names in file order, where the files do not say
  # units: reflectance    # what scale and offset lead to: reflectance (0 to 1) or dn
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
  directory: ${directory}
  # raster: {entropy: true, margin: true}   # how sure the model is, beside confidence
  vector:
    # classes: []         # names of the classes to outline; all without it
    min_area: ${min_area}  # smaller regions go to a neighbour: 0.5 ha, or corine, eudr, radd
    formats: [gpkg, geoparquet]
# cluster: {workers: 2, memory: 4 GB}
"""


def write_workflow(
    path: Path,
    *,
    scene: str = "",
    catalog: str = "",
    model: str,
    min_area: str = "0 m2",
    directory: str = "",
) -> None:
    """Write a workflow that is valid as it is.

    Args:
        path: The file to write.
        scene: Files of the scenes; without it and a catalog, the synthetic scene.
        catalog: A STAC catalog, instead of files.
        model: Name of the model.
        min_area: The smallest polygon.
        directory: Folder of the products; one of the workflow's name without it.

    Raises:
        InputError: The file is there already, or both a scene and a catalog are given.
        ModelError: There is no such model.
    """
    if path.exists():
        raise InputError(f"{path}: is there already; choose another name or remove it")
    if scene and catalog:
        raise InputError("init: give either --scene or --catalog, not both")
    check_folder(path.parent, what=str(path))
    bands = ", ".join(find(model).card.bands)
    kind = _FILES if scene else _STAC if catalog else _SAMPLE
    source = Template(kind).substitute(scene=_quoted(scene), catalog=_quoted(catalog), bands=bands)
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem) or "workflow"
    text = Template(_WORKFLOW).substitute(
        name=_quoted(name),
        input=source,
        model=_quoted(model),
        min_area=min_area,
        directory=_quoted(directory) if directory else f"products/{name}/{{scene}}",
    )
    loads(text, str(path))
    write_bytes(path, text.encode())


def _quoted(text: str) -> str:
    """``text`` as a YAML scalar, quoted only where it has to be."""
    plain = text.replace("/", "").replace(".", "").replace("-", "").replace("_", "")
    if plain.isalnum() and plain.isascii() and not plain.isdigit():
        return text
    return "'" + text.replace("'", "''") + "'"
