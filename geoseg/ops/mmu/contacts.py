"""Which regions of a block touch, and how long their borders are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry, helper
from geoseg.ops.mmu.graph import CONTACT

_RECENT = 1 << 12  # contacts that are remembered, so that a border is one contact mostly


@helper
def _add(contacts: Any, recent: Any, used: int, pair: Any, length: int) -> int:
    """Add to the contact of two regions; returns how many contacts there are."""
    a, b = min(pair[0], pair[1]), max(pair[0], pair[1])
    place = (a * 2654435761 ^ b * 40503) & (_RECENT - 1)
    at = recent[place]
    if at >= 0 and contacts[at].a == a and contacts[at].b == b:
        contacts[at].length += length
        return used
    contacts[used].a, contacts[used].b, contacts[used].length = a, b, length
    recent[place] = used
    return used + 1


@helper
def _matter(big: Any, a: int, b: int) -> bool:
    """Whether a contact of two regions, -1 for none, can decide anything."""
    return a >= 0 and b >= 0 and a != b and not (big[a] and big[b])


@helper
def _differs(label: int, one: int, other: int) -> bool:
    return label != one and label != other  # noqa: PLR1714 - tuples take long to compile


@helper
def _add_corners(contacts: Any, recent: Any, used: int, square: Any, big: Any) -> int:
    """Add what touches at the middle of 2 x 2 pixels only."""
    here, right, below, across = square
    if _matter(big, here, across):
        # Where one of the others is alike, they touch at a side, too.
        apart = _differs(right, here, across) and _differs(below, here, across)
        used = _add(contacts, recent, used, (here, across), 0) if apart else used
    if _matter(big, right, below):
        apart = _differs(here, right, below) and _differs(across, right, below)
        used = _add(contacts, recent, used, (right, below), 0) if apart else used
    return used


@entry
def _contacts(labels: Any, big: Any, border: Any, diagonal: Any, contacts: Any) -> Any:
    height, width = labels.shape[0] - 2, labels.shape[1] - 2
    recent = np.full(_RECENT, -1, np.int64)
    used = 0
    for i in range(1, height + 1):
        if used + 4 * width > len(contacts):
            larger = np.empty(2 * len(contacts) + 4 * width, contacts.dtype)
            for k in range(used):  # slices take long to compile
                larger[k] = contacts[k]
            contacts = larger
        for j in range(1, width + 1):
            here = labels[i, j] - 1
            right = labels[i, j + 1] - 1 if j < width else -1
            below = labels[i + 1, j] - 1 if i < height else -1
            if here == right and here == below and not diagonal:
                continue
            if _matter(big, here, right):
                used = _add(contacts, recent, used, (here, right), border[0])
            if _matter(big, here, below):
                used = _add(contacts, recent, used, (here, below), border[1])
            if diagonal and i < height and j < width:
                square = here, right, below, labels[i + 1, j + 1] - 1
                used = _add_corners(contacts, recent, used, square, big)
    return contacts, used


def find_contacts(
    labels: NDArray[np.int32],
    big: NDArray[np.bool_],
    border: tuple[int, int],
    *,
    diagonal: bool,
) -> NDArray[np.void]:
    """Contacts of regions within a block, but for those of two big ones.

    Args:
        labels: ``(h + 2, w + 2)`` as from :func:`geoseg.ops.regions.label_regions`.
        big: ``(n,)``; label k is ``big[k - 1]``.
        border: Length of the side between pixels beside each other, and above each other.
        diagonal: Whether corners count, with length 0.
    """
    contacts, used = _contacts(labels, big, border, diagonal, np.empty(1024, CONTACT))
    found: NDArray[np.void] = contacts[:used].copy()
    return found


@entry
def sum_values(labels: Any, values: Any, big: Any, sums: Any) -> None:
    """Add ``values`` ``(layer, h, w)`` up over small regions, into ``sums`` ``(n, layer)``."""
    for k in range(values.shape[0]):
        for i in range(values.shape[1]):
            for j in range(values.shape[2]):
                label = labels[i + 1, j + 1] - 1
                if label >= 0 and not big[label]:
                    sums[label, k] += values[k, i, j]
