"""A tab of a real headless Chromium, driven by its own protocol (CDP) over a websocket."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tornado.websocket import websocket_connect

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--mute-audio", "--hide-scrollbars",
)  # fmt: skip


def browser_path() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium(folder: Path):
    """A browser with a profile of its own; yields a function that opens a tab at an address."""
    profile = folder / "profile"
    process = subprocess.Popen(
        [browser_path(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    tabs = []
    try:
        port = _port(profile / "DevToolsActivePort")

        def open_tab(address: str, *, size=(1280, 800), dark=False) -> Tab:
            tabs.append(Tab(port, size, dark=dark))
            tabs[-1].call("Page.navigate", url=address)
            return tabs[-1]

        yield open_tab
    finally:
        for tab in tabs:
            tab.close()
        process.terminate()
        process.wait(30)


def _port(file: Path) -> int:
    for _ in range(600):
        if file.exists() and (text := file.read_text()).count("\n"):
            return int(text.split()[0])
        time.sleep(0.05)
    raise AssertionError("Chromium has not started")


class Tab:
    """One page; remembers what it has asked for and what it has complained about."""

    def __init__(self, port: int, size: tuple[int, int], *, dark: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (our own browser)
            told = json.load(answer)
        self._socket = self._wait(
            lambda: websocket_connect(told["webSocketDebuggerUrl"], max_message_size=2**26)
        )
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # Tabs in the background are not drawn, else.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(*size)
        if dark:
            media = [{"name": "prefers-color-scheme", "value": "dark"}]
            self.call("Emulation.setEmulatedMedia", features=media)

    def _wait(self, start):
        async def waited():
            return await start()  # begun within the loop that it belongs to

        return self._loop.run_until_complete(asyncio.wait_for(waited(), 60))

    def call(self, method: str, **params):
        """Send a command and wait for what comes of it; events on the way are noted."""
        self._number += 1
        self._wait(
            lambda: self._socket.write_message(
                json.dumps({"id": self._number, "method": method, "params": params})
            )
        )
        while True:
            text = self._wait(self._socket.read_message)
            assert text is not None, "the tab is gone"
            told = json.loads(text)
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, event) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def js(self, code: str):
        """The value of an expression, awaited."""
        told = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, code: str, seconds: float = 60):
        """Wait until an expression is true; its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js(f"(() => {{ try {{ return ({code}); }} catch {{ return null; }} }})()")
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {code}; {self.complaints}")

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        more = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, **(more if kind == "keyDown" else {})
            )

    def write(self, text: str) -> None:
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, x: float, y: float) -> None:
        """The left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, element: str, value: str) -> None:
        """What a person does with a field."""
        self.js(
            f"(() => {{ const one = document.getElementById({element!r}); one.value = {value!r};"
            "one.dispatchEvent(new Event('input', {bubbles: true}));"
            "one.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def picture(self, path: Path | None = None) -> bytes:
        """A PNG of what is seen."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    def close(self) -> None:
        self._socket.close()
        self._loop.close()
