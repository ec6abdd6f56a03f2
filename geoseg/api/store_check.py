"""Whether a store does what outputs in it need, for who sets one up."""

from __future__ import annotations

from pathlib import Path

from geoseg.api.doctor import Finding
from geoseg.errors import InputError
from geoseg.io.bucket import BucketPath, as_place
from geoseg.io.bucket_probe import probe
from geoseg.workflow import load
from geoseg.workflow.template import parse_template


def examine_store(target: str) -> list[Finding]:
    """Ask a store for all that a run needs of it.

    Small objects are written below the place, and one of 5 MiB; they go again.

    Args:
        target: ``s3://bucket/folder``, or a workflow whose output or blocks go to one.

    Raises:
        InputError: It is neither.
    """
    places = [BucketPath.of(target)] if target.startswith("s3://") else places_of(Path(target))
    return [
        Finding(f"{place}: {one.what}", one.found, ok=one.ok, mend=one.mend, needed=one.needed)
        for place in places
        for one in probe(place)
    ]


def places_of(path: Path) -> list[BucketPath]:
    """Where the products and the blocks of a workflow go, as far as that is in stores.

    Raises:
        InputError: Neither is.
    """
    workflow = load(path)
    fixed = next((text for text, _, _ in parse_template(workflow.output.directory)), "")
    places = [as_place(named) for named in (fixed, workflow.run.work) if named]
    found = [place for place in places if isinstance(place, BucketPath)]
    if not found:
        raise InputError(f"{path}: neither output.directory nor run.work is s3://bucket/folder")
    return found
