"""The run on paper against what can be worked out by hand, and rules that hold for any run."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import PlanError
from geoseg.ops import forecast
from geoseg.ops.forecast import Ahead, SceneCost, StageCost, simulate_run
from geoseg.ops.simulation import BlockCost, Pool, simulate_stage

SECONDS = st.floats(0.0, 10.0)
COSTS = st.builds(BlockCost, read=SECONDS, latency=SECONDS, infer=SECONDS, write=SECONDS)
BLOCKS = st.lists(COSTS, min_size=1, max_size=30)
POOLS = st.builds(
    Pool,
    workers=st.integers(1, 5),
    lanes=st.integers(1, 4),
    models=st.integers(1, 3),
    cores=st.floats(0.5, 6.0),
    together=st.integers(1, 5),
    gpu=st.booleans(),
    dispatch=st.floats(0.0, 0.5),
    failures=st.floats(0.0, 0.5),
)


def own_cores(workers, **more):
    """As many cores as anyone could use: nobody waits for one."""
    return Pool(workers=workers, cores=1000.0, together=workers, **more)


@given(st.integers(1, 60), st.integers(1, 8), SECONDS)
def test_equal_blocks_on_lanes_go_in_rounds(blocks, workers, seconds):
    pool = own_cores(workers, lanes=1)
    found = simulate_stage([BlockCost(infer=seconds)] * blocks, pool)
    assert found.wall == pytest.approx(ceil(blocks / workers) * seconds)
    assert (found.tries, found.failed) == (blocks, 0)


@given(st.integers(1, 40), SECONDS, SECONDS, SECONDS)
def test_three_lanes_are_a_pipeline_where_the_model_is_the_slowest(blocks, read, infer, write):
    infer = max(infer, read + write)
    costs = [BlockCost(read=read, infer=infer, write=write)] * blocks
    found = simulate_stage(costs, own_cores(1, lanes=3, models=1))
    assert found.wall == pytest.approx(read + blocks * infer + write)


@given(st.integers(1, 40), SECONDS, SECONDS, SECONDS)
def test_one_lane_does_one_thing_after_the_other(blocks, read, infer, write):
    costs = [BlockCost(read=read, latency=1.0, infer=infer, write=write)] * blocks
    found = simulate_stage(costs, own_cores(1, lanes=1))
    assert found.wall == pytest.approx(blocks * (read + 1.0 + infer + write))


@given(st.integers(1, 12), st.floats(0.25, 20.0), st.floats(0.1, 9.0))
def test_cores_are_shared_evenly(lanes, cores, seconds):
    pool = Pool(lanes=lanes, models=lanes, cores=cores)
    found = simulate_stage([BlockCost(infer=seconds)] * lanes, pool)
    assert found.wall == pytest.approx(seconds * max(1.0, lanes / cores))


@given(st.integers(1, 50), st.floats(0.01, 2.0))
def test_a_slow_scheduler_sets_the_pace(blocks, dispatch):
    costs = [BlockCost(infer=dispatch / 2)] * blocks
    found = simulate_stage(costs, own_cores(8, lanes=4, models=4, dispatch=dispatch))
    assert found.wall == pytest.approx((blocks - 1) * dispatch + dispatch / 2)


@given(st.integers(1, 6), st.floats(0.0, 50.0))
def test_each_worker_opens_the_job_once_and_blocks_wait_for_it(workers, opening):
    costs = [BlockCost(infer=1.0)] * workers
    found = simulate_stage(costs, own_cores(workers), opening=opening)
    assert found.wall == pytest.approx(opening + 1.0)
    assert found.opening == pytest.approx(opening * workers)


@given(BLOCKS, POOLS, SECONDS)
def test_no_run_beats_the_work_in_it(costs, pool, opening):
    found = simulate_stage(costs, pool, opening=opening)
    on_cores = found.read + found.write + found.opening + (0 if pool.gpu else found.infer)
    places = pool.workers * (1 if pool.gpu else pool.models)
    longest = max(c.read + c.latency + c.infer + c.write for c in costs)
    least = max(
        on_cores / (pool.cores * pool.machines),
        found.infer / places,
        (found.tries - 1) * pool.dispatch,
        opening + longest,
    )
    assert found.wall >= least - 1e-6


@given(BLOCKS, POOLS)
def test_every_block_has_as_many_tries_as_its_luck_and_no_more(costs, pool):
    found = simulate_stage(costs, pool, seed=3)
    assert len(costs) <= found.tries <= len(costs) * (1 + pool.retries)
    assert 0 <= found.failed <= len(costs)
    if not pool.failures:
        assert (found.tries, found.failed) == (len(costs), 0)
        assert found.infer == pytest.approx(sum(c.infer for c in costs))


@given(BLOCKS, st.integers(1, 6), st.floats(0.0, 0.5))
def test_more_workers_with_cores_of_their_own_are_never_slower(costs, workers, failures):
    walls = [
        simulate_stage(costs, Pool(n, lanes=1, failures=failures), seed=5).wall
        for n in (workers, workers + 1)
    ]
    assert walls[1] <= walls[0] + 1e-9


@given(COSTS, st.integers(1, 40), st.integers(1, 5), st.integers(1, 3))
def test_more_workers_are_never_slower_on_equal_blocks(cost, blocks, workers, lanes):
    walls = [
        simulate_stage([cost] * blocks, own_cores(n, lanes=lanes)).wall
        for n in (workers, workers + 1)
    ]
    assert walls[1] <= walls[0] + 1e-6


@given(BLOCKS, POOLS)
def test_the_same_run_on_paper_is_the_same(costs, pool):
    assert simulate_stage(costs, pool, seed=1) == simulate_stage(costs, pool, seed=1)


@given(BLOCKS, POOLS)
def test_luck_does_not_depend_on_who_works(costs, pool):
    other = Pool(workers=pool.workers + 2, lanes=2, failures=pool.failures)
    found, again = (simulate_stage(costs, p, seed=9) for p in (pool, other))
    assert (found.tries, found.failed) == (again.tries, again.failed)


def test_failures_cost_their_share():
    costs = [BlockCost(infer=1.0)] * 4000
    found = simulate_stage(costs, Pool(workers=4, cores=4, together=4, failures=0.1, retries=2))
    assert found.tries == pytest.approx(4000 * (1 + 0.1 + 0.01), rel=0.02)
    assert 0 < found.failed < 20  # 0.1 % of 4000 lose all three tries


def a_scene(*costs, before=0.0, after=0.0, products=0.0, count=1, opening=0.0):
    """With one stage of these blocks."""
    stages = (StageCost("segment", costs, opening),)
    return SceneCost(before, stages, after, count, products)


@settings(max_examples=20)
@given(BLOCKS, st.integers(1, 1000), SECONDS, SECONDS, SECONDS)
def test_one_after_the_other_takes_as_many_times_as_long(costs, count, before, after, products):
    stages = (StageCost("segment", tuple(costs)), StageCost("trace", tuple(costs)))
    one, many = (
        simulate_run([SceneCost(before, stages, after, n, products)], Pool(cores=2), start=7.0)
        for n in (1, count)
    )
    assert many.wall - 7.0 == pytest.approx((one.wall - 7.0) * count)
    assert (many.scenes, many.blocks) == (count, 2 * len(costs) * count)
    assert many.simulated == min(count, forecast.LEAST)
    taken = 7.0 + many.client + products * count + sum(many.stages[s.name] for s in stages)
    assert many.wall == pytest.approx(taken)


FLOWN = Ahead(most=64)


@given(st.integers(1, 150), st.integers(1, 4), st.floats(0.1, 5.0))
def test_scenes_of_one_block_fill_all_lanes(scenes, workers, seconds):
    pool = own_cores(workers, lanes=2, models=2)
    costs = [a_scene(BlockCost(infer=seconds)) for _ in range(scenes)]
    found = simulate_run(costs, pool, ahead=FLOWN)
    assert found.wall == pytest.approx(ceil(scenes / (2 * workers)) * seconds)


@given(st.integers(1, 60), st.floats(0.5, 3.0), st.floats(0.0, 0.4), st.floats(0.0, 0.4))
def test_a_slow_client_sets_the_pace(scenes, before, infer, products):
    """It looks at one scene after the other, and workers are done before the next one comes."""
    cost = a_scene(BlockCost(infer=infer), before=before, products=products / 2)
    found = simulate_run([replace(cost, count=scenes)], own_cores(2), ahead=FLOWN)
    assert found.wall == pytest.approx(scenes * before + infer + products / 2)


@given(st.integers(2, 40), st.floats(0.2, 2.0), st.floats(0.2, 2.0))
def test_products_are_made_while_the_next_scene_is_in_the_model(scenes, infer, products):
    """On one worker with cores enough: whichever takes longer sets the pace."""
    cost = a_scene(BlockCost(infer=infer), products=products, count=scenes)
    found = simulate_run([cost], own_cores(1, lanes=3), ahead=FLOWN)
    slower, quicker = max(infer, products), min(infer, products)
    assert found.wall == pytest.approx(scenes * slower + quicker)
    assert found.waiting == pytest.approx(0.0, abs=1e-9)


def test_a_near_client_takes_its_share_of_the_cores():
    """Two that compute on one core: each takes twice as long."""
    cost = a_scene(BlockCost(infer=1.0), before=1.0, count=2)
    apart = simulate_run([cost], Pool(cores=1), ahead=FLOWN)
    near = simulate_run([cost], Pool(cores=1, near=True), ahead=FLOWN)
    assert apart.wall == pytest.approx(3.0)  # look, look and compute, compute
    assert near.wall == pytest.approx(4.0)


SCENES = st.lists(
    st.builds(
        lambda costs, opening, *rest: SceneCost(
            rest[0],
            (StageCost("segment", tuple(costs), opening), StageCost("trace", tuple(costs[:2]))),
            rest[1],
            products=rest[2],
        ),
        st.lists(COSTS, min_size=1, max_size=6), SECONDS, SECONDS, SECONDS, SECONDS,
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=50)
@given(SCENES, POOLS, st.integers(1, 6), st.booleans())
def test_no_run_of_scenes_beats_the_work_in_it(scenes, pool, most, near):
    pool = replace(pool, near=near)
    found = simulate_run(scenes, pool, ahead=Ahead(most))
    alone = [simulate_run([scene], replace(pool, failures=0.0)).wall for scene in scenes]
    cores = found.cores + (found.client if near else 0.0)
    places = pool.workers * (1 if pool.gpu else pool.models)
    least = max(
        found.client,
        *(scene.before + scene.after + scene.products for scene in scenes),
        cores / (pool.cores * pool.machines),
        found.model / places,
        sum(scene.products for scene in scenes) / pool.workers,
    )
    assert found.wall >= least - 1e-6
    assert 0.0 <= found.waiting <= 1.0
    if not pool.failures:
        assert found.tries == found.blocks == sum(min(2, n) + n for n in map(blocks_of, scenes))
        if most == 1:
            # A stage is opened once by each worker, not for each scene.
            assert found.wall <= sum(alone) + 1e-6


def blocks_of(scene):
    return len(scene.stages[0].costs)


@pytest.mark.parametrize("gpus", [2, 16])
@pytest.mark.parametrize("blocks", [1, 9])
def test_many_equal_scenes_go_on_at_the_pace_of_the_first(monkeypatch, gpus, blocks):
    costs = (BlockCost(read=0.4, latency=0.1, infer=0.1, write=0.2),) * blocks
    stages = (StageCost("segment", costs, 3.0), StageCost("trace", costs))
    cost = SceneCost(0.05, stages, 0.0, 600, 2.0)
    pool = Pool(gpus, 4, 1, 4.0, gpu=True, dispatch=0.001)
    found = simulate_run([cost], pool, start=6.0, ahead=FLOWN)
    monkeypatch.setattr(forecast, "_rounds", lambda _scene, _ahead: 600)
    whole = simulate_run([cost], pool, start=6.0, ahead=FLOWN)
    assert found.simulated < whole.simulated == 600
    assert found.wall == pytest.approx(whole.wall, rel=0.02)
    assert found.cores == pytest.approx(whole.cores)
    assert found.model == pytest.approx(whole.model)
    assert found.stages["segment"] == pytest.approx(whole.stages["segment"], rel=0.05)


def test_where_blocks_fail_a_few_scenes_speak_for_all():
    cost = a_scene(*[BlockCost(infer=1.0)] * 50, count=20_000)
    found = simulate_run([cost], Pool(failures=0.05))
    assert found.simulated == forecast.LEAST
    assert found.tries == pytest.approx(20_000 * 50 * 1.0525, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 0}, "workers: found 0"),
        ({"lanes": 0}, "lanes: found 0"),
        ({"cores": 0.0}, "cores: found 0"),
        ({"failures": 1.0}, "failures: found 1"),
        ({"together": 0}, "workers on a machine: found 0"),
        ({"dispatch": -1.0}, "less than 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(PlanError, match=said):
        Pool(**wrong)
