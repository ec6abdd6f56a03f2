"""Which file system a folder is on, and what the ledger of runs makes of it."""

from typing import NamedTuple

import psutil
import pytest

from geoseg.run import file_systems
from geoseg.run.clock import Clock
from geoseg.run.work_ledger import WorkLedger


class Mount(NamedTuple):
    mountpoint: str
    fstype: str


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    def mount(name):
        mounts = [Mount("/", "ext4"), Mount(str(tmp_path / "net"), name)]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
        return tmp_path / "net" / "maps"

    return mount


@pytest.mark.parametrize(
    ("name", "shared"),
    [("nfs4", True), ("lustre", True), ("fuse.seaweedfs", True), ("ext4", False), ("tmpfs", False)],
)
def test_the_nearest_mount_counts(mounted, tmp_path, name, shared):
    folder = mounted(name)
    assert file_systems.file_system(folder) == name
    assert file_systems.is_shared(folder) == shared
    assert not file_systems.is_shared(tmp_path / "network")


@pytest.mark.parametrize(("name", "mode"), [("nfs4", "delete"), ("xfs", "wal")])
def test_a_ledger_that_hosts_share_writes_nothing_ahead(mounted, name, mode):
    with WorkLedger(mounted(name), "w", Clock.at()) as ledger:
        ledger.begin()
        assert ledger._connect().execute("PRAGMA journal_mode").fetchone() == (mode,)


def test_this_machine_tells(tmp_path):
    assert file_systems.file_system(tmp_path)
