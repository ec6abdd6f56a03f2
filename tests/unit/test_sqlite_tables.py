"""Tables written page by page are those that SQLite itself would have read and written."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.io.rtree_tables import RTreeFiller
from geoseg.io.sqlite_tables import PageFile, TableFiller
from geoseg.ops.sqlite_pages import BLOB, INTEGER, LOCK_PAGE, NULL, PAGE, REAL, TEXT, Rows

INTEGERS = [0, 1, 2, -1, *(sign * (1 << bits) + d for bits in (7, 8, 15, 16, 23, 31, 47, 62)
                           for sign in (1, -1) for d in (-1, 0, 1))]  # fmt: skip
# Where rows begin to go on on other pages, and where those end.
SIZES = [0, 1, 500, 4040, *range(4055, 4065), 4500, 8140, *range(8150, 8160), 12_300, 70_000]


def rows_of(records):
    """Rows of ``key, integer, float, text, blob``, any of which but the key may be None."""
    count = len(records)
    keys = np.array([r[0] for r in records], np.int64)
    numbers, absent = np.zeros((5, count), np.int64), np.zeros((5, count), np.bool_)
    begins = np.zeros((5, count + 1), np.int64)
    absent[1:] = [[r[c] is None for r in records] for c in range(1, 5)]
    numbers[1] = [r[1] or 0 for r in records]
    numbers[2] = np.array([r[2] or 0 for r in records], np.float64).view(np.int64)
    texts = [(r[3] or "").encode() for r in records]
    blobs = [r[4] or b"" for r in records]
    begins[3, 1:] = np.cumsum([len(t) for t in texts])
    return Rows(
        keys,
        np.array([NULL, INTEGER, REAL, TEXT, BLOB], np.uint8),
        numbers,
        absent,
        begins,
        np.frombuffer(b"".join(texts), np.uint8).copy(),
        np.full((count, 2), 65, np.uint8),
        np.concatenate([[0], np.cumsum([len(b) for b in blobs])]).astype(np.int64),
        np.frombuffer(b"".join(blobs), np.uint8),
    )


def database(path):
    """A file with an empty table ``t``; where its first page is."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, i INTEGER, f REAL, s TEXT, b BLOB)")
        db.commit()
        return db.execute("SELECT rootpage FROM sqlite_master").fetchone()[0]


def fill(path, records, parts=1, *, start=None):
    root = database(path)
    if start is not None:
        with path.open("r+b") as file:
            file.truncate(start * PAGE)
    with PageFile(path) as file:
        table = TableFiller(file, root)
        for part in np.array_split(np.arange(len(records)), parts):
            if len(part):
                table.append(rows_of([records[k] for k in part]))
        table.finish()


def read_back(path):
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return db.execute("SELECT * FROM t").fetchall()


def with_head(records):
    return [(*r[:4], None if r[4] is None else b"AA" + r[4]) for r in records]


@st.composite
def tables(draw):
    integers = st.one_of(st.none(), st.sampled_from(INTEGERS), st.integers(-(2**63), 2**63 - 1))
    floats = st.one_of(st.none(), st.floats(allow_nan=False))
    texts = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1)))
    sizes = st.one_of(st.none(), st.integers(0, 90), st.sampled_from(SIZES))
    steps = draw(st.lists(st.integers(1, 300), max_size=60))
    return [
        (
            int(key),
            draw(integers),
            draw(floats),
            draw(texts),
            None if (size := draw(sizes)) is None else bytes([key % 251]) * size,
        )
        for key in np.cumsum(steps)
    ]


@settings(max_examples=60, deadline=None)
@given(records=tables(), parts=st.integers(1, 5))
def test_any_rows_are_read_back_by_sqlite(tmp_path_factory, records, parts):
    path = tmp_path_factory.mktemp("rows") / "a.db"
    fill(path, records, parts)
    assert read_back(path) == with_head(records)


