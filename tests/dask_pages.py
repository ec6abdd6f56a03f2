"""Dask's page of a run, read back as its panels: what stands in them, and what they draw."""

import html
import json
import re

_DATA = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def do_something(client):
    """Tasks with keys of each kind, one that fails, and one that gets its data from elsewhere."""

    def doze(
        seconds,
    ):  # within, so that it travels; and over another, as profiles leave out the last
        import time

        def rest():
            time.sleep(seconds)

        rest()

    first, second = sorted(client.scheduler_info()["workers"])
    tasks = [client.submit(doze, 0.03, key=("doze-1", i, (0, "a"))) for i in range(20)]
    tasks += [client.submit(doze, 0.02, key=f"nap-{i}") for i in range(10)]
    tasks.append(client.submit(doze, 1.5, key="rest-1"))  # profiles begin anew each second
    tasks.append(client.submit(int, "none", key="fail-1"))
    made = client.submit(bytes, 30_000_000, key="make-1", workers=[first])
    tasks += [made, client.submit(len, made, key="count-1", workers=[second])]
    assert sum(task.exception() is not None for task in tasks) == 1
    return len(tasks)


class Panels:
    """The panels of a page by their titles."""

    def __init__(self, page):
        from bokeh.document import Document

        (data,) = _DATA.findall(page)
        (document,) = json.loads(html.unescape(data)).values()
        (tabs,) = Document.from_json(document).roots
        self.by_title = {panel.title: panel.child for panel in tabs.tabs}

    def text(self, title):
        return self.by_title[title].text

    def drawn(self, title):
        """What a figure draws: its columns, as lists."""
        return _columns(self.by_title[title])

    def moments(self):
        """What the figures of the scheduler's process draw."""
        return [_columns(one) for one in self.by_title["System"].children]


def _columns(figure):
    (renderer,) = figure.renderers[:1]
    return {name: list(values) for name, values in renderer.data_source.data.items()}
