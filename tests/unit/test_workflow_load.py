"""Reading workflows: YAML, the environment, bases, settings, and what comes out."""

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime

import pydantic
import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data, loads
from geoseg.workflow.bands import BandSource
from geoseg.workflow.units import Length

GOOD = """\
geoseg: 1
name: water
input:
  kind: files
  path: scenes/*.tif
model: landcover
output:
  directory: products
"""


def messages(text, **options):
    with pytest.raises(WorkflowError) as caught:
        loads(text, "w.yaml", **{"environ": {}, **options})
    return [f"{p.line}:{p.column}: {p.key}: {p.message}" for p in caught.value.problems]


def with_input(lines):
    return GOOD.replace("  path: scenes/*.tif\n", lines)


def test_least_workflow_has_defaults():
    workflow = loads(GOOD, environ={})
    assert workflow.input.path == ("scenes/*.tif",)
    assert workflow.model.name == "landcover"
    assert (workflow.tiling.size, workflow.tiling.margin, workflow.tiling.block) == ("auto",) * 3
    assert (workflow.tiling.seams, workflow.tiling.weights) == ("crop", None)
    assert loads(f"{GOOD}tiling: {{seams: blend}}").tiling.weights == "hann"
    assert workflow.output.raster.confidence
    assert workflow.output.vector.min_area == {}
    assert workflow.output.vector.formats == ("gpkg", "geoparquet")
    assert workflow.cluster.kind == "local"
    assert (workflow.run.on_error, workflow.run.retries) == ("stop", 2)
    assert workflow.area is None


def test_frozen():
    workflow = loads(GOOD, environ={})
    with pytest.raises(pydantic.ValidationError):
        workflow.name = "other"


def test_travels_to_workers():
    workflow = loads(GOOD.replace("landcover", "${M}"), environ={"M": "m1"})
    again = pickle.loads(pickle.dumps(workflow))  # noqa: S301 - our own bytes
    assert again == workflow
    assert again.canonical() == workflow.canonical()


@pytest.mark.parametrize(
    ("written", "name", "path"),
    [
        ("water-s2", "water-s2", None),
        ("models/water.json", None, "models/water.json"),
        (r"models\water.json", None, r"models\water.json"),
        ("{path: water.json}", None, "water.json"),
    ],
)
def test_model_by_name_or_path(written, name, path):
    model = loads(GOOD.replace("landcover", written)).model
    assert (model.name, model.path) == (name, path)


def test_bands_in_file_order():
    source = loads(GOOD.replace("  path", "  bands: [red, nir]\n  path")).input
    assert source.band_sources() == {"red": BandSource(index=1), "nir": BandSource(index=2)}
    assert loads(GOOD).input.band_sources() is None


def test_bands_by_name():
    lines = """\
  bands:
    red: 3
    nir: l8/{scene}_B5.TIF
    swir16: {path: "l8/{scene}_B6.TIF", scale: 0.0001, nodata: nan, resampling: cubic}
  path: a.tif
"""
    bands = loads(with_input(lines)).input.band_sources()
    assert bands["red"] == BandSource(index=3)
    assert bands["nir"] == BandSource(path="l8/{scene}_B5.TIF")
    assert str(bands["swir16"].nodata) == "nan"
    assert bands["swir16"].resampling == "cubic"


def test_path_is_not_needed_beside_files_of_bands():
    assert loads(with_input("  bands: {red: a.tif, nir: b.tif}\n")).input.path is None


def test_mask():
    text = GOOD.replace("  path", "  mask: {method: scl, values: [3, 8], dilate: 60 m}\n  path")
    mask = loads(text).input.mask
    assert (mask.method, mask.values, mask.dilate) == ("scl", (3, 8), Length(60, "m"))
    assert loads(text.replace("60 m", "6")).input.mask.dilate == Length(6, "px")


@pytest.mark.parametrize(
    ("written", "start", "end"),
    [
        ("2024-01-01/2024-02-01", (2024, 1, 1), (2024, 2, 1, 23, 59, 59, 999999)),
        ("{start: 2024-01-01, end: 2024-02-01}", (2024, 1, 1), (2024, 2, 1, 23, 59, 59, 999999)),
        ("2024-01-01/..", (2024, 1, 1), None),
        ("../2024-01-01T10:00:00+02:00", None, (2024, 1, 1, 8)),
        ("2024-01-01", (2024, 1, 1), (2024, 1, 1, 23, 59, 59, 999999)),
    ],
)
def test_times(written, start, end):
    text = GOOD.replace("files", "stac").replace(
        "path: scenes/*.tif", f"catalog: c\n  time: {written}"
    )
    time = loads(text).input.time
    assert time.start == (start and datetime(*start, tzinfo=UTC))
    assert time.end == (end and datetime(*end, tzinfo=UTC))


def test_sample():
    text = GOOD.replace("files", "sample").replace("path: scenes/*.tif", "size: 300")
    assert loads(text).input.size == (300, 300)
    assert loads(text.replace("300", "[200, 100]")).input.size == (200, 100)
    assert loads(text.replace("300", "[1, 1]")).input.seed == 7