def test_many_rows_make_several_levels(tmp_path):
    path = tmp_path / "a.db"
    records = [(k, k * k, k / 7, str(k), bytes(900)) for k in range(1, 3001)]
    fill(path, records, parts=7)
    assert read_back(path) == with_head(records)
    with closing(sqlite3.connect(path)) as db:
        for key in (1, 1500, 2999, 3000):
            assert db.execute("SELECT i FROM t WHERE k = ?", (key,)).fetchone() == (key * key,)
        assert db.execute("SELECT i FROM t WHERE k = 3001").fetchone() is None
        db.executemany("DELETE FROM t WHERE k = ?", [(k,) for k in range(1, 3000, 2)])
        db.executemany("INSERT INTO t VALUES (?, 0, 0, '', '')", [(k,) for k in range(5000, 6000)])
        db.commit()
    assert len(read_back(path)) == 2500


def test_the_same_rows_give_the_same_bytes_in_any_parts(tmp_path):
    records = [(k, k, None, "é" * (k % 50), bytes(k * 7)) for k in range(1, 900)]
    fill(tmp_path / "a.db", records)
    fill(tmp_path / "b.db", records, parts=31)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()


@pytest.mark.parametrize("before", [2, 3, 5])
@pytest.mark.parametrize("size", [9000, 1500])
def test_the_page_that_sqlite_locks_stays_empty(tmp_path, before, size):
    path = tmp_path / "large.db"  # a gigabyte of holes
    records = [(k, k, 0.5, "x", bytes([k]) * size) for k in range(1, 21)]
    fill(path, records, start=LOCK_PAGE - before)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM t").fetchall() == with_head(records)
    with path.open("rb") as file:
        file.seek((LOCK_PAGE - 1) * PAGE)
        assert file.read(PAGE) == bytes(PAGE)
        assert file.seek(0, 2) > (LOCK_PAGE + 3) * PAGE


def tree(path, boxes, parts):
    """An R-tree of boxes ``xmin, ymin, xmax, ymax``, packed after each part."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIRTUAL TABLE r USING rtree(id, minx, maxx, miny, maxy)")
        db.commit()
        roots = [
            db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (f"r_{t}",)).fetchone()
            for t in ("node", "rowid", "parent")
        ]
    with PageFile(path) as file:
        filler = RTreeFiller(file, tuple(root for (root,) in roots))
        for k, part in enumerate(np.array_split(np.arange(len(boxes)), parts)):
            if k:
                filler.pack()
            filler.append(part + 1, boxes[part])
        filler.finish()


@pytest.mark.parametrize(
    ("count", "parts"),
    [(0, 1), (1, 1), (48, 1), (49, 1), (60, 2), (2304, 1), (2305, 1), (5000, 3), (70_000, 2)],
)
def test_a_packed_tree_is_found_sound_and_finds_what_is_there(tmp_path, count, parts):
    rng = np.random.default_rng(count)
    corner = rng.uniform(-1e6, 5e6, (count, 2))
    boxes = np.concatenate([corner, corner + rng.exponential(2000, (count, 2))], axis=1)
    path = tmp_path / "a.db"
    tree(path, boxes, parts)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT rtreecheck('r')").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM r").fetchone() == (count,)
        for x, y, side in zip(*rng.uniform(-1e6, 5e6, (2, 10)), [1e4, 1e6] * 5, strict=True):
            found = db.execute(
                "SELECT id FROM r WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?",
                (x, x + side, y, y + side),
            ).fetchall()
            meets = (boxes[:, 2] >= x) & (boxes[:, 0] <= x + side)
            meets &= (boxes[:, 3] >= y) & (boxes[:, 1] <= y + side)
            assert set(np.flatnonzero(meets) + 1) <= {k for (k,) in found}
            # Rounded outwards to single precision, a few more may be found.
            assert len(found) <= meets.sum() + 2
        db.executemany("DELETE FROM r WHERE id = ?", [(k,) for k in range(1, count // 2)])
        db.executemany(
            "INSERT INTO r VALUES (?, ?, ?, ?, ?)",
            [(count + k, k, k + 1, -k, 1 - k) for k in range(1, 300)],
        )
        assert db.execute("SELECT rtreecheck('r')").fetchone() == ("ok",)
