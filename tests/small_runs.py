"""Workflows on a small synthetic scene, and calls of the command line as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path


def geoseg(*args, env=None, check=None):
    """Call the command line in a process of its own; ``check`` is the exit code it must have."""
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *map(str, args)],
        capture_output=True, text=True, env=os.environ | (env or {}), check=False, timeout=300,
    )  # fmt: skip
    if check is not None:
        assert done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def workflow(folder: Path, model: Path, **changes) -> Path:
    """A workflow on a small synthetic scene, as JSON (which is YAML)."""
    data = {
        "geoseg": 1,
        "name": "test",
        "input": {"kind": "sample", "size": [420, 530], "seed": 3},
        "model": {"path": str(model)},
        "tiling": {"size": 192, "margin": 48},
        "output": {"directory": str(folder / "out")},
        "cluster": {"workers": 2, "dashboard": False},
    }
    for key, value in changes.items():
        data[key] = data[key] | value if isinstance(data.get(key), dict) else value
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(data))
    return path


def files_workflow(folder, model, source, **changes):
    """The same on scenes in files."""
    path = workflow(folder, model, **changes)
    data = json.loads(path.read_text())
    data["input"] = source
    path.write_text(json.dumps(data))
    return path
