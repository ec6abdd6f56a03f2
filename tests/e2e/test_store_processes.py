"""Many processes write one store at once; one of them is killed."""

import os
import signal
import subprocess
import sys

import numpy as np
from products import GRIDS, class_map

from geoseg.grid import full_window
from geoseg.io.zarr_store import ZarrRaster

WRITER = """
import sys
import numpy as np
from geoseg.grid import blocks
from geoseg.io.zarr_store import ZarrRaster
path, values, which, of = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
store = ZarrRaster(path, "classes")
print("ready", flush=True)
while True:
    for index, window in enumerate(blocks(values.shape, store.block)):
        if index % of == which:
            store.write(window, values[window.slices])
    print("done", flush=True)
    if which:
        break
"""


def start(store, values, which, of):
    command = [sys.executable, "-c", WRITER, str(store.path), str(values), str(which), str(of)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_writers_do_not_meet_and_a_killed_one_leaves_whole_chunks(tmp_path):
    grid = GRIDS["north-up"]
    values = class_map(full_window(grid).shape)
    np.save(tmp_path / "values.npy", values)
    store = ZarrRaster.create(tmp_path / "a.zarr", grid, block=128, fill=0)
    writers = [start(store, tmp_path / "values.npy", which, 3) for which in range(3)]
    try:
        # The first one writes for ever, until it is killed somewhere in the middle of it.
        for line in writers[0].stdout:
            if line == "done\n":
                break
        os.kill(writers[0].pid, signal.SIGKILL)
        assert [w.wait(timeout=120) for w in writers[1:]] == [0, 0]
        writers[0].wait(timeout=120)
    finally:
        for writer in writers:
            writer.kill()
            writer.stdout.close()
    np.testing.assert_array_equal(store.read(full_window(grid)), values)
