"""Names that would be code elsewhere stay names: in HTML, SVG, XML and SQL."""

import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyogrio
import pytest

from geoseg.io import html_page, training_plots
from geoseg.io.charts import confusion_chart
from geoseg.io.geopackage_empty import make_empty
from geoseg.io.qml import polygon_qml, write_class_qml
from geoseg.io.tables import _add
from geoseg.legend import LandClass, Legend

SCRIPT = "<script>alert('x')</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
SQL = 'a"; DROP TABLE gpkg_contents; --'
QUOTE = "a'); DROP TABLE gpkg_contents; --"
NAMES = (SCRIPT, IMAGE, SQL, QUOTE, "a&b;", "]]>", "{{7*7}}", "{text}", "$\\frac{$")
LEGEND = Legend(SCRIPT, tuple(LandClass(n, x, "#112233") for n, x in enumerate(NAMES)), 255)


class Tags(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.handlers, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


def check_harmless(page: str) -> str:
    """No script, no handler; gives what is shown."""
    seen = Tags(page)
    assert "script" not in seen.tags
    assert seen.handlers == []
    return " ".join(seen.text)


@pytest.mark.parametrize("name", NAMES)
def test_pages(name):
    parts = (
        html_page.heading(name),
        html_page.paragraph(name),
        html_page.note(name),
        html_page.table(name, (name, "n"), ((name, name),)),
        html_page.picture(b"<svg/>", name, name),
    )
    page = html_page.page(name, parts).decode()
    assert check_harmless(page).count(name) >= 7
    assert Tags(page).tags.count("img") == 1


def test_drawings_within_pages():
    """They are pasted into the page of a training, so that they must be harmless themselves."""
    counts = np.eye(len(NAMES), dtype=np.int64)
    for title in NAMES:
        figure = training_plots.confusion(counts, LEGEND, title)
        check_harmless(training_plots.as_svg(figure))
    chart = confusion_chart(counts, list(NAMES)).decode()
    check_harmless(chart)
    ET.fromstring(chart)  # noqa: S314 (our own)


def test_styles_are_xml_with_the_names_in_it(tmp_path):
    write_class_qml(tmp_path / "classes.qml", LEGEND)
    told = ET.parse(tmp_path / "classes.qml")  # noqa: S314 (our own)
    labels = {entry.get("label") for entry in told.iter("paletteEntry")}
    assert set(NAMES) <= labels
    styled = polygon_qml(LEGEND.classes, ["class_code", "class_name"])
    polygons = ET.fromstring(styled)  # noqa: S314 (our own)
    assert set(NAMES) <= {category.get("label") for category in polygons.iter("category")}


@pytest.mark.parametrize("name", [SQL, QUOTE, "a b", "select", "{text}", "ä"])
def test_layers_tables_and_columns_of_any_name(tmp_path, name):
    path = tmp_path / "a.gpkg"
    schema = pa.schema([("geometry", pa.binary()), (name, pa.string())])
    make_empty(path, {name: schema}, crs="EPSG:4326", titles={}, changed="2024-01-01T00:00:00Z")
    with closing(sqlite3.connect(path)) as connection, connection:
        _add(connection, f"{name} table", pa.table({name: [name, "b"]}))
        tables = [row[0] for row in connection.execute("SELECT table_name FROM gpkg_contents")]
        assert tables == [name, f"{name} table"]
        quoted = name.replace('"', '""')
        asked = f'SELECT "{quoted}" FROM "{quoted} table"'  # noqa: S608 (quoted, which is the point)
        rows = connection.execute(asked).fetchall()
        assert rows == [(name,), ("b",)]
    assert name in pyogrio.list_layers(path)[:, 0]
    assert list(pyogrio.read_info(path, layer=name)["fields"]) == [name]
