"""What a workflow may say of its nights, and what the page on schedules shows."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from geoseg.api.publishing import output_root
from geoseg.errors import InputError, WorkflowError
from geoseg.workflow import loads
from geoseg.workflow.monitor import keep_of, span_of

ROOT = Path(__file__).parents[2]
GOOD = """\
geoseg: 1
name: water
input: {kind: files, path: a.tif}
model: water-s2
output: {directory: 'products/{name}/{date}'}
"""
PAGE = (ROOT / "docs" / "schedules.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_monitor_is_off_unless_it_is_asked_for():
    assert loads(GOOD).monitor is None
    on = loads(f"{GOOD}monitor: true\n").monitor
    assert (on.keep, on.max_age) == (None, None)


def test_how_long_to_keep_is_a_span_or_a_number_of_runs():
    keep = loads(f"{GOOD}monitor: {{keep: 12 w}}\n").monitor.keep
    assert (keep.runs, keep.timedelta) == (None, timedelta(weeks=12))
    assert (keep_of("10 runs").runs, keep_of("1 run").runs) == (10, 1)
    assert span_of("36 h") == timedelta(hours=36)
    for wrong in ("0 d", "1.5 runs", "10", "ten runs", "5 ha"):
        with pytest.raises(InputError, match="how long"):
            keep_of(wrong)
    with pytest.raises(InputError, match="expected a duration"):
        span_of("8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monitor: {keep: 5 ha}", "monitor.keep: expected how long to keep products"),
        ("monitor: {kep: 90 d}", "did you mean 'keep'?"),
        ("notify: {events: [alerts]}", "nobody would be told"),
        ("notify: {webhook_env: A, events: [alert]}", "did you mean 'alerts'?"),
        ("notify: {webhook_env: 'https://host/S3CRET'}", "found an address"),
        ("notify: {email: {to_env: me@S3CRET}}", "found an address"),
    ],
)
def test_mistakes_are_told(text, said):
    with pytest.raises(WorkflowError) as caught:
        loads(f"{GOOD}{text}\n")
    assert said in str(caught.value)
    assert "S3CRET" not in str(caught.value).partition("\n")[0]


def test_nights_and_notices_change_no_result():
    more = "monitor: {keep: 5 d}\nnotify: {webhook_env: HOOK}\n"
    assert loads(GOOD + more).results_key() == loads(GOOD).results_key()


def test_which_scenes_are_meant_changes_nothing_about_them():
    stac = GOOD.replace("{kind: files, path: a.tif}", "{kind: stac, catalog: c.json%s}")
    keys = {
        loads(stac % more).results_key()
        for more in ("", ", time: {last: 14 d}", ", max_cloud: 5", ", ids: [a]", ", max_items: 9")
    }
    assert len(keys) == 1
    assert loads(stac % ", scale: 0.1").results_key() not in keys


@pytest.mark.parametrize(
    ("template", "root"),
    [
        ("products/{name}/{date:%Y}/{scene}", "products/water"),
        ("products/{scene}", "products"),
        ("products/a-{scene}/x", "products"),
        ("products/{{a}}/{scene}", "products/{a}"),
        ("{scene}", "."),
        ("products", "products"),
        ("/abs/{name}", "/abs/water"),
    ],
)
def test_the_ledger_lies_above_all_scenes(template, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workflow = loads(GOOD.replace("products/{name}/{date}", template))
    assert output_root(workflow) == (tmp_path / root)


def test_the_page_on_schedules_shows_what_works():
    (workflow,) = blocks("yaml")
    read = loads(workflow)
    assert read.monitor.keep.timedelta == timedelta(days=90)
    assert read.notify.events == ("alerts", "failure", "silence")
    for code in blocks("python"):
        compile(code, "docs/schedules.md", "exec")
