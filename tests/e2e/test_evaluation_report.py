"""The report of an evaluation: all numbers as tables, pictures with words, nothing from elsewhere."""

import json
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from rasters import write

from geoseg.cli import run


class Page(HTMLParser):
    """Open tags, images, table cells and text of a page; fails where tags do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.tags, self.rows, self.text = [], [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(5)
    truth = np.kron(random.integers(1, 4, (6, 8)), np.ones((10, 10), int)).astype(np.uint8)
    wrong = random.random(truth.shape) < 0.2
    write(folder / "truth.tif", truth)
    write(folder / "map.tif", np.where(wrong, 1, truth).astype(np.uint8))
    write(folder / "sure.tif", np.where(wrong, 55, 95).astype(np.uint8))
    names = "".join(
        f"<Category>{n}</Category>" for n in ("", "A &amp; &lt;B&gt;", "Trees", "Crops")
    )
    aux = f"<PAMDataset><PAMRasterBand band='1'><CategoryNames>{names}</CategoryNames>"
    for name in ("map.tif", "truth.tif"):
        (folder / f"{name}.aux.xml").write_text(f"{aux}</PAMRasterBand></PAMDataset>")
    return folder


def call(folder, *args):
    return run(["evaluate", str(folder / "map.tif"), str(folder / "truth.tif"), "-q", *args])


def test_the_report_has_all_numbers_and_stands_alone(folder, capsys):
    sure = ("--confidence", str(folder / "sure.tif"))
    for name in ("a.html", "b.html"):
        assert call(folder, *sure, "--report", str(folder / name), "--json") == 0
    found = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()
    page = Page((folder / "a.html").read_text())
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert len(page.images) == 2
    for image in page.images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert len(image["alt"]) > 40
    assert page.tags.count("table") == page.tags.count("caption") == 5
    cells = {tuple(row) for row in page.rows}
    assert ("mean IoU", f"{found['mean_iou']:.1%}") in cells
    assert ("expected calibration error", f"{found['expected_calibration_error']:.1%}") in cells
    for row, counts in zip(found["classes"], found["confusion"]["counts"], strict=True):
        assert (row["name"], *(f"{n:,}" for n in counts), "0") in cells
    for row in found["calibration"]["bins"]:
        if row["pixels"]:
            assert any(f"{row['pixels']:,}" in cell for line in cells for cell in line[1:2])
    assert found["classes"][0]["name"] == "A & <B>"
    assert "no estimate of how large a class is" in page.text


def test_pictures_of_their_own(folder):
    plots = "--confusion-plot", str(folder / "c.png"), "--reliability-plot", str(folder / "r.svg")
    assert call(folder, "--confidence", str(folder / "sure.tif"), *plots) == 0
    assert Image.open(BytesIO((folder / "c.png").read_bytes())).format == "PNG"
    assert b"<svg" in (folder / "r.svg").read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--report", "a.pdf"), "report: a.pdf does not end in .html"),
        (("--confusion-plot", "a.gif"), "confusion-plot: a.gif does not end in .png or .svg"),
        (("--reliability-plot", "a.png"), "without --confidence"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is_done(folder, capsys, args, said):
    before = sorted(folder.iterdir())
    assert call(folder, *args) == 2
    assert said in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
