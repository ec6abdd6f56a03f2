"""Workflows with mistakes in them, and what is said of these."""

import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import loads

GOOD = """\
geoseg: 1
name: water
input:
  kind: files
  path: scenes/*.tif
model: landcover
output:
  directory: products
"""
STAC = GOOD.replace("kind: files", "kind: stac").replace("path: scenes/*.tif", "catalog: c.json")
SAMPLE = GOOD.replace("kind: files", "kind: sample").replace("  path: scenes/*.tif\n", "")
LEAST = (
    "expected an area like '400 m2' or '0.25 ha' (units: px, m2, ha, km2), "
    "or a preset (corine, eudr, radd), found "
)
LENGTH = "expected a length like '10 m' or '16 px' (units: px, cm, m, km), found "


def problems(text, **options):
    with pytest.raises(WorkflowError) as caught:
        loads(text, "w.yaml", **{"environ": {}, **options})
    return caught.value


def one(text, **options):
    error = problems(text, **options)
    assert len(error.problems) == 1, str(error)
    problem = error.problems[0]
    return problem.line, problem.column, problem.key, problem.message
