"""Real headless Chromium, told what to do over its own protocol: one process for many looks."""

import base64
import fcntl
import itertools
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARY = shutil.which("chromium") or shutil.which("google-chrome")

LOOK = """
(() => {
  const shown = e => e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});
  const rgb = text => {
    const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    c.fillStyle = text; c.fillRect(0, 0, 1, 1);
    const p = c.getImageData(0, 0, 1, 1).data;
    return [p[0], p[1], p[2], p[3] / 255];
  };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => {
    const f = c.slice(0, 3).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
  };
  const behind = e => {
    const all = [];
    for (let at = e; at; at = at.parentElement) all.push(rgb(getComputedStyle(at).backgroundColor));
    return all.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]);
  };
  const texts = [...document.body.querySelectorAll('*')].filter(e => shown(e) &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const contrast = texts.map(e => {
    const paper = behind(e), style = getComputedStyle(e);
    const ink = rgb(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(over(ink, paper)), light(paper)];
    return {ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text: e.textContent.trim().slice(0, 40)};
  });
  return {
    lang: document.documentElement.lang,
    title: document.title,
    headings: [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1]),
    images: [...document.images].filter(shown).map(
      i => ({alt: i.getAttribute('alt'), ok: i.complete && i.naturalWidth > 0})),
    unnamed: [...document.querySelectorAll('input,select,textarea,button,a')].filter(
      e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label')).length,
    ids: [...document.querySelectorAll('[id]')].map(e => e.id),
    anchors: [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1)),
    headless: [...document.querySelectorAll('table')].filter(
      t => !t.caption || !t.querySelector('th[scope=col]')).length,
    main: document.querySelectorAll('main').length,
    scripts: document.scripts.length,
    width: document.documentElement.scrollWidth,
    view: innerWidth,
    paper: behind(document.body),
    contrast: contrast.sort((a, b) => a.ratio - b.ratio).slice(0, 5),
  };
})()
"""
"""What a page is like for those who look at it, hear it, or go through it by keys."""


class Page:
    """One page of a browser."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.asked = []

    def call(self, method, **params):
        return self._browser.call(method, params, self._session, self)

    def open(self, path: Path):
        self.call("Page.navigate", url=path.absolute().as_uri())
        self._browser.wait("Page.loadEventFired", self._session, self)

    def shape(self, width, height=900, *, dark=False, media=""):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script):
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            text = {"text": " "} if key == " " and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def look(self):
        return self.run(LOOK)

    def picture(self, path: Path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], 12000),
            "scale": 1,
        }
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self, path: Path):
        data = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"]
        path.write_bytes(base64.b64decode(data))


class Browser:
    """A browser, and the pipe to it: messages of JSON that end in zero bytes."""

    def __init__(self, to, since):
        self._to, self._since, self._rest = to, since, b""
        self._numbers, self._events = itertools.count(1), []

    def page(self):
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})[
            "sessionId"
        ]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method, params, session=None, page=None):
        number = next(self._numbers)
        told = {"id": number, "method": method, "params": params}
        told |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(told).encode() + b"\0")
        while True:
            said = self._next(page)
            if said.get("id") == number:
                assert "error" not in said, said["error"]
                return said["result"]

    def wait(self, event, session, page):
        while (event, session) not in self._events:
            self._next(page)
        self._events.remove((event, session))

    def _next(self, page):
        while b"\0" not in self._rest:
            more = os.read(self._since, 1 << 20)
            assert more, "the browser went away"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(text)
        if "method" in said:
            self._events.append((said["method"], said.get("sessionId")))
            if page is not None and said["method"] == "Network.requestWillBeSent":
                page.asked.append(said["params"]["request"]["url"])
        return said


@contextmanager
def browser(folder: Path):
    """A browser that keeps what it has in ``folder``; skips where there is none."""
    if BINARY is None:
        pytest.skip("there is no Chromium")
    to_read, to_write, from_read, from_write = map(_high, (*os.pipe(), *os.pipe()))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]  # fmt: skip
    # The browser reads and writes at 3 and 4, whatever numbers the pipes have here.
    actions = [(os.POSIX_SPAWN_DUP2, to_read, 3), (os.POSIX_SPAWN_DUP2, from_write, 4)]
    actions += [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in (1, 2)]
    process = os.posix_spawn(BINARY, [BINARY, *flags], os.environ, file_actions=actions)
    os.close(to_read)
    os.close(from_write)
    try:
        found = Browser(to_write, from_read)
        yield found
        found.call("Browser.close", {})
    finally:
        os.close(to_write)  # which ends it, if it has not ended yet
        os.waitpid(process, 0)
        os.close(from_read)


def _high(number):
    """Another number of what is open as ``number``: one that is in nobody's way."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(number)
    return moved
