"""Reading workflows: YAML, the environment, bases, settings, and what comes out."""

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pydantic
import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data, load, loads
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


class TestExtends:
    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        (tmp_path / "base.yaml").write_text(GOOD)
        return tmp_path

    def child(self, folder, text, name="child.yaml"):
        (folder / name).write_text(text)
        return folder / name

    def test_keys_are_joined_and_lists_replaced(self, base):
        (base / "base.yaml").write_text(
            GOOD.replace("scenes/*.tif", "[a, b]") + "run: {retries: 5}\n"
        )
        child = self.child(
            base, "extends: base.yaml\ninput: {path: [c]}\nrun: {on_error: skip_scene}\n"
        )
        workflow = load(child)
        assert workflow.input.path == ("c",)
        assert (workflow.run.retries, workflow.run.on_error) == (5, "skip_scene")
        assert "extends" not in workflow.canonical()

    def test_several_levels_relative_to_each_file(self, base):
        (base / "sub").mkdir()
        self.child(base, "extends: ../base.yaml\nname: middle\n", "sub/middle.yaml")
        assert load(self.child(base, "extends: sub/middle.yaml\n")).name == "middle"

    def test_another_kind_starts_afresh(self, base):
        child = self.child(base, "extends: base.yaml\ninput: {kind: sample, size: 9}\n")
        assert load(child).input.size == (9, 9)

    def test_alternatives_replace_each_other(self, base):
        (base / "base.yaml").write_text(GOOD + "area: {bbox: [1, 2, 3, 4]}\n")
        text = "extends: base.yaml\narea: {file: a.gpkg}\nmodel: {path: m.json, device: cpu}\n"
        workflow = load(self.child(base, text))
        assert (workflow.area.bbox, workflow.area.file) == (None, "a.gpkg")
        assert (workflow.model.name, workflow.model.path) == (None, "m.json")

    def test_short_ways_are_joined_too(self, base):
        child = self.child(base, "extends: base.yaml\nmodel: {device: cuda}\n")
        model = load(child).model
        assert (model.name, model.device) == ("landcover", "cuda")

    def test_problems_name_the_file_they_are_in(self, base):
        (base / "base.yaml").write_text(GOOD + "run: {retries: 50}\n")
        child = self.child(base, "extends: base.yaml\ntiling: {sise: 1}\n")
        with pytest.raises(WorkflowError) as caught:
            load(child)
        assert [(p.file, p.line, p.key) for p in caught.value.problems] == [
            (str(base / "child.yaml"), 2, "tiling.sise"),
            (str(base / "base.yaml"), 9, "run.retries"),
        ]

    def test_cycles(self, base):
        self.child(base, "extends: b.yaml\n", "a.yaml")
        self.child(base, "extends: a.yaml\n", "b.yaml")
        with pytest.raises(WorkflowError, match=r"b.yaml:1:10: extends: .*extend itself"):
            load(base / "a.yaml")
        with pytest.raises(WorkflowError, match=r"me.yaml:1:10: extends: .*extend itself"):
            load(self.child(base, "extends: me.yaml\n", "me.yaml"))

    def test_no_such_base(self, base):
        with pytest.raises(WorkflowError) as caught:
            load(self.child(base, "name: a\nextends: bas.yaml\n"))
        (problem,) = caught.value.problems
        assert (problem.line, problem.column, problem.key) == (2, 10, "extends")
        assert problem.message == (
            f"{base / 'bas.yaml'}: no such workflow file, did you mean '{base / 'base.yaml'}'?"
        )

    def test_base_from_the_environment_is_not_told(self, base):
        child = self.child(base, "extends: ${B}\n")
        with pytest.raises(WorkflowError) as caught:
            load(child, environ={"B": "bas.yaml"})
        assert caught.value.problems[0].message == "${B}: no such workflow file"
        (base / "base.yaml").write_text(GOOD + "x: 1\n")
        with pytest.raises(WorkflowError, match=r"^\$\{B\}:9:1: x: unknown key"):
            load(child, environ={"B": "base.yaml"})

    @pytest.mark.parametrize("name", ["'.'", '"a\\0b"', "/", "'~'"])
    def test_impossible_bases(self, base, name):
        with pytest.raises(WorkflowError, match="extends: "):
            load(self.child(base, f"extends: {name}\n"))


