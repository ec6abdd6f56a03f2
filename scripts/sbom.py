"""What geoseg is made of: a software bill of materials (CycloneDX 1.5) of what is installed here.

    python scripts/sbom.py > geoseg.cdx.json
    python scripts/sbom.py --requirements > locked.txt && pip-audit --no-deps -r locked.txt

Reads the metadata of installed packages and asks no network. The same packages give the same bytes.
Source: https://cyclonedx.org/docs/1.5/json/
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = "geoseg"
_SPACE = uuid.UUID("9f1c7c0a-5b3e-4b57-9a54-7f6d0c2f8d11")


def installed(extras: set[str]) -> tuple[dict[str, Distribution], dict[str, set[str]]]:
    """Every package that geoseg needs here, and which of them each one needs, by name."""
    found: dict[str, Distribution] = {}
    needs: dict[str, set[str]] = {}
    waiting = deque([(ROOT, frozenset(extras))])
    seen = set()
    while waiting:
        name, wanted = waiting.popleft()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            if name == ROOT:
                raise
            continue  # an extra that is not installed
        for text in found[name].requires or ():
            needed = _applies(text, wanted)
            if needed is not None:
                other = canonicalize_name(needed.name)
                needs.setdefault(name, set()).add(other)
                waiting.append((other, frozenset(needed.extras)))
    return found, {name: others & found.keys() for name, others in needs.items()}


def _applies(text: str, extras: frozenset[str]) -> Requirement | None:
    """A requirement, if it holds on this machine with one of these extras, or without any."""
    try:
        needed = Requirement(text)
    except InvalidRequirement:
        return None
    marker = needed.marker
    holds = marker is None or any(marker.evaluate({"extra": e}) for e in (*sorted(extras), ""))
    return needed if holds else None


def bill(extras: set[str]) -> dict[str, Any]:
    """The bill of materials as JSON has it."""
    found, needs = installed(extras)
    parts = [_component(name, found[name]) for name in sorted(found)]
    references = {part["name"]: part["bom-ref"] for part in parts}
    root = next(part for part in parts if part["name"] == ROOT)
    number = uuid.uuid5(_SPACE, json.dumps(parts, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": root | {"type": "application"}},
        "components": [part for part in parts if part is not root],
        "dependencies": [
            {
                "ref": references[name],
                "dependsOn": [references[other] for other in sorted(needs.get(name, ()))],
            }
            for name in sorted(found)
        ],
    }


def _component(name: str, package: Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{package.version}"
    part = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": package.version,
        "purl": purl,
    }
    told = package.metadata.get("License-Expression") or package.metadata.get("License") or ""
    said = told.strip().splitlines()[0] if told.strip() else ""
    classes = package.metadata.get_all("Classifier") or []
    licenses = [c.rpartition(" :: ")[2] for c in classes if c.startswith("License ::")]
    names = [said] if said and len(said) <= 100 else licenses
    return part | ({"licenses": [{"license": {"name": n}} for n in names]} if names else {})


def requirements(extras: set[str]) -> list[str]:
    """``name==version`` of every package but geoseg itself, for pip-audit."""
    found, _ = installed(extras)
    # Builds for a machine (2.9.0+cpu) have the faults of what they are built from.
    return [f"{n}=={p.version.partition('+')[0]}" for n, p in sorted(found.items()) if n != ROOT]


def main(arguments: list[str] | None = None) -> int:
    """Print the bill, or the requirements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", action="append", default=[], help="an extra of geoseg, as onnx")
    parser.add_argument("--requirements", action="store_true", help="name==version, one a line")
    asked = parser.parse_args(arguments)
    extras = set(asked.extra)
    if asked.requirements:
        sys.stdout.write("\n".join(requirements(extras)) + "\n")
    else:
        sys.stdout.write(json.dumps(bill(extras), indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
