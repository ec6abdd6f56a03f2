"""Alerts of forest loss: maps in, date by date, and a state per pixel kept in a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.holding import held_products
from geoseg.api.places import check_folder
from geoseg.api.planning import RunPlan
from geoseg.api.results import SceneResult, Told
from geoseg.api.stored import folder_of, is_there, map_here
from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.io.alert_store import (
    BLOCK,
    META,
    RECORDS,
    AlertStore,
    Observed,
    Watch,
    is_store,
    with_scene,
)
from geoseg.io.dated_map import DatedMap, find_map
from geoseg.io.mirroring import Mirror
from geoseg.io.staging import store_place
from geoseg.ops.alerts.rules import STATE_NAMES, Rule, to_date, to_day
from geoseg.run.lock import hold
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.store_lock import confirm_held, hold_output
from geoseg.run.threads import each_block
from geoseg.steps.alerts import Forest, ObserveBlock, SettleBlock, WatchBlock
from geoseg.workflow.alerts import Alerts, Watching


@dataclass(frozen=True, slots=True)
class Updated:
    """What came of an update.

    Attributes:
        store: Where it lies.
        added: Scenes that were not there, or not with this content.
        known: Scenes that were.
        replaced: Those of the added that took the place of an older content.
        blocks: How many were kept, advanced by new dates, or replayed from the first one.
    """

    store: Path
    added: tuple[Observed, ...]
    known: tuple[Observed, ...]
    replaced: tuple[Observed, ...]
    blocks: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        told = {
            name: [{"date": str(to_date(s.day)), "scene": s.scene} for s in getattr(self, name)]
            for name in ("added", "known", "replaced")
        }
        return {"store": str(self.store), **told, "blocks": self.blocks}


def update(
    store: Path,
    maps: Sequence[DatedMap],
    watching: Watching,
    *,
    block: int = BLOCK,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Updated:
    """Take maps into a store of alerts, and bring the state of all pixels to what they say.

    The store, byte by byte, is the same in whatever order and however often maps come, and whether
    or not a process was killed on the way: the last content of each scene counts. A store is made
    by its first update, on the grid of the first map.

    Args:
        store: A folder called ``*.zarr``.
        maps: In any order; none brings the store up to date after a crash or with another rule.
        watching: Which classes are forest, where forest was, and the rule; what is left out is
            what the store was made with.
        block: Side of the blocks of a new store, in pixels.
        workers: Threads; one a core without it.
        reporter: Told of progress.

    Raises:
        InputError: A map has no date, lacks the class, or the store was made for others; nothing
            was written.
        LockedError: Another update is at work on the store.
        ProductError: Something cannot be written.
    """
    teller = reporter or Silent()
    check_folder(store.parent, what=str(store))
    with hold_store(store):
        made = AlertStore.open(store) if is_store(store) else None
        if made is None and not maps:
            raise InputError(f"{store}: there is no such store, and no map to make it of")
        watch = _watch(made, watching)
        grid = maps[0].grid if made is None else made.grid
        _check_maps(maps, watch, grid)
        if watching.baseline is not None:
            before = find_map(watching.baseline)
            Forest.of(before.legend, watch.forest, (), what=str(before.classes))
        rule = watching.rule_for(None if made is None else made.rule)
        if made is None:
            made = _create(store, grid, watch, rule, watching.baseline, block, workers, teller)
        else:
            made.check(made.grid, watch)
        return _update(made, maps, rule, workers, teller)


def has_baseline(store: Path) -> bool:
    """Whether there is such a store, and it watches only what was forest on a map."""
    return is_store(store) and AlertStore.open(store).watch.baseline is not None


def settle(
    made: AlertStore, *, workers: int | None, reporter: Reporter, verify: bool = False
) -> dict[str, int]:
    """Bring all blocks to what their observations say; counts what was done to them.

    With ``verify`` states that should need nothing are read, too.
    """
    work = each_block(
        SettleBlock(made, verify), made.windows, name="alerts", reporter=reporter, workers=workers
    )
    return dict(Counter(work))


def check(plan: RunPlan) -> None:
    """Refuse alerts that the scenes of a run cannot give.

    Raises:
        InputError: The model has no such class, or nothing can be written.
    """
    section = _section(plan)
    legend = plan.committee.card.legend
    Forest.of(legend, section.forest, section.ignore, what="alerts.forest: the model")
    store = folder_of(section.store)
    check_folder(store.parent, what="alerts.store")
    if store_place(store) is None and _is_something_else(store):
        raise InputError(f"alerts.store: {store} is there and no store of alerts; choose another")
    for task in plan.tasks:
        if task.plan.scene.acquired is None:
            raise InputError(
                f"alerts: scene {task.plan.scene.id} has no date; give it one in its file name "
                f"(20240615) or with input.date"
            )
    if section.output is not None:
        check_folder(folder_of(section.output), what="alerts.output")


def _is_something_else(store: Path) -> bool:
    if not store.exists() or is_store(store):
        return False
    return not store.is_dir() or any(store.iterdir())


def follow(plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter) -> Told | None:
    """Take the scenes of a run into the store of its workflow, and write what it asks for.

    Returns:
        The alerts that there are, if scenes were added.

    Raises:
        InputError: A scene has no date, or the store was made for others.
        LockedError: Another run is at work on the store.
    """
    from geoseg.api.alert_products import export  # noqa: PLC0415 (imports this module)

    section = _section(plan)
    maps = [
        find_map(map_here(one.directory, "probabilities.tif"))
        for one in results
        if one.error is None
    ]
    with _store_here(section.store) as store:
        done = update(store, maps, section.watching(), reporter=reporter)
        if section.output is not None:
            out = folder_of(section.output)
            if done.added or not is_there(out / "item.json"):
                area = section.smallest()
                with held_products(out) if store_place(out) else nullcontext():
                    export(store, out, min_area=area, reporter=reporter)
        return _told(done, section.store) if done.added else None


@contextmanager
def _store_here(named: str) -> Iterator[Path]:
    """The store of a workflow; where it is in a bucket, what stands for it, and goes back there."""
    place = store_place(folder_of(named))
    if place is None:
        yield Path(named)
        return
    # States go before their records do, and come back after all that these speak of.
    mirror = Mirror(place, head=META, vouching=RECORDS)
    with hold_output(place):
        mirror.pull()
        yield mirror.folder
        mirror.push(confirm=lambda: confirm_held(place))


def _told(done: Updated, named: str) -> Told | None:
    """What the store holds by now; None where it has no alert."""
    from geoseg.api.alert_table import held_by  # noqa: PLC0415 (imports this module)

    held = held_by(done.store)
    alerts = {row.name: row.ha for row in held.rows if row.state in STATE_NAMES and row.state}
    if not alerts:
        return None
    day, _ = held.scenes[-1]
    shares = ", ".join(f"{name} {area:,.2f} ha" for name, area in alerts.items())
    key = f"{named if '://' in named else done.store} {fingerprint.digest(held.scenes)[:16]}"
    return Told("alerts", key, f"alerts by {day}: {shares}", {"date": day, "areas_ha": alerts})


def _section(plan: RunPlan) -> Alerts:
    section = plan.workflow.alerts
    if section is None:
        raise InputError("the workflow has no alerts")
    return section


def _update(
    made: AlertStore, maps: Sequence[DatedMap], rule: Rule, workers: int | None, teller: Reporter
) -> Updated:
    made.tidy()
    scenes, added, known, replaced = made.scenes, [], [], []
    teller.started(scenes=len(maps), blocks=len(made.windows), dashboard=None)
    for dated in maps:
        new = Observed(to_day(dated.day()), dated.id, _digest(dated))
        if new in scenes:
            known.append(new)
            continue
        _observe(made, dated, new, workers, teller)
        replaced += [s for s in scenes if (s.scene, s.day) == (new.scene, new.day)]
        scenes = with_scene(scenes, new)
        added.append(new)
    if added or rule != made.rule or not is_store(made.path):
        made = made.keep(scenes, rule)
    blocks = settle(made, workers=workers, reporter=teller)
    made.tidy()
    dates = f"{len(made.scenes)} scenes" + (
        f" to {to_date(made.last_day)}" if made.last_day else ""
    )
    teller.done(f"{made.path}: {len(added)} scenes added, {dates}")
    return Updated(made.path, tuple(added), tuple(known), tuple(replaced), blocks)


def _observe(
    made: AlertStore, dated: DatedMap, new: Observed, workers: int | None, teller: Reporter
) -> None:
    watch = made.watch
    forest = Forest.of(dated.legend, watch.forest, watch.ignore, what=str(dated.classes))
    reader = dated.on(made.grid)
    try:
        work = ObserveBlock(reader, forest, made.add_array(new), made.watched())
        name = f"observe {to_date(new.day)}"
        seen = sum(each_block(work, made.windows, name=name, reporter=teller, workers=workers))
    finally:
        reader.close()
    if not seen:
        teller.warning(f"{dated.classes}: has no pixel that is watched")


def _create(
    store: Path,
    grid: GeoBox,
    watch: Watch,
    rule: Rule,
    baseline: Path | None,
    block: int,
    workers: int | None,
    teller: Reporter,
) -> AlertStore:
    made = AlertStore.create(store, grid, watch, rule, block=block)
    watched = made.watched()
    if baseline is not None and watched is not None:
        before = find_map(baseline)
        forest = Forest.of(before.legend, watch.forest, (), what=str(before.classes))
        reader = before.on(grid)
        work = WatchBlock(reader, forest, watched)
        for _ in each_block(work, made.windows, name="watch", reporter=teller, workers=workers):
            pass
        reader.close()
    return made


def _watch(made: AlertStore | None, watching: Watching) -> Watch:
    """What is asked for; what is not said is as the store has it."""
    own = None if made is None else made.watch
    forest = watching.forest or (() if own is None else own.forest)
    if not forest:
        raise InputError("alerts: say which class is forest (forest: trees, or --forest trees)")
    baseline = None if watching.baseline is None else _digest(find_map(watching.baseline))
    return Watch(
        tuple(name.casefold() for name in forest),
        tuple(n.casefold() for n in watching.ignore) or (() if own is None else own.ignore),
        baseline or (None if own is None else own.baseline),
    )


def _check_maps(maps: Sequence[DatedMap], watch: Watch, grid: GeoBox) -> None:
    """Refuse what cannot be taken in, before anything is written."""
    if grid.crs is None:
        raise InputError(f"{maps[0].classes}: has no CRS")
    for dated in maps:
        to_day(dated.day())
        Forest.of(dated.legend, watch.forest, watch.ignore, what=str(dated.classes))
        dated.on(grid).close()


def _digest(dated: DatedMap) -> str:
    """Of the content of a map, wherever it lies."""
    files = [p for p in (dated.classes, dated.confidence, dated.probabilities) if p is not None]
    told = [
        {k: v for k, v in one.items() if k != "href"} for one in fingerprint.inputs(map(str, files))
    ]
    return fingerprint.digest([*told, [[c.value, c.name] for c in dated.legend.classes]])


@contextmanager
def hold_store(store: Path) -> Iterator[None]:
    """Hold a store: the lock lies beside it, as a Zarr group holds nothing but arrays."""
    place = store.with_name(f".{store.name}.lock")
    try:
        with hold(place):
            yield
    finally:
        with suppress(OSError):
            place.rmdir()
