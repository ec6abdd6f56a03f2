"""Every target with some hundred damaged files, always the same; for more see run.py."""

import importlib.util
import re
from pathlib import Path

import pytest


def _runner():
    spec = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = _runner()
MOST = {"workflow": 120, "store": 120, "tiff": 300, "vrt": 120, "catalog": 120}


@pytest.mark.parametrize("name", RUN.TARGETS)
def test_damaged_files_are_read_or_refused(name, tmp_path, capsys):
    most = MOST.get(name, 300)
    words = ["--target", name, "--folder", str(tmp_path), "--most", str(most), "--seconds", "120"]
    code = RUN.main(words)
    told = capsys.readouterr().out
    details = [path.read_text()[-1500:] for path in sorted(tmp_path.rglob("*.txt"))[:3]]
    assert code == 0, "\n".join([told, *details])
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", told.splitlines()[0])}
    assert counts["executions"] >= most
    assert counts["read"] + counts["refused"] == counts["executions"]
