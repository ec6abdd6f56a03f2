"""Pages that are done as they are written: every block marked so, in order, in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from doc_blocks import PAGES, Block, blocks_of, lines_of, words_of

import geoseg.cli
from geoseg.run.cluster import ClusterSpec, connect

pytestmark = pytest.mark.cluster
DONE = [page for page in PAGES if any(block.mark == "run" for block in blocks_of(page))]


@pytest.fixture(scope="module")
def scheduler():
    """One worker for all pages: each command alone would start its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with connect(ClusterSpec(workers=1, threads=2, dashboard=False)) as connected:
        yield connected.client.scheduler.address
    torch.set_num_threads(before)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder that stands for the folder of the repository: what pages read is in it."""
    for name in ("docs", "workflows"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Doing:
    """Does the blocks of a page; remembers what the last commands said."""

    def __init__(self, capfd, scheduler: str) -> None:
        self.capfd, self.scheduler, self.said = capfd, scheduler, ""

    def run(self, block: Block) -> None:
        self.said = ""
        if block.language == "python":
            exec(compile(block.text, block.name, "exec"), {"__name__": "__main__"})  # noqa: S102 (ours)
            self._hear()
            return
        for line in lines_of(block.text):
            self._line(line, block)
        self._hear()

    def _line(self, line: str, block: Block) -> None:
        words = words_of(line)
        if words[0] == "geoseg":
            line, _, file = line.partition(" > ")
            # A shell makes words of patterns and quotes, as it does for whoever reads the page.
            made = subprocess.run(
                ["/bin/bash", "-c", f"printf '%s\\0' {line.removeprefix('geoseg ')}"],
                capture_output=True, check=True, text=True,
            ).stdout.split("\0")[:-1]  # fmt: skip
            more = ["--set", f"cluster.address={self.scheduler}"]
            code = geoseg.cli.run([*made, *(more if made[0] in ("run", "predict") else ())])
            told = self.capfd.readouterr()
            assert code == 0, f"{block.name}: {line}\n{told.err}"
            self.said += told.err + ("" if file else told.out)
            if file:
                Path(file).write_text(told.out)
            return
        shell = re.sub(r"^python ", f"{sys.executable} ", line)
        subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", shell], check=True)

    def _hear(self) -> None:
        told = self.capfd.readouterr()
        self.said += told.out + told.err

    def compare(self, block: Block) -> None:
        """Each line that a page shows was said; ``…`` stands for anything."""
        for line in filter(str.strip, block.text.splitlines()):
            pattern = ".*?".join(re.escape(part.strip()) for part in line.split("…"))
            pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
            found = re.search(rf"^\s*{pattern}\s*$", self.said, re.MULTILINE)
            assert found, f"{block.name}: {line!r} was not said, but\n{self.said}"


@pytest.mark.parametrize("page", DONE, ids=lambda page: page.stem)
def test_the_page_works_as_it_is_written(page, place, scheduler, capfd):
    doing = Doing(capfd, scheduler)
    for block in blocks_of(page):
        if (name := block.value_of("file")) is not None:
            (place / name).write_text(block.text)
        elif block.mark == "run":
            doing.run(block)
        elif block.mark == "output":
            doing.compare(block)


def test_the_pages_that_must_be_done_are():
    assert {"land-cover", "water", "deforestation", "drone", "how-to"} <= {p.stem for p in DONE}
