import pytest

from geoseg.errors import ProductError
from geoseg.io.atomic import remove_leftovers, replacing, write_bytes


def test_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_bytes(path, b"old")
    with replacing(path) as made:
        assert made.name == "a.txt"
        made.write_bytes(b"new")
        made.with_suffix(".journal").write_bytes(b"vanishes")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")

    def fail_half_way():
        with replacing(path) as made:
            made.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_folder_takes_the_place_of_a_full_folder(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "old").write_text("x")
    with replacing(path) as made:
        made.mkdir()
        (made / "new").write_text("x")
    assert [p.name for p in path.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(ProductError, match="nothing was written"), replacing(tmp_path / "a"):
        pass


def test_long_names_are_possible(tmp_path):
    path = tmp_path / ("ä" * 120 + ".tif")
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProductError, match=r"file/a\.tif: cannot write here"):
        write_bytes(tmp_path / "file" / "a.tif", b"x")


def test_files_may_be_read_by_others_as_usual(tmp_path):
    write_bytes(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    left = tmp_path / ".a.tif.xyz.part"
    left.mkdir()
    (left / "a.tif").write_text("half")
    (tmp_path / "keep.part").write_text("somebody's")
    assert remove_leftovers(tmp_path) == [left]
    assert not left.exists()
    assert (tmp_path / "keep.part").exists()
