"""GeoPackages that somebody else has open while they are replaced."""

import sqlite3
from contextlib import closing

import pytest
from vector_files import check, squares

from geoseg.io.geopackage import write_geopackage


def made(path, count):
    write_geopackage(path, {"x": squares(count)}, grid_crs="EPSG:32629", styles={}, tags={})
    return path.read_bytes()


def rows(connection):
    return connection.execute("SELECT count(*) FROM x").fetchone()[0]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.long
def test_what_an_editor_leaves_beside_the_old_file_does_not_get_into_the_new_one(tmp_path, mode):
    """QGIS writes to a log beside the file; SQLite would play it into whatever has that name."""
    path = tmp_path / "a.gpkg"
    alone = made(tmp_path / "alone.gpkg", 900)
    made(path, 300)
    with closing(sqlite3.connect(path, isolation_level=None)) as editor:
        editor.execute(f"PRAGMA journal_mode = {mode}")
        editor.execute("PRAGMA wal_autocheckpoint = 0")
        editor.execute("PRAGMA cache_spill = 1")
        editor.execute("PRAGMA cache_size = 1")
        editor.execute("BEGIN EXCLUSIVE" if mode == "DELETE" else "BEGIN")
        editor.execute("CREATE TABLE notes (text)")
        editor.executemany("INSERT INTO notes VALUES (?)", [("x" * 3000,)] * 50)
        if mode == "WAL":
            editor.execute("COMMIT")
        left = [p.name for p in tmp_path.glob("a.gpkg-*")]
        assert left, "the editor has something open"
        made(path, 900)
        assert path.read_bytes() == alone
        assert not list(tmp_path.glob("a.gpkg-*"))
        assert check(path, "x") == 900
        assert rows(editor) == 300, "whoever has the old one open keeps it"
    assert check(path, "x") == 900
    assert path.read_bytes() == alone


def test_a_reader_in_the_middle_of_a_read_is_not_disturbed(tmp_path):
    path = tmp_path / "a.gpkg"
    made(path, 300)
    with closing(sqlite3.connect(path)) as reader:
        cursor = reader.execute("SELECT fid FROM x")
        seen = [cursor.fetchone() for _ in range(10)]
        made(path, 900)
        assert len(seen + cursor.fetchall()) == 300
    assert check(path, "x") == 900