@pytest.mark.parametrize(
    ("written", "kind", "address"),
    [
        ("local", "local", None),
        ("tcp://10.0.0.5:8786", "address", "tcp://10.0.0.5:8786"),
        ("{address: 'tls://host:1', tls: {ca: a, cert: b, key: c}}", "address", "tls://host:1"),
    ],
)
def test_clusters(written, kind, address):
    cluster = loads(f"{GOOD}cluster: {written}\n").cluster
    assert (cluster.kind, cluster.address) == (kind, address)


@pytest.mark.parametrize("written", ["false", "null", "~", ""])
def test_no_polygons(written):
    workflow = loads(f"{GOOD}  vector: {written}\n")
    assert workflow.output.vector is None
    assert workflow.canonical()["output"]["vector"] is False


@pytest.mark.parametrize(
    "crs",
    ["EPSG:32629", "ESRI:102039", "OGC:CRS84", "+proj=utm +zone=33", 'PROJCS["x", GEOGCS["y"]]'],
)
def test_crs(crs):
    assert loads(GOOD.replace("  path", f"  crs: '{crs}'\n  path")).input.crs == crs


class TestYaml:
    def test_is_version_1_2(self):
        text = GOOD.replace("water", "no").replace("  path", "  scale: 1e-4\n  path")
        workflow = loads(text)
        assert workflow.name == "no"
        assert workflow.input.scale == 1e-4

    def test_aliases(self):
        text = GOOD.replace("scenes/*.tif", "&p scenes/*.tif") + "description: *p\n"
        assert loads(text).description == "scenes/*.tif"

    def test_windows_lines_and_byte_order_mark(self):
        text = "\ufeff" + GOOD.replace("\n", "\r\n")
        assert loads(text).name == "water"
        assert messages(text + "x: 1\r\n")[0].startswith("9:1: x: ")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "None:None: : the workflow is empty"),
            ("# nothing\n", "None:None: : the workflow is empty"),
            ("text", "1:1: : expected keys and values, like 'name: water'"),
            ("- a\n", "1:1: : expected keys and values, like 'name: water'"),
            (f"{GOOD}name: x\n", "9:1: name: key given twice, first in line 2"),
            (f"{GOOD}---\na: 1\n", "9:1: : a second document; write one per file"),
            (
                GOOD.replace("water", "!!python/name:os.system x"),
                "2:7: name: tag '!!python/name:os.system': workflows are plain YAML, without tags",
            ),
            (
                GOOD.replace("water", "!x w"),
                "2:7: name: tag '!x': workflows are plain YAML, without tags",
            ),
            (
                f"{GOOD}<<: {{a: 1}}\n",
                "9:1: : '<<' is not part of YAML 1.2; use 'extends', or repeat the keys",
            ),
            (f"{GOOD}1.5: a\n", "9:1: : expected a word as key, found 1.5"),
            (f"{GOOD}area: *a\n", "9:7: area: alias *a has no anchor &a above"),
            (
                f"{GOOD}area: &a {{wkt: *a}}\n",
                "9:16: area.wkt: alias *a stands inside what it names",
            ),
            (f"{GOOD}area: {'[' * 30}\n", "9:27: area.0: nested more than 20 levels deep"),
            (
                f"{GOOD}area: {{a: ${{X}}}}\n",
                "9:12: : not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '{'; within { } and [ ] quote \"${NAME}\", or write one key a line",
            ),
            (
                "a:\n\tb: 1\n",
                r"2:1: : not valid YAML: while scanning for the next token, found character '\t' that cannot start any token; indent with blanks, not with tabs",
            ),
            ("a: \x07", "1:4: : not valid YAML: character U+0007 is not allowed"),
            ('a: "\\ud800"', "1:4: a: half a character (a lone surrogate)"),
        ],
    )
    def test_mistakes(self, text, message):
        assert messages(text)[0] == message

    def test_bombs(self):
        rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 15)]
        assert any("more than 50000 values" in m for m in messages("\n".join(rows)))

    def test_caret_stands_under_wide_letters_and_in_long_lines(self):
        with pytest.raises(WorkflowError) as caught:
            loads(f"{GOOD}description: {{日本: 1}}\n")
        assert str(caught.value).endswith("| description: {日本: 1}\n       | ^")
        with pytest.raises(WorkflowError) as caught:
            loads(f"{GOOD}run: {{{' ' * 500}日x: 1}}\n")
        line, caret = str(caught.value).splitlines()[1:]
        assert line.index("日") == caret.index("^")
        assert len(line) < 200

    def test_terminal_is_not_obeyed(self):
        with pytest.raises(WorkflowError) as caught:
            loads(GOOD.replace("water", '"\\e[31m"'))
        assert "\x1b" not in str(caught.value)


