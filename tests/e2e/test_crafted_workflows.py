"""Workflows made to break or to mislead a parser: told by line and column, or read as YAML 1.2."""

import pytest
from refusals import Cases, Desk, ask, check_refused

from geoseg.workflow import load

YAML = """\
geoseg: 1
name: test
input:
  kind: files
  path: in/scene.tif
model: landcover-s2
output:
  directory: out
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, tmp_path)


case = Cases()


def _refused(name: str, content: str | bytes, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        desk.write("test.yaml", content)
        return ["run", "test.yaml"]

    make.__name__ = name
    case("test.yaml", *said)(make)


def _laughing(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


_refused("aliases_that_multiply", _laughing(9) + YAML, "more than 50000 values")
_refused("five_thousand_brackets", f"{YAML}tiling: {'[' * 5000}", "more than 20 levels deep")
_refused("three_hundred_levels", YAML + "".join(f"{'  ' * n}a:\n" for n in range(300)), "levels")
_refused("an_alias_within_itself", f"{YAML}tiling: &t {{size: *t}}\n", "9:19", "inside what it")
_refused("an_alias_of_nothing", f"{YAML}tiling: *nope\n", "9:9", "no anchor &nope")
_refused("utf_16", YAML.encode("utf-16"), "not UTF-8 text")
_refused("utf_16_without_a_mark", YAML.encode("utf-16-le"), "U+0000 is not allowed")
_refused("utf_32", YAML.encode("utf-32"), "not UTF-8 text")
_refused("a_zero_byte", f"{YAML}x: a\0b\n", "9:5", "U+0000 is not allowed")
_refused("a_bell", f"{YAML}x: \a\n", "9:4", "U+0007 is not allowed")
_refused("a_merge_key", f"{YAML}tiling:\n  <<: {{size: 512}}\n", "10:3", "not part of YAML 1.2")
_refused(
    "a_number_of_5000_digits", f"{YAML}tiling: {{size: {'9' * 5000}}}\n", "9:16", "tiling.size"
)
_refused("infinity", f"{YAML}tiling: {{size: .inf}}\n", "9:16", "found .inf")
_refused("not_a_number", f"{YAML}tiling: {{min_valid: .nan}}\n", "9:21", "found .nan")
_refused("base_60", f"{YAML}tiling: {{size: 8:32}}\n", "9:16", "'8:32'")
_refused("binary", f"{YAML}description: !!binary aGk=\n", "9:14", "without tags")
_refused("a_tag_of_ones_own", YAML.replace("name: test", "name: !x y"), "2:7", "without tags")
_refused("a_python_name", f"{YAML}description: !!python/name:os.system x\n", "9:14", "tags")
_refused(
    "a_python_object", f"{YAML}description: !!python/object/new:os.system ls\n", "9:14", "tags"
)
_refused("a_list_as_key", f"{YAML}? [a]\n: 1\n", "9:3", "expected a word as key")
_refused("nothing_as_key", f"{YAML}~: 1\n", "9:1", "expected a word as key")
_refused("yaml_9", f"%YAML 9.9\n---\n{YAML}", "1:1", "incompatible YAML document")
_refused("half_a_character", YAML.replace("test", '"\\ud800"'), "2:7", "half a character")
_refused("an_unknown_escape", YAML.replace("test", '"\\q"'), "2:9", "unknown escape character")
_refused("text_from_right_to_left", YAML.replace("test", "te\u202est"), "2:7", "\\u202e")
_refused("a_name_of_a_million", YAML.replace("test", "n" * 100_000), "2:7", "a name of letters")
_refused("a_megabyte_of_comments", f"{YAML}#{'x' * 1_100_000}", "larger than 1000 kB")
_refused("json_cut_short", '{"geoseg": 1, "name": "t"', "not valid YAML")
_refused("a_reference_within_one", YAML.replace("test", "${A${B}}"), "2:7", "'${' starts")
_refused("an_attribute_in_a_template", YAML.replace(": out", ": 'out/{scene.__class__}'"),
         "8:14", "expected {scene}")  # fmt: skip
_refused("a_conversion_in_a_template", YAML.replace(": out", ": 'out/{scene!r}'"), "8:14")
_refused("a_server_as_output", YAML.replace(": out", ": https://x/y"), "8:14", "a folder of this")
_refused("a_bucket_as_output", YAML.replace(": out", ": s3://x/y"), "8:14", "a bucket has 3 to 63")
_refused("gdals_memory_as_output", YAML.replace(": out", ": /vsimem/x"), "8:14", "a folder of this")
_refused("tls_without_certificates", f"{YAML}cluster: tls://127.0.0.1:1\n", "cluster.tls", "tls://")
_refused(
    "certificates_for_what_is_plain",
    f"{YAML}cluster: {{address: 'tcp://127.0.0.1:1', tls: {{ca: a, cert: b, key: c}}}}\n",
    "cluster.address", "tls://10.0.0.5:8786",
)  # fmt: skip


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("\ufeff" + YAML, "name", "test"),
        (YAML.replace("\n", "\r\n"), "name", "test"),
        (YAML.replace("\n", "\r"), "name", "test"),
        (YAML.replace("test", "no"), "name", "no"),
        (YAML.replace("test", "2024-01-01"), "name", "2024-01-01"),
        (f"%YAML 1.1\n---\n{YAML.replace('test', 'yes')}", "name", "yes"),
        (f"%TAG ! tag:x,2000:\n---\n{YAML}", "name", "test"),
        (f"{YAML}description: 1e-3\n".replace("1e-3", "'1e-3'"), "description", "1e-3"),
    ],
)
def test_read_as_yaml_1_2(desk, text, key, value):
    (desk.folder / "test.yaml").write_bytes(text.encode())
    assert getattr(load("test.yaml"), key) == value


@pytest.mark.parametrize(("written", "pixels"), [("0o1000", 512), ("01000", 1000), ("0x200", 512)])
def test_whole_numbers_of_yaml_1_2(desk, written, pixels):
    desk.write("test.yaml", f"{YAML}tiling: {{size: {written}}}\n")
    assert load("test.yaml").tiling.size == pixels


def test_a_model_is_a_name_and_never_a_python_path(desk, capfd):
    desk.scene()
    desk.write("test.yaml", YAML.replace("landcover-s2", "os.system"))
    assert ask(["run", "test.yaml"]) == 2
    assert "there is none of that name" in capfd.readouterr().err
