"""The documentation as a site: built strictly, and nothing in it asks another machine."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("mkdocs", reason="pip install '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built once; what is odd is an error by `strict`."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_every_page_is_there(site):
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for path in (ROOT / "docs").rglob("*.md"):
        assert path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() in names
    assert {"project/architecture.html", "project/workflows.html", "decisions/index.html"} <= names


def test_no_page_asks_another_machine(site):
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(https?:)?//[^\" >]+")
    for path in site.rglob("*.html"):
        for match in loaded.finditer(path.read_text("utf-8")):
            assert 'rel="canonical"' in match[0], f"{path.name}: {match[0]}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf-8"))


def test_links_within_the_site_lead_somewhere(site):
    """Also those that mkdocs does not look at: of pages made by the hook, and of pictures."""
    link = re.compile(r"(?:href|src)=\"?([^\"# >]+)")
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for target in link.findall(page.read_text("utf-8")):
            if re.match(r"[a-z]+:|//", target):
                continue
            assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


def test_defaults_are_told_apart_where_rows_are_lists(site):
    """On phones a table of keys has no head: a cell that is a default must say so, and no other."""
    page = (site / "workflow-reference.html").read_text("utf-8")
    found = re.findall(r'<td class="?default"?>(.*?)</td>', page, re.DOTALL)
    told = (ROOT / "docs" / "workflow-reference.md").read_text("utf-8")
    rows = [
        line.split(" | ") for line in told.splitlines() if line.startswith("| ") and " | " in line
    ]
    wanted = [row[2].strip() for row in rows if len(row) == 4 and row[2].strip(" -")]
    wanted = [cell for cell in wanted if cell != "default"]
    assert len(found) == len(wanted) > 50
    assert '<div class="keys">' in page or "<div class=keys>" in page
