"""Reports of runs: what they tell, that nothing in them is code, and how real Chromium shows them."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from chromium import browser
from packages import write_package
from test_fault_blocks import geoseg, spoil, workflow, write_scene

from geoseg.cli import run

pytestmark = pytest.mark.cluster

SCRIPT = "<script>alert('x')</script>\"'&{{7*7}}"
ODD = "<img src=x onerror=x> & co_20240615"
VOID = {"meta", "img", "input"}


class Seen(HTMLParser):
    """Tags, text, pictures and where links lead; fails where a tag does not close."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.images, self.links, self.text = [], [], [], [], ""
        self.handlers = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append(tag)
        self.handlers += [name for name in told if name.startswith("on")]
        if tag == "img":
            self.images.append(told)
        if tag == "a":
            self.links.append(told["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def seen(path):
    return Seen(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run of two scenes: one with an odd name, and one with a damaged tile."""
    folder = tmp_path_factory.mktemp("reports")
    about = {
        "title": SCRIPT,
        "held_out": {"test": {"overall_accuracy": 0.7, "pixels": 9, "iou": {"Water": 0.9}}},
    }
    model = write_package(folder / "models", margin=0, about=about)
    write_scene(folder / "in" / f"{ODD}.tif")
    spoil(write_scene(folder / "in/b_20240620.tif"), 1, 1)
    path = workflow(folder, model, description=SCRIPT, output={"quicklook": True})
    geoseg("run", path, check=4)
    return folder


@pytest.fixture(scope="module")
def odd(folder):
    """The products of the scene with the odd name."""
    (found,) = (folder / "out").glob("_img*")
    return found


@pytest.fixture(scope="module")
def compared(folder, odd, tmp_path_factory):
    """The change between both scenes."""
    out = tmp_path_factory.mktemp("change") / "out"
    assert run(["change", str(odd), str(folder / "out/b_20240620"), str(out), "-q"]) == 0
    return out


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    """One browser for all looks."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found.page()


def record_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_run_makes_it_and_the_command_makes_the_same_again(odd, capsys):
    first = (odd / "report.html").read_bytes()
    assert run(["report", str(odd)]) == 0
    assert capsys.readouterr().out.strip() == str(odd / "report.html")
    assert (odd / "report.html").read_bytes() == first
    assert "report" not in json.loads((odd / "item.json").read_text())["assets"]


def test_it_tells_what_run_json_does(odd):
    shown, record = seen(odd / "report.html"), record_of(odd)
    assert shown.tags.count("h1") == 1
    for row in record["classes"]:
        assert row["name"] in shown.text
        if row["pixels"]:
            assert f"{row['pixels']:,}" in shown.text
    for one in record["inputs"]:
        assert one["sha256"] in shown.text
    assert record["model"]["sha256"] in shown.text
    assert record["fingerprint"] in shown.text
    assert "counted from pixels" in shown.text
    assert "overall accuracy" in shown.text
    for word in ("predict classes", "write products", "Most memory of a worker", "2024-06-15"):
        assert word in shown.text, word
    assert record["memory"]["most_of_a_worker"] > 50e6
    files = [link for link in shown.links if not link.startswith("#")]
    assert {"classes.tif", "confidence.tif", "polygons.gpkg", "run.json"} <= set(files)
    assert all((odd / name).exists() for name in files)


def test_holes_are_told_and_drawn(folder):
    shown = seen(folder / "out/b_20240620/report.html")
    assert "Not whole: 1 block failed" in shown.text
    assert "rows 96 to 192, columns 96 to 192" in shown.text
    assert shown.tags.count("rect") == 1


def test_names_are_never_code(folder, odd, tmp_path):
    shutil.copytree(odd, tmp_path / "out")
    record = record_of(tmp_path / "out")

    def spoiled(value):
        if isinstance(value, dict):
            return {f"{k}": spoiled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [spoiled(v) for v in value]
        return f"{value}{SCRIPT}" if isinstance(value, str) else value

    record = spoiled(record) | {"warnings": [SCRIPT], "layers": {SCRIPT: 3.0}}
    (tmp_path / "out/run.json").write_text(json.dumps(record))
    assert run(["report", str(tmp_path / "out")]) == 0
    assert run(["report", str(folder / "out")]) == 0
    for path in (tmp_path / "out/report.html", folder / "out/report.html"):
        shown = seen(path)
        assert not {"script", "iframe", "link", "object"} & set(shown.tags)
        assert shown.handlers == []
        assert all(one["src"].startswith("data:image/") for one in shown.images)
    assert "alert('x')" in seen(tmp_path / "out/report.html").text


def test_the_history_of_a_folder_tells_of_all_scenes(folder):
    page = folder / "out/report.html"
    shown = seen(page)
    assert "polyline" in shown.tags
    assert ODD in shown.text
    assert "1 block failed" in shown.text
    assert "the last run ended with failed scenes or blocks" in shown.text.lower()
    assert len(shown.images) == 2
    assert "b_20240620/report.html" in shown.links


def test_areas_are_told_with_intervals_where_a_sample_gives_them(odd, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(odd, out)
    rows = record_of(out)["classes"]
    value = {"value": 0.8, "standard_error": 0.01, "plus_minus": 0.02}
    found = {
        "confidence": 0.95, "points_used": 300,
        "classes": [
            {"name": r["name"], "mapped_area_ha": r["area_ha"], "users_accuracy": value,
             "producers_accuracy": value, "area_ha": {"value": 7.25, "plus_minus": 1.5}}
            for r in rows
        ],
    }  # fmt: skip
    areas = tmp_path / "areas.json"
    areas.write_text(json.dumps(found))
    assert run(["report", str(out), "--areas", str(areas)]) == 0
    text = seen(out / "report.html").text
    assert "7.2 ± 1.5" in text
    assert "80.0 ± 2.0 %" in text
    assert "counted from pixels" not in text
    before = (out / "report.html").read_bytes()
    found["classes"][0]["mapped_area_ha"] += 10 * sum(r["area_ha"] for r in rows)
    areas.write_text(json.dumps(found))
    assert run(["report", str(out), "--areas", str(areas)]) == 2
    assert "was the sample drawn from another map?" in capsys.readouterr().err
    assert (out / "report.html").read_bytes() == before


def test_a_comparison_has_a_page_too(folder, odd, compared, capsys):
    first = (compared / "report.html").read_bytes()
    shown, record = seen(compared / "report.html"), record_of(compared)
    assert run(["report", str(compared)]) == 0
    assert (compared / "report.html").read_bytes() == first
    assert not {"script", "iframe"} & set(shown.tags)
    assert ODD in shown.text
    assert "2024-06-15 to 2024-06-20" in shown.text
    for row in record["by_class"]:
        assert row["class"] in shown.text
    assert record["not_seen_ha"] > 0
    assert f"{record['not_seen_ha']:,.1f} ha" in shown.text
    assert shown.images[0]["alt"].startswith("The map of")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda p: None, "there is no such folder"),
        (lambda p: p.mkdir(), "run.json: No such file or directory; a run writes it"),
        (lambda p: (p.mkdir(), (p / "run.json").write_text("{")), "run.json: is no JSON"),
        (lambda p: (p.mkdir(), (p / "run.json").write_text("[1]")), "is not the record of a run"),
        (
            lambda p: (p.mkdir(), (p / "run.json").write_text('{"geoseg": 1, "kind": "plots"}')),
            "no page is made of that",
        ),
    ],
)
def test_what_cannot_be_told_of_is_refused(made, said, tmp_path, capsys):
    made(tmp_path / "x")
    assert run(["report", str(tmp_path / "x")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x/report.html").exists()


def test_it_can_be_left_out_and_comes_later_without_a_new_map(folder, tmp_path):
    shutil.copytree(folder / "models", tmp_path / "models")
    write_scene(tmp_path / "in/b.tif")
    path = workflow(tmp_path, tmp_path / "models/tiny", output={"report": False, "vector": False})
    geoseg("run", path, check=0)
    out = tmp_path / "out/b"
    before = (out / "classes.tif").stat()
    assert not (out / "report.html").exists()
    done = geoseg("run", path, "--set", "output.report=true", check=0)
    assert "up to date" in done.stdout
    assert (out / "report.html").exists()
    assert (out / "classes.tif").stat() == before
    assert "No picture of the scene" in seen(out / "report.html").text


@pytest.mark.parametrize("which", ["scene", "history", "change"])
def test_chromium_shows_it_well_on_phones_and_desks_by_day_and_night(
    folder, odd, compared, page, which, tmp_path
):
    path = {"scene": odd, "history": folder / "out", "change": compared}[which] / "report.html"
    papers, widths = set(), (375, 820, 1280) if which == "scene" else (375, 1280)
    for width in widths:
        for dark in (False, True) if which == "scene" else (width == 375,):
            page.requests.clear()
            page.shape(width, dark=dark)
            page.open(path)
            look = page.look()
            assert look["width"] <= look["view"] == width
            assert look["lang"] == "en"
            assert look["title"]
            assert look["main"] == 1
            assert look["scripts"] == look["unnamed"] == look["headless"] == 0
            assert look["headings"][0] == 1
            steps = np.diff(look["headings"])
            assert steps.max() <= 1, look["headings"]
            assert look["headings"].count(1) == 1
            assert len(set(look["ids"])) == len(look["ids"])
            assert set(look["anchors"]) <= set(look["ids"])
            assert look["images"]
            assert all(image["ok"] and image["alt"] is not None for image in look["images"])
            assert look["contrast"][0]["ratio"] >= 4.5, look["contrast"]
            asked = [a for a in page.requests if not a.startswith("data:")]
            assert len(asked) == 1, "a page asks for nothing but itself"
            papers.add((dark, sum(look["paper"][:3]) > 384))
    assert papers == {(False, True), (True, False)}
    page.pdf(tmp_path / "page.pdf")
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))
    assert 1 <= pages <= 8


def test_patterns_are_switched_on_by_key(odd, page):
    page.shape(1280)
    page.open(odd / "report.html")
    shown = "getComputedStyle(document.querySelector('.map .{}')).display"
    assert page.js(shown.format("plain")) == "block"
    assert page.js(shown.format("patterned")) == "none"
    page.js("document.querySelector('#patterns').focus()")
    page.press(" ")
    assert page.js(shown.format("plain")) == "none"
    assert page.js(shown.format("patterned")) == "block"
