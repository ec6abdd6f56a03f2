"""Lay workflows over one another: ``extends`` and ``--set``, key by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from geoseg.workflow.bands import expand_band
from geoseg.workflow.cluster import expand_cluster
from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.model import expand_model
from geoseg.workflow.source import Entry, Items, Keys, Node, Path, Place, Scalar, dotted
from geoseg.workflow.vector import expand_vector

# Sections that may be written as one value. Laying keys over such a value needs the long way.
_SHORT: Mapping[Path, Callable[[object], object]] = {
    ("model",): expand_model,
    ("cluster",): expand_cluster,
    ("output", "vector"): expand_vector,
    ("input", "bands", "*"): expand_band,
}
# Keys that exclude one another: giving one takes back the others, which a base may have given.
_EITHER: Mapping[Path, tuple[frozenset[str], ...]] = {
    ("model",): (frozenset({"name"}), frozenset({"path"}), frozenset({"ensemble"})),
    ("area",): (frozenset({"file", "layer"}), frozenset({"bbox"}), frozenset({"wkt"})),
    ("grid",): (frozenset({"like"}), frozenset({"crs", "resolution", "snap"})),
    ("input", "time"): (frozenset({"last"}), frozenset({"start", "end"})),
}


def overlay(base: Node, over: Node, path: Path = ()) -> Node:
    """``over`` on ``base``: keys are joined, everything else is replaced."""
    if isinstance(base, Keys) or isinstance(over, Keys):
        base, over = _long(base, path), _long(over, path)
    if not (isinstance(base, Keys) and isinstance(over, Keys)):
        return over
    kept = _compatible(base, over, path)
    joined = dict(kept.entries)
    for key, entry in over.entries.items():
        below = kept.entries.get(key)
        node = overlay(below.node, entry.node, (*path, key)) if below else entry.node
        joined[key] = Entry(entry.place, node)
    return Keys(joined, over.place)


def assign(base: Node, keys: tuple[str, ...], value: Node, path: Path = ()) -> Node:
    """``base`` with ``value`` at ``keys``; nothing else changes but what excludes it.

    Raises:
        UnfitError: ``keys`` lead into a list beside its entries, or into a plain value.
    """
    if not keys:
        return value
    key, *rest = keys
    if isinstance(base, Items):
        return _assign_item(base, keys, value, path)
    base = _long(base, path)
    if isinstance(base, Scalar):
        if base.value is not None and not isinstance(base.value, bool):
            found = base.origin or show(base.value)
            raise UnfitError(f"{dotted(path)} has no keys: it is {found}")
        base = Keys({}, value.place)
    entry = base.entries.get(key) if isinstance(base, Keys) else None
    below: Node = entry.node if entry else Keys({}, value.place)
    node = assign(below, tuple(rest), value, (*path, key))
    over = Keys({key: Entry(value.place, node)}, value.place)
    kept = _compatible(base, over, path) if isinstance(base, Keys) else over
    return Keys({**kept.entries, **over.entries}, kept.place)


def _assign_item(base: Items, keys: tuple[str, ...], value: Node, path: Path) -> Items:
    key, *rest = keys
    count = len(base.nodes)
    if not (key.isascii() and key.isdecimal()) or int(key) > count:
        known = f"0 to {count - 1}, or {count} to append" if count else "0 to append"
        raise UnfitError(f"{dotted(path)} is a list: expected an index from {known}", show(key))
    index = int(key)
    below: Node = base.nodes[index] if index < count else Keys({}, value.place)
    node = assign(below, tuple(rest), value, (*path, index))
    return replace(base, nodes=(*base.nodes[:index], node, *base.nodes[index + 1 :]))


def _compatible(base: Keys, over: Keys, path: Path) -> Keys:
    """What of ``base`` can stay beside ``over``."""
    kind, other = _value(base, "kind"), _value(over, "kind")
    if path in (("input",), ("cluster",)) and None not in (kind, other) and kind != other:
        return Keys({}, base.place)
    gone: set[str] = set()
    for group in _EITHER.get(path, ()):
        if group & over.entries.keys():
            gone |= {key for other in _EITHER[path] if other != group for key in other}
    left = {key: entry for key, entry in base.entries.items() if key not in gone}
    return Keys(left, base.place)


def _value(keys: Keys, key: str) -> object:
    entry = keys.entries.get(key)
    return entry.node.value if entry and isinstance(entry.node, Scalar) else None


def _long(node: Node, path: Path) -> Node:
    """A section that is written as one value, as keys; anything else as it is."""
    short = _SHORT.get(path) or _SHORT.get((*path[:-1], "*"))
    if not isinstance(node, Scalar) or short is None or node.broken:
        return node
    longer = short(node.value)
    if not isinstance(longer, dict):
        return node
    place: Place = node.place
    parts = {key: Entry(place, replace(node, value=value)) for key, value in longer.items()}
    return Keys(parts, place)
