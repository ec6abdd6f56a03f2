"""Whether codes, names and colours of labels are those of a legend, and fit one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from geoseg.legend import Legend
from geoseg.ops.content_hash import tidy
from geoseg.ops.findings import Finding, Level
from geoseg.ops.label_census import is_code

Place = tuple[float, float]
_FAR = 40
"""Colours that differ by less in each channel are one colour that was stored differently."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one label file holds and says of it.

    Attributes:
        file: Its name in messages.
        counts: Pixels or features by code or by name, as written.
        places: Where each comes first.
        names: Of codes, as the file says.
        colors: Of codes, as the file says.
        unit: ``px`` or ``features``.
    """

    file: str
    counts: Mapping[float | str, int]
    places: Mapping[float | str, Place]
    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)
    unit: str = "px"


def check_taxonomy(said: list[Said], legend: Legend | None) -> list[Finding]:
    """All that is wrong with codes, names and colours.

    Args:
        said: Of each file.
        legend: What codes and names should be; files are compared with one another without it.
    """
    found = [finding for one in said for finding in _alone(one)]
    found += _spellings(said)
    if legend is None:
        return [*found, *_contradictions(said)]
    for one in said:
        found += _against(one, legend)
    used = {key for one in said for key in one.counts}
    names = {tidy(key) for key in used if isinstance(key, str)}
    unused = [c.name for c in legend.classes if c.value not in used and tidy(c.name) not in names]
    if unused:
        text = f"{', '.join(unused)}: in the legend, but nowhere in the labels"
        found.append(Finding("note", "taxonomy", "unused-class", text, count=len(unused)))
    return found


def _alone(one: Said) -> Iterator[Finding]:
    """What a file itself shows to be wrong."""
    strange = [key for key in one.counts if not isinstance(key, str) and not is_code(key)]
    if strange:
        text = f"{_list([f'{key:g}' for key in strange])}: class codes are whole numbers 0 to 255"
        total = sum(one.counts[key] for key in strange)
        yield _finding("no-code", text, one, strange[0], total)
    by_name = defaultdict(list)
    for code, name in one.names.items():
        by_name[tidy(name)].append(code)
    for codes in by_name.values():
        if len(codes) > 1:
            # Tables are often padded with one word for all codes that are not used.
            used = [code for code in codes if code in one.counts]
            if len(used) > 1:
                text = f"codes {_list(codes)} are all called {one.names[codes[0]]!r}"
                yield Finding("warning", "taxonomy", "name-twice", text, one.file, len(codes))


def _spellings(said: list[Said]) -> Iterator[Finding]:
    """Names that differ only in case or spaces."""
    written: dict[str, dict[str, int]] = defaultdict(dict)
    for one in said:
        for key, count in one.counts.items():
            if isinstance(key, str):
                written[tidy(key)][key] = written[tidy(key)].get(key, 0) + count
        for name in one.names.values():
            written[tidy(name)].setdefault(name, 0)
    for forms in written.values():
        if len(forms) > 1:
            text = " and ".join(
                f"{name!r}" + (f" ({count:,} features)" if count else "")
                for name, count in forms.items()
            )
            text += " differ only in case or spaces; they are taken for one class"
            yield Finding("warning", "taxonomy", "spelling", text, count=len(forms))


def _contradictions(said: list[Said]) -> Iterator[Finding]:
    """Files that call one code by different names, or draw it in different colours."""
    for what, table, same in (
        ("name", [(one.file, one.names) for one in said], lambda a, b: tidy(a) == tidy(b)),
        ("colour", [(one.file, one.colors) for one in said], _alike),
    ):
        yield from _differences(what, table, same)


def _differences(
    what: str, table: list[tuple[str, Mapping[int, str]]], same: Callable[[str, str], bool]
) -> Iterator[Finding]:
    first: dict[int, tuple[str, str]] = {}
    reported = set()
    for file, entries in table:
        for code, value in entries.items():
            known, where = first.setdefault(code, (value, file))
            if not same(known, value) and code not in reported:
                reported.add(code)
                text = f"code {code} has the {what} {value!r} here and {known!r} in {where}"
                level: Level = "fault" if what == "name" else "warning"
                yield Finding(level, "taxonomy", f"{what}s-differ", text, file, 1)


def _against(one: Said, legend: Legend) -> Iterator[Finding]:
    """What a file has that the legend has not, or has otherwise."""
    values = {c.value: c for c in legend.classes}
    by_name = {tidy(c.name): c for c in legend.classes}
    for key, count in one.counts.items():
        if isinstance(key, str):
            if tidy(key) not in by_name:
                text = f"{key!r} is no class of {legend.name} ({', '.join(legend.names)})"
                yield _finding("unknown-name", text, one, key, count)
        elif key not in values and key != legend.nodata and is_code(key):
            text = f"code {key:g} is not in {legend.name} ({_list(legend.values)})"
            yield _finding("unknown-code", text, one, key, count)
    for code, name in one.names.items():
        known = values.get(code)
        if known is not None and tidy(known.name) != tidy(name):
            text = f"code {code} is {name!r} here, {known.name!r} in {legend.name}"
            level: Level = "fault" if code in one.counts else "warning"
            yield Finding(level, "taxonomy", "names-differ", text, one.file, 1)
    far = [
        f"{code} ({color}, {values[code].color} in {legend.name})"
        for code, color in one.colors.items()
        if code in values and code in one.counts and not _alike(color, values[code].color)
    ]
    if far:
        text = f"other colours than in the legend: {'; '.join(far[:3])}{_more(len(far) - 3)}"
        yield Finding("note", "taxonomy", "colours-differ", text, one.file, len(far))


def _finding(what: str, text: str, one: Said, key: float | str, count: int) -> Finding:
    place = one.places.get(key)
    places = () if place is None else (place,)
    at = "" if place is None else f", first at {place[0]:.10g}, {place[1]:.10g}"
    shown = f"{text}: {count:,} {one.unit}{at}"
    return Finding("fault", "taxonomy", what, shown, one.file, count, places)


def _alike(one: str, other: str) -> bool:
    """Whether two colours look alike."""
    a, b = (tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in (one, other))
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= _FAR


def _list(values: Sequence[int | str]) -> str:
    return ", ".join(map(str, values[:12])) + _more(len(values) - 12)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
