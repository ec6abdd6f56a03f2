"""Whatever happens to a ledger's bytes, it never claims a block that was not recorded."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.run.base import Done
from geoseg.run.ledger import Ledger

BLOCKS = [Window(i * 8, 0, i * 8 + 8, 8) for i in range(12)]
PARTS = {"inputs": "a", "model": "b"}


def write(path, windows):
    with Ledger.open(path, "f", PARTS) as ledger:
        for w in windows:
            ledger.record(Done(w, {"crc": [w.y0, 7], "counts": {1: 64}}))


def reopened(path):
    """Done blocks by their reports; a record made now must survive too."""
    with Ledger.open(path, "f", PARTS) as ledger:
        found = {d.block: d.report for d in ledger.reports()}
        assert set(found) == ledger.done
        ledger.record(Done(Window(0, 99, 8, 107), {"new": True}))
    with Ledger.open(path, "f", PARTS) as ledger:
        assert not ledger.changed
        assert ledger.done == {*found, Window(0, 99, 8, 107)}
    return found


@given(cut=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_torn_at_any_byte(cut):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.jsonl")
        write(path, BLOCKS)
        data = path.read_bytes()
        kept = data[: round(len(data) * cut)]
        path.write_bytes(kept)
        found = reopened(path)
        whole = max(0, kept.count(b"\n") - 1)
        assert set(found) == set(BLOCKS[:whole])
        assert all(r == {"crc": [b.y0, 7], "counts": {"1": 64}} for b, r in found.items())


@given(
    places=st.lists(st.floats(0, 0.999999), min_size=1, max_size=4),
    junk=st.binary(min_size=1, max_size=30),
    insert=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_damaged_anywhere(places, junk, insert):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.jsonl")
        write(path, BLOCKS)
        data = path.read_bytes()
        for place in places:
            at = int(len(data) * place)
            data = data[:at] + junk + data[at + (0 if insert else len(junk)) :]
        path.write_bytes(data)
        found = reopened(path)
        assert set(found) <= set(BLOCKS)
        assert all(r == {"crc": [b.y0, 7], "counts": {"1": 64}} for b, r in found.items())


@given(content=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_file_can_lie_there(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.jsonl")
        path.write_bytes(content)
        with Ledger.open(path, "f", PARTS) as ledger:
            assert ledger.changed == ["ledger"]
            assert not ledger.done


@given(
    ops=st.lists(st.tuples(st.sampled_from(["done", "forget", "reopen"]), st.integers(0, 5))),
)
@settings(max_examples=60, deadline=None)
def test_remembers_like_a_set(ops):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.jsonl")
        ledger, model = Ledger.open(path, "f", PARTS), {}
        for number, (op, i) in enumerate(ops):
            if op == "done":
                ledger.record(Done(BLOCKS[i], {"n": number}))
                model[BLOCKS[i]] = {"n": number}
            elif op == "forget":
                ledger.forget([BLOCKS[i]])
                model.pop(BLOCKS[i], None)
            else:
                ledger.close()
                ledger = Ledger.open(path, "f", PARTS)
            assert {d.block: d.report for d in ledger.reports()} == model
        ledger.close()
