"""Every block of code in the documentation says what is so: YAML, commands, Python, JSON."""

import ast
import importlib
import json
import re
from functools import cache
from textwrap import dedent

import pytest
import typer.main
from conftest import ROOT
from doc_blocks import Block, all_blocks, blocks_of, lines_of, words_of
from doc_workflows import written

import geoseg
from geoseg.cli.commands import app
from geoseg.workflow.loading import load_any

BLOCKS = all_blocks()
OTHERS = {
    "cp": "a command of POSIX",
    "dask": "test_cluster_security.py starts schedulers and workers like this",
    "docker": "there is none in CI; test_deploy_files.py looks at what it is given",
    "dot": "a command of POSIX",
    "grep": "looks into environments of other packages",
    "ls": "a command of POSIX",
    "mkdocs": "test_docs_site.py builds the site",
    "mkdir": "a command of POSIX",
    "openssl": "test_cluster_security.py makes certificates like this",
    "pip": "installs; CI's own command does",
    "pip-audit": "asks a server",
    "kubectl": "there is none in CI; test_deploy_kubernetes.py looks at what it is given",
    "python3": "installs; CI's own command does",
    "sbatch": "there is none in CI; tests/deployed.py runs the script with a stand-in",
}
"""Commands of others that pages show, and why their words are not looked at here."""


def of(*languages):
    return [b for b in BLOCKS if b.language in languages and b.value_of("skip") is None]


def test_there_are_blocks_and_whatever_is_skipped_says_why():
    assert len(BLOCKS) > 80
    for block in BLOCKS:
        head = block.mark.partition(":")[0]
        if head == "skip":
            assert len(block.value_of("skip").split()) >= 3, block.name
        if block.language in ("yaml", "sh", "bash", "python") and block.mark:
            known = {"run", "skip", "file", "in", "output"}
            assert head in known or head.endswith(("-command", "-workflow")), block.name


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.name)
def test_yaml_is_a_workflow_or_a_piece_of_one(block: Block, tmp_path):
    load_any(written(block, tmp_path))


@cache
def whole_command():
    """The command line, put together once."""
    return typer.main.get_command(app)


def parse(words):
    """Let the command line look at words as it does before a command begins."""
    command, context, words = whole_command(), None, list(words)
    while True:
        name = words.pop(0)
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "commands"):
            return
        rest = [*vars(context).get("_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        words = [name, *rest]


SHELL = [b for b in BLOCKS if b.is_shell and b.value_of("skip") is None]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_commands_exist_and_take_these_words(block: Block):
    lines, made = lines_of(block.text), {other.value_of("file") for other in blocks_of(block.page)}
    assert lines
    for line in lines:
        words = words_of(line)
        program = words[0].rpartition("/")[2]
        if program == "geoseg":
            parse([program, *(word for word in words[1:] if word != "--debug")])
        elif program == "python" and words[1] in made:
            pass  # a block of the page above
        elif program == "python" and words[1] != "-m":
            _check_script(words[1:])
        elif program in ("pytest", "python", "ruff", "mypy", "lint-imports", "pre-commit"):
            _check_files(words)
        else:
            assert program in OTHERS, f"{block.name}: {line}"


def _check_script(words):
    """The script is there, and each option is a word in it or in what it imports from its folder."""
    script = ROOT / words[0]
    if not script.is_file():
        beside = list((ROOT / "docs").rglob(words[0].rpartition("/")[2]))
        assert beside, f"{words[0]} is nowhere"
        script = beside[0]
    texts = [path.read_text("utf-8") for path in script.parent.glob("*.py")]
    own = script.read_text("utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            option = word.partition("=")[0]
            assert option in own or any(option in text for text in texts), f"{script}: {option}"


def _check_files(words):
    for word in words:
        if word.startswith("tests/"):
            assert list(ROOT.glob(word)), word


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.name)
def test_python_uses_names_that_there_are(block: Block):
    tree = ast.parse(dedent(block.text))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geoseg"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module}.{name.name}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "geoseg"
        ):
            assert hasattr(geoseg, node.attr), node.attr
    compile(tree, block.name, "exec")


def test_json_is_json():
    for block in of("json", "geojson"):
        json.loads(block.text)


def test_pages_are_led_to_what_is_there():
    """Links of pages that are read in the repository, too; those of the site mkdocs checks."""
    link = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
    for page in {block.page for block in BLOCKS} | set((ROOT / "docs").rglob("*.md")):
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in link.findall(text):
            made = target.startswith(("decisions/index", "project/"))
            assert made or (page.parent / target).exists(), f"{page.name}: {target}"
