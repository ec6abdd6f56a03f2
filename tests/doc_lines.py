"""Lines of pages that cannot be done as they stand: why, and what is done instead or before."""

import re
from pathlib import Path
from typing import Any

from doc_desks import call, filled_points, opened_scene

import geoseg

LEFT_OUT = {
    "geoseg catalog search earth-search": "asks a server in the network; test_stac_api.py has its own",
    "geoseg models add dynamicworld": "fetches weights; test_dynamicworld.py has some",
    "geoseg train workflows/train/fine-tuning.yaml": "test_fine_tuning.py does the whole page",
    "geoseg view products/": "serves until Ctrl-C; test_view.py does it in a browser",
    "geoseg models add roads.onnx": "needs somebody's ONNX; test_models_add.py has some",
    "geoseg models measure": "looks for the reach for half a minute; test_model_doors.py does it",
    "geoseg models export landcover-s2 qgis.": "exports for long; test_model_doors.py does it",
    "geoseg models convert m.pth": "needs weights of somebody; test_model_doors.py has some",
    "geoseg models export landcover-s2 landcover.": "takes half a minute; test_model_doors.py does it",
    "geoseg doctor --cluster": "asks a cluster, which tests of clusters start",
    "python -m pytest": "these are tests, which CI runs as such",
    "pip install": "installs; CI's own command does",
    "pip-audit": "asks a server for advisories",
}
"""Beginnings of commands, and why they are not run."""

REWRITTEN = (
    (r"products/\*/\*", "products/20*/*"),  # what else the page makes lies not as deep
    (r"\bCATALOG ITEM\b", "FOLDER/catalog.json"),
    (r"\bCATALOG\b", "FOLDER/catalog.json"),
    (r"^(geoseg alerts update STORE \S+)$", r"\1 --forest Trees"),
    (r" --install$", ""),  # what this machine does at night is not ours to change
    (r"^geoseg train (\S*quickstart\.yaml)$", r"geoseg train \1 --set training.steps=4"),
)
"""What tests do in place of a line; pages are for large scenes, and have names for what is meant."""

INSTEAD = {
    "catalog: earth-search": (
        "--set", "input.catalog=scene/catalog.json", "--set", "input.collections=[]",
        "--set", "input.time=2024-06-01/2024-06-30",
    ),
    "*.SAFE": (
        "--set", "input.path=scenes/*.tif", "--set", "input.mask=null",
        "--set", "input.units=reflectance",
    ),
}  # fmt: skip
"""Settings for workflows whose scenes lie on servers, or are many gigabytes, by words in them."""


def left_out(line: str) -> str | None:
    """Why a line is not run; None where it is."""
    return next((why for begin, why in LEFT_OUT.items() if line.startswith(begin)), None)


def rewritten(line: str) -> str:
    for pattern, instead in REWRITTEN:
        line = re.sub(pattern, instead, line)
    return line


def before(page: str, line: str, scheduler: str, names: dict[str, Any]) -> None:
    """What somebody does between two commands of a page."""
    if line.startswith("geoseg evaluate areas"):
        if not Path(line.split()[3]).exists():
            call(f"evaluate design {line.split()[4]} {line.split()[3]} --points 120 --minimum 10")
        filled_points(Path(line.split()[3]))
    if page == "README" and line.startswith("geoseg validate my.yaml"):
        Path("my.yaml").write_text(Path("my.yaml").read_text().replace("1024", "256"))
    if line.startswith("geoseg schedule my.yaml"):
        with Path("my.yaml").open("a") as file:
            file.write("monitor: {keep: 90 d, max_age: 8 d}\n")
    if page == "README" and "geoseg.run(" in line:
        with Path("my.yaml").open("a") as file:
            file.write(f"cluster: {{address: '{scheduler}'}}\n")
    if "scene.geoseg.predict" in line:
        names |= {"geoseg": geoseg, "scene": opened_scene(Path("scene"))}
