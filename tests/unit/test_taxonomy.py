"""Codes, names and colours: what a legend does not know, and what files say differently."""

from geoseg.legend import LANDCOVER, LEGENDS
from geoseg.ops.taxonomy import Said, check_taxonomy

COLORS = {c.value: c.color for c in LANDCOVER.classes}
NAMES = dict(zip(LANDCOVER.values, LANDCOVER.names, strict=True))


def found(*said, legend=None):
    return {(f.level, f.what): f for f in check_taxonomy(list(said), legend)}


def raster(counts, file="a.tif", **options):
    return Said(file, counts, {key: (i, 7.0) for i, key in enumerate(counts)}, **options)


def test_nothing_is_wrong_with_what_is_right():
    counts = dict.fromkeys(LANDCOVER.values, 5)
    assert not found(raster(counts, names=NAMES, colors=COLORS), legend=LANDCOVER)
    assert not found(raster(counts), raster(counts, "b.tif"))
    words = {name.upper(): 1 for name in LANDCOVER.names}
    assert not found(raster(words, unit="features"), legend=LANDCOVER)


def test_codes_and_names_that_the_legend_lacks():
    said = found(raster({1: 9, 7: 12, 300: 2, 2.5: 1}), legend=LANDCOVER)
    unknown = said["fault", "unknown-code"]
    assert (unknown.count, unknown.places) == (12, ((1, 7.0),))
    assert "code 7" in unknown.text
    assert said["fault", "no-code"].count == 3
    assert "300, 2.5: class codes" in said["fault", "no-code"].text
    assert "Trees" in said["note", "unused-class"].text
    words = found(raster({"Water": 3, "Meadow": 4}, unit="features"), legend=LANDCOVER)
    assert words["fault", "unknown-name"].count == 4
    assert not found(raster({255: 9} | dict.fromkeys(LANDCOVER.values, 1)), legend=LANDCOVER)


def test_names_and_colours_that_differ_from_the_legend():
    swapped = NAMES | {1: NAMES[2], 2: NAMES[1]}
    counts = dict.fromkeys(LANDCOVER.values, 5)
    said = found(raster(counts, names=swapped, colors=COLORS | {3: "#000000"}), legend=LANDCOVER)
    assert said["fault", "names-differ"].file == "a.tif"
    assert "#000000" in said["note", "colours-differ"].text
    # Another shade of it is not worth a word.
    near = found(raster(counts, colors=COLORS | {1: "#1c5daf"}), legend=LANDCOVER)
    assert not near


def test_files_that_contradict_one_another():
    one = raster({1: 1}, names={1: "Water"}, colors={1: "#0000ff"})
    other = raster({1: 1}, "b.tif", names={1: "Trees"}, colors={1: "#00ff00"})
    said = found(one, other)
    assert said["fault", "names-differ"].file == "b.tif"
    assert ("warning", "colours-differ") in said


def test_spellings_and_names_that_come_twice():
    said = found(raster({"Water": 2, "water ": 1, "Trees": 1}, unit="features"))
    assert "'Water' (2 features) and 'water ' (1 features)" in said["warning", "spelling"].text
    twice = found(raster({1: 1, 2: 1}, names={1: "Crops", 2: "crops"}))
    assert ("warning", "name-twice") in twice
    assert ("warning", "name-twice") not in found(raster({1: 1}, names={1: "x", 2: "x", 3: "x"}))


def test_every_shipped_legend_is_at_peace_with_itself():
    for legend in LEGENDS.values():
        names = dict(zip(legend.values, legend.names, strict=True))
        colors = {c.value: c.color for c in legend.classes}
        counts = dict.fromkeys(legend.values, 1)
        assert not found(raster(counts, names=names, colors=colors), legend=legend)
