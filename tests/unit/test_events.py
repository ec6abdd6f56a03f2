"""Events of runs: written whatever happens, read whatever was torn, told to whoever listens."""

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
from itertools import islice

import jsonschema
import pytest
from conftest import ROOT

from geoseg.api.events import find_logs, summarise, words
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.run import traces
from geoseg.run.base import Done, Failed
from geoseg.run.event_log import NAME, OLDER, EventLog, follow_events, read_events
from geoseg.run.event_schema import event_schema, event_schema_text
from geoseg.run.events import RunEvents, SceneEvents
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.observed import ObservedJob
from geoseg.run.progress import JsonLines
from geoseg.run.reporter import Several, Silent
from geoseg.run.serial import Serial
from geoseg.run.watching import takers_of, watchers_of

BLOCKS = [Window(0, x, 10, x + 10) for x in range(0, 50, 10)]


class Work:
    """Fails once at the second block, and always at the third."""

    waiting = 0

    def __init__(self):
        self.seen = []

    def __call__(self, block):
        self.seen.append(block)
        if block == BLOCKS[2] or (block == BLOCKS[1] and self.seen.count(block) == 1):
            raise RuntimeError(f"no luck at {block.x0}")
        return {"seconds": {"read": 0.25, "infer": 0.5}, "memory": 10**6, "remote": {"bytes": 7}}

    def close(self):
        pass


class OneJob:
    key = "a-job"
    kind = "for an executor"

    def open(self):
        return Work()


def line(number):
    return {"time": "2026-11-26T00:00:00.000Z", "event": "message", "run": "0", "text": f"{number}"}


@pytest.fixture
def told(tmp_path):
    """Events of a stage with failures, in this process."""
    log = EventLog(tmp_path / "out" / ".geoseg" / "log")
    run = RunEvents([log])
    run.emit("run_started", workflow="w", geoseg="1", host="h", pid=1, scenes=1, blocks=5)
    scene = SceneEvents(run, "a-scene")
    scene.emit("scene_started", blocks=5, height=10, width=50, memory_planned=1)
    reporter = Several([Silent(), Several([scene])])
    with Ledger.open(tmp_path / "segment.jsonl", "f", {}) as ledger:
        run_blocks(
            Serial(1, retries=1), OneJob(), BLOCKS, ledger, reporter,
            name="segment", on_error="skip_block",
        )  # fmt: skip
    reporter.warning("look at that")
    scene.stage("products", blocks=3, pixels=0)
    scene.ended("done", seconds=2.0, failed_blocks=1)
    run.emit("run_ended", state="done", seconds=3.0, made=1, failed=0)
    log.close()
    return tmp_path / "out"


def test_a_stage_tells_of_each_block_and_of_its_tries(told):
    events = list(read_events(told / ".geoseg" / "log"))
    check = jsonschema.Draft202012Validator(event_schema())
    for event in events:
        check.validate(event)
    blocks = {tuple(e["block"])[1]: e for e in events if e["event"] == "block"}
    assert [blocks[x]["tries"] for x in (0, 10, 20, 30)] == [1, 2, 2, 1]
    assert blocks[20]["state"] == "failed"
    assert blocks[20]["error"] == "RuntimeError: no luck at 20"
    assert blocks[0]["lanes"] == {"read": 0.25, "infer": 0.5}
    assert blocks[0]["received_bytes"] == 7
    ended = {e["stage"]: e for e in events if e["event"] == "stage_ended"}
    assert (ended["segment"]["state"], ended["segment"]["done"]) == ("failed", 4)
    assert ended["products"]["state"] == "done", "what nobody ends, ends with its scene"


def test_the_summary_counts_what_happened(told):
    (log,) = find_logs(told.parent)
    found = summarise(log)
    segment, products = found.stages
    assert (segment.done, segment.failed, segment.retries) == (4, 1, 2)
    assert segment.lanes == {"read": 1.0, "infer": 2.0}
    assert products.wall is not None
    assert found.scenes == {"a-scene": "done"}
    assert (found.state, found.warnings) == ("done", 2), "the failed block is one"
    assert "no luck at 20" in found.failures[0]
    json.dumps(found.as_json())
    for event in read_events(log):
        assert event["event"].replace("_", " ").split()[0] in words(event)
    with pytest.raises(InputError, match="no run has left events"):
        find_logs(log)


def test_the_schema_is_kept_and_the_page_knows_all_events():
    """Mend with: geoseg schema --events > geoseg.events.schema.json."""
    assert (ROOT / "geoseg.events.schema.json").read_text("utf-8") == event_schema_text()
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    schema = event_schema()
    for mapped in schema["discriminator"]["mapping"]:
        assert f"`{mapped}`" in page
    example = page.split("```json\n")[1].split("```")[0]
    jsonschema.validate(json.loads(example), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(example), "colour": "red"}, schema)


