"""What mkdocs does for the site beyond its own: pages beside docs/, and the links that lead there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security-policy.md",
    "catalogs/README.md": "project/catalogs.md",
    "README.md": "project/readme.md",
}
"""Pages of the repository that the site has, too, and what they are called there."""
FOLDERS = {
    "catalogs": "project/catalogs.md",
    "docs/decisions": "decisions/index.md",
    "workflows": "project/workflows.md",
    "workflows/train": "project/workflows-train.md",
}
"""What a link to a folder leads to."""
_KEYS = ("workflow-reference.md", "training-reference.md", "cli.md")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(((?![a-z]+:|#)[^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Put pages that no section names into the last but one, so that none is lost."""
    named = set(re.findall(r"[\w./-]+\.md", str(config.nav)))
    lost = sorted(
        name
        for path in (ROOT / "docs").rglob("*.md")
        if (name := path.relative_to(ROOT / "docs").as_posix()) not in named
        and not name.startswith("decisions/")
    )
    section = next(part["Operation"] for part in config.nav if "Operation" in part)
    section.extend(lost)
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add what lies beside docs/: pages, shipped workflows, schemas, the list of decisions."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text("utf-8")))
    for folder, title in (("workflows", "Shipped workflows"), ("workflows/train", "Training")):
        page = FOLDERS[folder]
        files.append(File.generated(config, page, content=_workflows(folder, title)))
    files.append(File.generated(config, FOLDERS["docs/decisions"], content=_decisions()))
    for path in (*ROOT.glob("workflows/**/*.yaml"), *ROOT.glob("geoseg*.schema.json")):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Let links lead where their target lies on the site; without one, they are words.

    A link to what is not in the repository either stays, and fails a strict build.
    """
    here = page.file.src_uri
    origin = next((source for source, name in PAGES.items() if name == here), f"docs/{here}")

    def led(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        lies = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        name = FOLDERS.get(lies) or PAGES.get(lies) or lies.removeprefix("docs/")
        if files.get_file_from_path(name) is not None:
            return f"[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor})"
        return text if (ROOT / lies).exists() else match[0]

    parts = _FENCED.split(markdown)
    return "".join(part if k % 2 else _LINK.sub(led, part) for k, part in enumerate(parts))


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Tables of keys and options say what they are, so that phones can show them as lists."""
    if page.file.src_uri not in _KEYS:
        return html
    return _TABLE.sub(_told, html)


def _told(match: re.Match[str]) -> str:
    """A table within a box of its own; defaults, where there are any, say that they are."""
    heads, table = re.findall(r"<th>(.*?)</th>", match[0]), match[0]
    if "default" in heads:
        table = _ROW.sub(lambda row: _row(row[0], heads.index("default")), table)
    return f'<div class="keys">{table}</div>'


def _row(row: str, default: int) -> str:
    cells = re.split(r"(?=<td>)", row)  # what is before the first one is no cell
    at = default + 1
    if len(cells) > at and not cells[at].startswith("<td></td>"):
        cells[at] = cells[at].replace("<td>", '<td class="default">')
    return "".join(cells)


def _workflows(folder: str, title: str) -> str:
    """All workflows of a folder, each with what its second line says of it."""
    texts = [f"# {title}", "As they lie in the repository; each is checked and tried in CI."]
    for path in sorted((ROOT / folder).glob("*.yaml")):
        texts += [f"## {path.stem}", f"```yaml\n{path.read_text('utf-8').rstrip()}\n```"]
    return "\n\n".join(texts) + "\n"


def _decisions() -> str:
    texts = ["# Decisions", "Where the design was left, or had to be decided: one page each.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
        texts.append(f"- [{title}]({path.name})")
    return "\n".join(texts) + "\n"