class TestSettings:
    def settings(self, *overrides, text=GOOD):
        return loads(text, overrides=overrides, environ={})

    def refuse(self, *overrides, text=GOOD):
        with pytest.raises(WorkflowError) as caught:
            self.settings(*overrides, text=text)
        return str(caught.value)

    def test_values_are_yaml(self):
        workflow = self.settings(
            "run.retries=3", "tiling={size: 512}", "output.directory=a=b", "input.path=[x, y]"
        )
        assert workflow.run.retries == 3
        assert workflow.tiling.size == 512
        assert workflow.output.directory == "a=b"
        assert workflow.input.path == ("x", "y")

    def test_entries_of_lists(self):
        text = GOOD.replace("scenes/*.tif", "[a, b]")
        assert self.settings("input.path.1=c", "input.path.2=d", text=text).input.path == (
            "a",
            "c",
            "d",
        )
        assert self.refuse("input.path.3=c", text=text) == (
            "--set input.path.3=c: input.path is a list: "
            "expected an index from 0 to 1, or 2 to append, found '3'"
        )

    def test_into_short_ways(self):
        text = GOOD.replace("  path", "  bands: {red: 3}\n  path") + "cluster: local\n"
        workflow = self.settings(
            "model.device=cpu", "cluster.workers=3", "input.bands.red.scale=2", text=text
        )
        assert (workflow.model.name, workflow.model.device) == ("landcover", "cpu")
        assert workflow.cluster.workers == 3
        assert workflow.input.bands["red"] == BandSource(index=3, scale=2)

    def test_alternatives(self):
        assert self.settings("model.path=a.json").model.name is None
        assert self.settings("cluster=tcp://a:1").cluster.kind == "address"
        assert self.settings("input.kind=sample", "input.size=5").input.size == (5, 5)
        assert self.settings("output.vector=false", "output.vector.min_area=1ha").output.vector

    def test_in_what_was_left_out(self):
        assert self.settings("area.bbox=[1, 2, 3, 4]").area.bbox == (1, 2, 3, 4)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("output.directry=x", "unknown key, did you mean 'directory'?"),
            ("tiling={sze: 1}", "tiling.sze: unknown key, did you mean 'size'?"),
            ("run.retries=x", "expected a whole number, found 'x'"),
            ("run.retries=", "expected a whole number, found nothing, fill it in or remove it"),
            ("run.retries", "expected key=value, like output.directory=maps"),
            ("=3", "expected key=value, like output.directory=maps"),
            ("run..retries=3", "expected key=value, like output.directory=maps"),
            ("extends=a.yaml", "'extends' can only stand in a file"),
            ("name.x=3", "name has no keys: it is 'water'"),
            (
                "tiling=[",
                "not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
            ),
            ("tiling={size: 1, size: 2}", "tiling.size: key given twice, first in line 1"),
            (
                "model=${NOPE}",
                "environment variable NOPE is not set: set it, or write ${NOPE:-default}",
            ),
        ],
    )
    def test_mistakes(self, override, message):
        assert self.refuse(override) == f"--set {override}: {message}"

    def test_told_after_the_file(self):
        lines = self.refuse(
            "run.retries=x", "nme=1", text=GOOD.replace("water", "a b")
        ).splitlines()
        assert [lines[0][:12], lines[3][:5], lines[4][:5]] == ["<string>:2:7", "--set", "--set"]


class TestFiles:
    def test_path_is_told_as_given(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("w.yaml").write_text("a: 1\n")
        with pytest.raises(WorkflowError, match=r"^w.yaml:1:1: a: unknown key"):
            load("w.yaml")

    def test_missing(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("water.yaml").write_text("a: 1\n")
        with pytest.raises(WorkflowError) as caught:
            load("watr.yaml")
        assert str(caught.value) == "watr.yaml: no such workflow file, did you mean 'water.yaml'?"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"name: caf\xe9\n", "not UTF-8 text (byte 0xe9 in line 1); save it as UTF-8"),
            (GOOD.encode("utf-16"), "not UTF-8 text (byte 0xff in line 1); save it as UTF-8"),
            (b"#" * 1_000_001, "larger than 1000 kB, which is no workflow"),
            (b"", "the workflow is empty"),
        ],
    )
    def test_content(self, tmp_path, content, message):
        path = tmp_path / "w.yaml"
        path.write_bytes(content)
        with pytest.raises(WorkflowError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {message}"

    def test_folder_and_impossible_names(self, tmp_path):
        with pytest.raises(WorkflowError, match="cannot be read: Is a directory"):
            load(tmp_path)
        with pytest.raises(WorkflowError, match="cannot be read: embedded null byte"):
            load("a\0b")


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
