"""Workflows laid over one another: bases, settings, and the files that they lie in."""

from pathlib import Path

import pytest
from wrong_workflows import GOOD

from geoseg.errors import WorkflowError
from geoseg.workflow import load, loads
from geoseg.workflow.bands import BandSource


def messages(text, **options):
    with pytest.raises(WorkflowError) as caught:
        loads(text, "w.yaml", **{"environ": {}, **options})
    return [f"{p.line}:{p.column}: {p.key}: {p.message}" for p in caught.value.problems]


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