class TestEnvironment:
    def test_replaced_and_typed(self):
        text = GOOD + "run:\n  retries: ${N}\n  on_error: ${ON_ERROR:-skip_scene}\n"
        workflow = loads(text, environ={"N": "7"})
        assert (workflow.run.retries, workflow.run.on_error) == (7, "skip_scene")

    def test_quoted_and_partial_stay_text(self):
        text = GOOD.replace("scenes/*.tif", "${D}/1") + "description: '${N}'\n"
        workflow = loads(text, environ={"D": "/d", "N": "7"})
        assert workflow.input.path == ("/d/1",)
        assert workflow.description == "7"
        assert messages(GOOD + "run: {retries: '${N}'}\n", environ={"N": "7"}) == [
            "9:16: run.retries: expected a whole number, found what ${N} stands for"
        ]

    def test_default_counts_for_empty_too(self):
        assert loads(GOOD.replace("landcover", "${M:-a b}"), environ={"M": ""}).model.name == "a b"

    def test_escape(self):
        assert loads(GOOD + "description: a $${B} $C\n").description == "a ${B} $C"

    def test_values_are_not_read_again(self):
        assert loads(GOOD + "description: ${A}\n", environ={"A": "${B}"}).description == "${B}"

    @pytest.mark.parametrize("broken", ["${", "${}", "${1A}", "${A", "${A:?x}", "${A B}"])
    def test_malformed(self, broken):
        assert messages(GOOD.replace("landcover", f"'{broken}'")) == [
            (
                "6:8: model: '${' starts a reference to the environment: write ${NAME} or "
                "${NAME:-default}, or $${ for the characters themselves"
            )
        ]

    def test_missing(self):
        assert messages(GOOD.replace("landcover", "${M}")) == [
            "6:8: model: environment variable M is not set: set it, or write ${M:-default}"
        ]

    def test_never_told(self):
        text = GOOD.replace("scenes/*.tif", "${SECRET}/{scn}").replace("landcover", "${SECRET}")
        text += "  vector: {min_area: '${SECRET}'}\n  quicklook: ${SECRET}\ncluster: ${SECRET}\n"
        with pytest.raises(WorkflowError) as caught:
            loads(text, environ={"SECRET": "hunter2"})
        assert len(caught.value.problems) == 4
        assert "hunter2" not in str(caught.value)

    def test_not_in_canonical_nor_repr(self):
        text = GOOD.replace("files", "stac").replace("path: scenes/*.tif", "catalog: ${URL}/c.json")
        text = text.replace("landcover", "${M}")
        workflow = loads(text, environ={"URL": "https://hunter2@host", "M": "models/hunter2"})
        assert workflow.input.catalog == "https://hunter2@host/c.json"
        told = json.dumps(workflow.canonical()) + repr(workflow) + str(workflow)
        assert "hunter2" not in told
        assert workflow.canonical()["model"] == "${M}"

    def test_of_the_process_by_default(self, monkeypatch):
        monkeypatch.setenv("GEOSEG_TEST_MODEL", "m3")
        assert loads(GOOD.replace("landcover", "${GEOSEG_TEST_MODEL}")).model.name == "m3"


class TestResultsKey:
    def key(self, more="", text=GOOD, **options):
        return loads(text + more, **options).results_key()

    def test_is_of_what_changes_results(self):
        assert self.key("tiling: {margin: 32}\n") != self.key()
        assert self.key(text=GOOD.replace("landcover", "water")) != self.key()
        assert self.key("  vector: {min_area: 1 ha}\n") != self.key()

    def test_is_not_of_how_it_is_done(self):
        more = "run: {retries: 9}\ncluster: {workers: 3}\ntiling: {block: 2048}\ndescription: x\n"
        assert self.key(more) == self.key()
        assert self.key(text=GOOD.replace("landcover", "{name: landcover, batch: 3}")) == self.key()
        assert self.key(text=GOOD.replace("products", "elsewhere")) == self.key()

    def test_looks_through_the_environment(self):
        text = GOOD.replace("landcover", "${M}")
        assert self.key(text=text, environ={"M": "a"}) != self.key(text=text, environ={"M": "b"})
        assert self.key(text=text, environ={"M": "landcover"}) == self.key()

    def test_parts_of_the_segmentation_and_of_the_products(self):
        fields = loads(GOOD).results_key_fields()
        assert set(fields) == {"segment", "refine", "products"}
        assert set(fields["segment"]) == {
            "geoseg", "input", "area", "grid", "composite", "mosaic", "model", "tiling",
        }  # fmt: skip


def test_from_data_is_the_same():
    data = {
        "geoseg": 1,
        "name": "water",
        "input": {"kind": "files", "path": ("scenes/*.tif",)},
        "model": "landcover",
        "output": {"directory": "products"},
    }
    assert from_data(data).canonical() == loads(GOOD).canonical()


def test_canonical_reads_back():
    text = GOOD.replace("  path", "  nodata: .nan\n  date: 2024-01-02\n  path")
    text += "  vector: {min_area: 0.25 ha}\ncluster: {memory: 2 GB}\n"
    settings = loads(text, environ={}).canonical()
    assert loads(json.dumps(settings), environ={}).canonical() == settings


def test_import_is_light():
    code = (
        "import sys, geoseg.workflow\n"
        "heavy = {'torch', 'rasterio', 'dask', 'distributed', 'geopandas', 'odc', 'numpy', 'pandas'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
