"""Pages that are done: every block of code in order, in a folder that has what the page takes for given."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from doc_blocks import PAGES, Block, all_blocks, blocks_of, lines_of, words_of
from doc_desks import DESKS, Desk, only, write_for_workflows, write_stock
from doc_lines import INSTEAD, LEFT_OUT, before, left_out, rewritten
from doc_workflows import trains, written

import geoseg.cli
from geoseg.run.cluster import ClusterSpec, connect

pytestmark = [
    pytest.mark.cluster,
    # rioxarray 0.19 and odc-geo multiply transforms as affine 3 will not have it.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]


def done_here(block: Block) -> bool:
    """Whether a block of commands or of Python is run."""
    return block.is_code and block.language != "yaml" and block.mark in ("", "run")


DONE = [page for page in PAGES if any(done_here(block) for block in blocks_of(page))]


@pytest.fixture(scope="module")
def scheduler():
    """One worker for all pages: each command alone would start its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with connect(ClusterSpec(workers=1, threads=2, dashboard=False)) as connected:
        yield connected.client.scheduler.address
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stock(scheduler, tmp_path_factory):
    """Scenes and products that pages share."""
    folder = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_stock(scheduler)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder that stands for that of the repository: what pages read is in it."""
    for name in ("docs", "workflows", "benchmarks", "scripts", "catalogs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


class Doing:
    """Does the blocks of a page; remembers what the last commands said."""

    def __init__(self, page: Path, capfd, scheduler: str) -> None:
        self.page, self.capfd, self.scheduler, self.said = page, capfd, scheduler, ""
        self.names = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        self.said = ""
        if block.language == "python":
            before(self.page.stem, block.text, self.scheduler, self.names)
            exec(compile(block.text, block.name, "exec"), self.names)  # noqa: S102 (ours)
            self._hear()
            return
        for line in lines_of(block.text):
            if left_out(line) is None:
                before(self.page.stem, line, self.scheduler, self.names)
                self._line(rewritten(line), block)
        self._hear()

    def _line(self, line: str, block: Block) -> None:
        words = words_of(line)
        if words[0] == "geoseg":
            settings, _, line = line.partition("geoseg ")
            line, _, file = line.partition(" > ")
            # A shell makes words of patterns and quotes, as it does for whoever reads the page.
            made = subprocess.run(
                ["/bin/bash", "-c", f"printf '%s\\0' {line}"],
                capture_output=True, check=True, text=True,
            ).stdout.split("\0")[:-1]  # fmt: skip
            more = ["--set", f"cluster.address={self.scheduler}"]
            with pytest.MonkeyPatch.context() as patch:
                for setting in settings.split():
                    patch.setenv(*setting.split("="))
                code = geoseg.cli.run([*made, *(more if made[0] in ("run", "predict") else ())])
            told = self.capfd.readouterr()
            assert code == 0, f"{block.name}: {line}\n{told.out}\n{told.err}"
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
def test_the_page_works_as_it_is_written(page, place, stock, scheduler, capfd):
    blocks = blocks_of(page)
    if not any(block.mark == "run" for block in blocks):
        DESKS.get(page.stem, only())(Desk(stock, place))
    doing = Doing(page, capfd, scheduler)
    for block in blocks:
        if (name := block.value_of("file")) is not None:
            (place / name).write_text(block.text)
        elif done_here(block):
            doing.run(block)
        elif block.mark == "output":
            doing.compare(block)


def test_the_pages_that_must_be_done_are():
    assert {"land-cover", "water", "deforestation", "drone", "how-to"} <= {p.stem for p in DONE}


PLANNED = [
    block
    for block in all_blocks()
    if block.language == "yaml" and block.mark.partition(":")[0] in ("", "in")
]


@pytest.fixture(scope="module")
def for_workflows(stock, tmp_path_factory):
    """A folder that has the scenes, labels and models which workflows name."""
    folder = tmp_path_factory.mktemp("workflows")
    write_for_workflows(Desk(stock, folder))
    return folder


@pytest.mark.parametrize("block", PLANNED, ids=lambda block: block.name)
def test_a_workflow_is_planned_on_scenes(block, for_workflows, monkeypatch, capfd):
    monkeypatch.chdir(for_workflows)
    path = written(block, for_workflows)
    more = [word for key in INSTEAD if key in path.read_text() for word in INSTEAD[key]]
    words = ["train", str(path), "--plan"] if trains(path) else ["plan", str(path)]
    assert geoseg.cli.run([*words, *more]) == 0, capfd.readouterr().err
    told = capfd.readouterr().out
    assert "labelled px" in told if trains(path) else "blocks" in told


def test_no_block_of_code_is_neither_done_nor_left_out_for_a_reason():
    """Commands, Python and workflows are run here, elsewhere as the mark says, or say why not."""
    elsewhere = {
        "quickstart-command": ("tests/e2e/test_run.py", "quickstart"),
        "test-command": (".ci/run", "test-command"),
        "fine-tuning-command": ("tests/e2e/test_fine_tuning.py", "fine-tuning-"),
        "fine-tuning-workflow": ("tests/e2e/test_fine_tuning.py", "fine-tuning-"),
    }
    code = [block for block in all_blocks() if block.is_code]
    left = [block for block in code if block.value_of("skip") is not None]
    for block in code:
        if block in left:
            assert len(block.value_of("skip").split()) >= 3, block.name
        elif block.mark in elsewhere:
            file, word = elsewhere[block.mark]
            assert word in (ROOT / file).read_text("utf-8"), block.name
        else:
            assert done_here(block) or block in PLANNED or block.value_of("file"), block.name
    assert len(code) > 120
    assert len(left) < len(code) / 4, "most of what readers are shown must be run"


def test_lines_that_are_left_out_are_done_where_they_say():
    for why in LEFT_OUT.values():
        assert len(why.split()) >= 3
        for name in re.findall(r"test_\w+\.py", why):
            assert list((ROOT / "tests").rglob(name)), name
