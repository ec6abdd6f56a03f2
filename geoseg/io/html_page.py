"""Reports as one HTML file: no scripts, nothing from elsewhere, tables that are read out well."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;
color:#1b1b1b;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #d5d5d5;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
figure{margin:1.5rem 0}img{max-width:100%;height:auto}figcaption{color:#444}
.note{border-left:4px solid #d55e00;background:#fdf3ec;padding:.6rem 1rem}
@media print{body{max-width:none}}
"""


def page(title: str, parts: Sequence[str], *, style: str = "") -> bytes:
    """A whole page of ``parts``, which the functions below make; the title is its first heading.

    ``style`` is CSS beside that of all pages.
    """
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
    )
    body = "\n".join((f"<h1>{escape(title)}</h1>", *parts))
    return f"{head}<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n".encode()


def heading(text: str) -> str:
    """The title of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Some text."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """Text that must not be overlooked."""
    return f'<p class="note" role="note">{escape(text)}</p>'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first cell of a row says what the row is about."""
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{titles}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def picture(image: bytes, description: str, caption: str = "", *, form: str = "svg+xml") -> str:
    """A drawing within the page.

    Args:
        image: As :mod:`geoseg.io.charts` makes it.
        description: What it shows, for those who do not see it.
        caption: Shown below.
        form: ``svg+xml`` or ``png``.
    """
    data = base64.b64encode(image).decode()
    below = f"\n<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure>\n<img alt="{escape(description)}" src="data:image/{form};base64,{data}">'
        f"{below}\n</figure>"
    )
