"""Which file system a folder is on: one of this machine, or one that several hosts share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

SHARED: Final = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "wekafs",
    ]
)
"""Names of file systems of a network, as the kernel has them."""


def is_shared(folder: Path) -> bool:
    """Whether other hosts may have the file system of ``folder``, too, as far as can be told.

    Those in user space (``fuse.sshfs``, ``fuse.seaweedfs``...) count as such.
    """
    name = file_system(folder)
    return name in SHARED or name.startswith("fuse.")


def file_system(folder: Path) -> str:
    """Its name; "" where nobody knows."""
    place = folder.resolve()
    try:
        mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    except OSError:
        return ""
    for above in (place, *place.parents):
        if above in mounts:
            return str(mounts[above])
    return ""
