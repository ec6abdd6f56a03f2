"""Damage at random places of what a run has stored: found when it goes on, and made good."""

import random
import shutil
import sqlite3

import pytest
from interrupting import CutOff, same

from geoseg.errors import BlockError, ProductError
from geoseg.run.clock import Clock
from geoseg.run.work_ledger import WorkLedger, ledger_path

DAMAGES = ("flip", "truncate", "empty", "remove", "overwrite", "append")


def damage(path, chance):
    """Damage a file somewhere; what was done to it."""
    data, how = bytearray(path.read_bytes()), chance.choice(DAMAGES)
    at = chance.randrange(len(data)) if data else 0
    if how == "flip" and data:
        data[at] ^= 1 << chance.randrange(8)
    elif how == "truncate":
        del data[at:]
    elif how == "empty":
        data.clear()
    elif how == "overwrite":
        data[at : at + 64] = chance.randbytes(min(64, len(data) - at))
    elif how == "append":
        data += chance.randbytes(20)
    path.write_bytes(data)
    if how == "remove":
        path.unlink()
    return f"{how} {path.name} at {at}"


def stored(state):
    """Every file that a run goes on with."""
    aside = {"ledger.sqlite", "status.json", "events.jsonl"}
    return sorted(p for p in state.rglob("*") if p.is_file() and p.name not in aside)


@pytest.fixture
def broken_off(case):
    """A run that broke off before its products, with blocks of every kind; and what it should make."""
    case.data["output"]["raster"] = {"probabilities": True}
    wanted = case.fresh()
    case.run(CutOff("trace", 9))
    kept = case.folder / "kept"
    shutil.copytree(case.out, kept)
    return case, kept, wanted


def test_damage_is_found_and_made_good(broken_off, chaos):
    case, kept, wanted = broken_off
    chance = random.Random(chaos)  # noqa: S311 (no secret)
    names = [p.relative_to(kept) for p in stored(kept / ".geoseg")]
    assert len(names) > 40
    found = 0
    for _ in range(3 * chaos):
        shutil.rmtree(case.out)
        shutil.copytree(kept, case.out)
        did = [damage(case.out / name, chance) for name in chance.sample(names, 2)]
        heard = case.run()
        assert same(case.map(), wanted), did
        found += "again" in heard.text or "anew" in heard.text
    print(f"\n{3 * chaos} times two files damaged; said in {found} of them")  # noqa: T201 (with -s)
    assert found


@pytest.mark.parametrize("stage", ["segment", "refine", "minimum-unit-survey", "trace"])
def test_damage_is_said(broken_off, stage):
    case, _, wanted = broken_off
    places = {
        "segment": "work-*.zarr/classes/1.1",
        "refine": "work-*.zarr/refined-*/1.1",
        "minimum-unit-survey": "unit-*/stage-0/survey_y0000064_x0000064.npz",
        "trace": "arcs-*/y0000064_x0000064.npz",
    }
    (path,) = (case.out / ".geoseg").glob(places[stage])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    heard = case.run()
    words = f"{stage}: 1 of 9 stored blocks are damaged or missing: they are done again"
    assert any(text.startswith(words) for text in heard.said), heard.said
    # What later stages made may be of the damaged block: all of it is made anew.
    stages = list(heard.before)
    later = stages[stages.index(stage) + 1 :]
    assert all(heard.before[name] == 0 for name in later)
    assert heard.before[stage] == 8
    assert same(case.map(), wanted)


def test_a_chunk_damaged_while_the_run_goes_on(case):
    """No later stage takes it for what was stored: the run ends, and the next one makes it good."""

    def flip():
        (path,) = (case.out / ".geoseg").glob("work-*.zarr/classes/0.0")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)

    with pytest.raises(BlockError, match=r"cannot read"):
        case.run(CutOff("segment", 9, meanwhile=flip))
    assert not (case.out / "item.json").exists()
    heard = case.run()
    assert "segment: 1 of 9 stored blocks are damaged" in heard.text
    assert same(case.map(), case.fresh())


def use(folder, did):
    """What every run asks and notes; nothing of it is other than what was written."""
    with WorkLedger(folder, "w", Clock.at()) as ledger:
        for work in ledger.works("scene"):
            number = int(work.name.removeprefix("scene-"))
            expected = {"inputs": f"{number:064x}"}
            assert (dict(work.parts), work.place) == (expected, f"2024/{number}"), did
            assert ledger.need("scene", work.name, expected) is None, did
        ledger.begin()
        ledger.end("good", {})


def test_the_ledger_of_runs(tmp_path, chaos):
    """SQLite's file with any bytes damaged: an answer, or one error that says what to do."""
    with WorkLedger(tmp_path, "w", Clock.at()) as ledger:
        ledger.begin()
        for i in range(60):
            ledger.note("scene", f"scene-{i}", {"inputs": f"{i:064x}"}, place=f"2024/{i}",
                        about={"inputs": {"B04.tif": "1" * 8}}, facts={"fingerprint": "f" * 64})  # fmt: skip
        ledger.end("good", {"made": 60})
    path = ledger_path(tmp_path)
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    base.close()
    whole, chance, refused = path.read_bytes(), random.Random(chaos), 0  # noqa: S311 (no secret)
    for _ in range(20 * chaos):
        path.write_bytes(whole)
        did, told = damage(path, chance), f"{path}: .*move it away"
        try:
            use(tmp_path, did)
        except ProductError as error:
            refused += 1
            with pytest.raises(ProductError, match=told):
                raise error from None
        for aside in tmp_path.rglob("ledger.sqlite-*"):
            aside.unlink()
    assert refused
