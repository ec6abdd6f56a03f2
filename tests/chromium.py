"""Real headless Chromium, told what to do over its own protocol: one process for many looks."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARY = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BINARY is None, reason="there is no Chromium")

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe", "--mute-audio", "--hide-scrollbars",
)  # fmt: skip
"""WebGL is drawn by the CPU, which every machine has, and the same everywhere."""

KEYS = {" ": 32, "Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowRight": 39}
"""Keys that a page does something with by itself: it goes by their numbers."""

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
    """One page of a browser; remembers what it has asked for and what it has complained about."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.requests, self.complaints, self.loaded = [], [], 0

    def call(self, method, **params):
        """Send a command and wait for what comes of it; events on the way are noted."""
        return self._browser.call(method, params, self._session)

    def note(self, method, params):
        """Take an event."""
        if method == "Page.loadEventFired":
            self.loaded += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def open(self, place):
        """A file or an address, once all of it has come."""
        before = self.loaded
        address = place.absolute().as_uri() if isinstance(place, Path) else place
        self.call("Page.navigate", url=address)
        while self.loaded == before:
            self._browser.take()

    def shape(self, width, height=900, *, dark=False, media=""):
        """How large the window is, and whether it is night; below 600 pixels it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def js(self, code):
        """The value of an expression, awaited."""
        told = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, code, seconds=60):
        """Wait until an expression is true; its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js(f"(() => {{ try {{ return ({code}); }} catch {{ return null; }} }})()")
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {code}; {self.complaints}")

    def press(self, key, *, shift=False):
        """A key, as a person presses it."""
        number = KEYS.get(key) or ord(key[0].upper())
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        how = {"key": key, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, **how, **more)

    def write(self, text):
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, x, y):
        """The left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, element, value):
        """What a person does with a field."""
        self.js(
            f"(() => {{ const one = document.getElementById({element!r}); one.value = {value!r};"
            "one.dispatchEvent(new Event('input', {bubbles: true}));"
            "one.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def look(self):
        """See ``LOOK``."""
        return self.js(LOOK)

    def picture(self, path: Path, *, whole=True):
        """A PNG of the page, or of what is seen of it."""
        clip = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            height = min(size["height"], 12000)
            box = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
            clip = {"captureBeyondViewport": True, "clip": box}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **clip)["data"]))

    def pdf(self, path: Path):
        """The page as it prints."""
        data = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"]
        path.write_bytes(base64.b64decode(data))


class Browser:
    """A browser, and the pipe to it: messages of JSON that end in zero bytes."""

    def __init__(self, to, since):
        self._to, self._since, self._rest = to, since, b""
        self._numbers, self._pages = itertools.count(1), {}

    def page(self, place=None, *, size=(1280, 800), dark=False):
        """A new page, at a file or an address if one is given."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        told = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        session = told["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        # Pages in the background are not drawn, else.
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.shape(*size, dark=dark)
        if place is not None:
            page.open(place)
        return page

    def call(self, method, params, session=None):
        """Send a command, to the page of a session or the browser itself; what comes of it."""
        number = next(self._numbers)
        told = {"id": number, "method": method, "params": params}
        told |= {"sessionId": session} if session else {}
        left = json.dumps(told).encode() + b"\0"
        while left:
            left = left[os.write(self._to, left) :]
        while True:
            said = self.take()
            if said.get("id") == number:
                assert "error" not in said, said["error"]
                return said["result"]

    def take(self):
        """The next message; an event goes to its page."""
        while b"\0" not in self._rest:
            more = os.read(self._since, 1 << 20)
            assert more, "the browser went away"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(text)
        page = self._pages.get(said.get("sessionId"))
        if "method" in said and page is not None:
            page.note(said["method"], said["params"])
        return said


@contextmanager
def browser(folder: Path):
    """A browser that keeps what it has in ``folder``; skips where there is none."""
    if BINARY is None:
        pytest.skip("there is no Chromium")
    to_read, to_write, from_read, from_write = map(_high, (*os.pipe(), *os.pipe()))
    flags = [*FLAGS, f"--user-data-dir={folder}"]
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