def test_a_log_has_a_limit_and_keeps_the_newest(tmp_path):
    log = EventLog(tmp_path, most=2000)
    for number in range(100):
        log(line(number))
    log.close()
    assert (tmp_path / NAME).stat().st_size <= 2000
    assert (tmp_path / OLDER).stat().st_size <= 2000
    kept = [int(e["text"]) for e in read_events(tmp_path)]
    assert kept == list(range(kept[0], 100))
    assert len(kept) > 20


def test_a_torn_line_spoils_no_other(tmp_path):
    log = EventLog(tmp_path)
    log(line(1))
    log.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"time": "2026')
    log(line(2))
    log.close()
    assert [e["text"] for e in read_events(tmp_path)] == ["1", "2"]


def test_threads_write_whole_lines(tmp_path):
    log = EventLog(tmp_path)

    def write(first):
        for number in range(first, first + 200):
            log(line(number))

    threads = [threading.Thread(target=write, args=(1000 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = sorted(int(e["text"]) for e in read_events(tmp_path))
    assert found == [1000 * k + n for k in range(4) for n in range(200)]


def test_what_could_not_be_written_is_counted(tmp_path):
    blocked = tmp_path / "log"
    blocked.write_text("a file where the folder should be")
    log = EventLog(blocked)
    for number in range(3):
        log(line(number))
    blocked.unlink()
    log(line(3))
    log.close()
    lost, event = read_events(blocked)
    assert (lost["event"], lost["lines"]) == ("lost", 3)
    assert event["text"] == "3"
    jsonschema.validate(lost, event_schema())


def test_a_follower_hears_what_comes_and_goes_on_in_a_new_log(tmp_path):
    log = EventLog(tmp_path, most=300)
    following = follow_events(tmp_path, seconds=0.001)
    found = []
    for number in range(12):
        log(line(number))
        found += [e["text"] for e in islice(following, 1)]
    log.close()
    following.close()
    assert found == [str(number) for number in range(12)]


def test_who_listens_cannot_stop_a_run():
    heard = []

    def broken(event):
        raise RuntimeError(event)

    RunEvents([broken, heard.append]).emit("message", text="x", scene=None)
    (event,) = heard
    assert "scene" not in event, "what is None is left out"


def test_json_lines_have_events_and_messages_once():
    stream = io.StringIO()
    lines = JsonLines(stream)
    assert takers_of(Several([Silent(), lines])) == (lines,)
    assert watchers_of(lines) == ()
    run = RunEvents([lines.event])
    scene = SceneEvents(run, "a")
    both = Several([lines, scene])
    both.message("once")
    scene.ended("done")
    found = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [e["event"] for e in found] == ["message", "scene_ended"]


def test_a_watched_job_is_the_job_for_whoever_asks():
    job = pickle.loads(pickle.dumps(ObservedJob(OneJob(), "segment", {})))  # noqa: S301 (our own)
    assert (job.key, job.kind) == ("a-job", "for an executor")
    work = job.open()
    assert work(BLOCKS[0])["memory"] == 10**6
    with pytest.raises(AttributeError, match="colour"):
        _ = job.colour


def test_outcomes_are_the_same_wherever_they_were_made(tmp_path):
    done, failed = Serial(1, retries=0).run(OneJob(), [BLOCKS[0], BLOCKS[2]])
    assert done == Done(BLOCKS[0], done.report)
    assert done.ran.seconds >= 0
    assert isinstance(failed, Failed)
    assert failed.ran.tries == 1


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SERVICE_NAME": "maps"}, False),
    ],
)
def test_traces_are_wanted_as_the_variables_say(variables, wanted):
    assert traces.wanted(variables) is wanted


def test_nothing_of_opentelemetry_is_loaded_without_being_asked():
    code = (
        "import sys, geoseg.api.pipeline, geoseg.run.observed, geoseg.run.metrics\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exp'))])"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert told.stdout.strip() == "[]"


def test_a_full_disk_costs_events_and_nothing_else(tmp_path):
    """A limit on the size of files writes half a line, and then nothing, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = EventLog(tmp_path)
    log(line(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for number in range(1, 50):
            log(line(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / NAME).stat().st_size == 1000, "the last line is torn"
    log(line(50))
    log.close()
    events = list(read_events(tmp_path))
    kept = [int(e["text"]) for e in events if e["event"] == "message"]
    (lost,) = [e["lines"] for e in events if e["event"] == "lost"]
    assert kept == [*range(len(kept) - 1), 50]
    assert len(kept) + lost == 51
