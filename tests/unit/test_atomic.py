import os

import pytest

from geoseg.errors import ProductError
from geoseg.io.atomic import (
    detach,
    remove_abandoned,
    remove_leftovers,
    replacing,
    room_in,
    write_bytes,
)


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


def test_abandoned_folders_go_and_those_in_use_stay(tmp_path):
    abandoned, foreign = tmp_path / ".a.txt.1234.part", tmp_path / ".b.txt.1234.part"
    for folder in (abandoned, foreign):
        folder.mkdir()
        (folder / "half").touch()
    with room_in(tmp_path, "a.txt") as mine:
        remove_abandoned(tmp_path, "a.txt")
        assert mine.is_dir()
        assert not abandoned.exists()
        assert foreign.is_dir()
    assert not mine.exists()


def test_a_detached_folder_is_gone_while_somebody_writes_to_it(tmp_path):
    folder = tmp_path / "work.zarr"
    (folder / "classes").mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    detach(folder)
    os.close(descriptor)
    detach(folder)  # nothing is there any more
    assert not list(tmp_path.iterdir())
