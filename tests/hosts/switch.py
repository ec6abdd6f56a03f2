"""A switch in this process, whose ports are the cards of hosts: lines may be slow, lossy or cut.

It does what a bridge with netem does, on kernels without ``sch_netem``, too. A cut line swallows
everything and says nothing, as a pulled plug further on does: nobody is told that packets are lost.
"""

import fcntl
import heapq
import itertools
import os
import random
import secrets
import selectors
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST_FRAME = 65536
AT_ONCE = 64
"""Frames taken from one port before others have their turn."""


@dataclass(frozen=True)
class Line:
    """How a port treats each frame that comes in or goes out; ``delay`` in seconds."""

    delay: float = 0.0
    loss: float = 0.0
    cut: bool = False


@dataclass
class Port:
    """A network card: ``device`` is its name until somebody gives it another one."""

    device: str
    file: int
    line: Line = Line()
    passed: int = 0
    lost: int = 0


@dataclass
class Switch:
    """Passes frames between ports; ends with its process, and all cards with it.

    ``words`` counts the frames in which each of its keys was said in the clear.
    """

    seed: int = 1
    ports: dict[str, Port] = field(default_factory=dict)
    words: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self):
        self._chance = random.Random(self.seed)  # noqa: S311 (no secret)
        self._lock, self._selector = threading.RLock(), selectors.DefaultSelector()
        self._where: dict[bytes, Port] = {}
        self._due: list = []
        self._number = itertools.count()
        self._woken, self._wake = os.pipe()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="switch", daemon=True)
        self._thread.start()

    def plug(self, name: str) -> Port:
        """A new card on port ``name``; what was there is pulled out.

        Raises:
            OSError: This process may not make network devices.
        """
        self.unplug(name)
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        device = f"gs{secrets.token_hex(5)}"
        try:
            fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TAP | IFF_NO_PI))
        except OSError:
            os.close(file)
            raise
        port = Port(device, file)
        with self._lock:
            self.ports[name] = port
            self._selector.register(file, selectors.EVENT_READ, port)
        os.write(self._wake, b"!")
        return port

    def unplug(self, name: str) -> None:
        """Take a card away, if there is one."""
        with self._lock:
            port = self.ports.pop(name, None)
            if port is not None:
                self._forget(port)

    def set(self, name: str, line: Line) -> None:
        """Treat all frames of a port so from now on."""
        with self._lock:
            self.ports[name].line = line

    def close(self) -> None:
        """Take all cards away and end."""
        self._closed = True
        os.write(self._wake, b"!")
        self._thread.join()
        for name in list(self.ports):
            self.unplug(name)
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)

    def _serve(self):
        while not self._closed:
            wait = self._due[0][0] - time.monotonic() if self._due else None
            ready = self._selector.select(None if wait is None else max(0.0, wait))
            with self._lock:
                for key, _ in ready:
                    if key.data is None:
                        os.read(self._woken, 4096)
                    else:
                        self._take(key.data)
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    _, _, port, frame = heapq.heappop(self._due)
                    self._give(port, frame)

    def _take(self, port):
        for _ in range(AT_ONCE):
            try:
                frame = os.read(port.file, LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError:  # its host is gone, and the card with it
                self._forget(port)
                return
            for word in self.words:
                self.words[word] += word in frame
            self._where[frame[6:12]] = port
            known = self._where.get(frame[:6])
            others = [p for p in self.ports.values() if p is not port]
            for target in others if known is None else [known]:
                self._pass(frame, port, target)

    def _pass(self, frame, source, target):
        lines = (source.line, target.line)
        kept = 1.0
        for line in lines:
            kept *= 0.0 if line.cut else 1.0 - line.loss
        if self._chance.random() >= kept:
            source.lost += 1
            return
        source.passed += 1
        due = time.monotonic() + sum(line.delay for line in lines)
        if due <= time.monotonic():
            self._give(target, frame)
        else:
            heapq.heappush(self._due, (due, next(self._number), target, frame))

    def _give(self, port, frame):
        # A card that is gone, down, or has no room takes nothing, as a real one does.
        if port.file >= 0:
            with suppress(OSError):
                os.write(port.file, frame)

    def _forget(self, port):
        if port.file < 0:
            return
        self._selector.unregister(port.file)
        os.close(port.file)
        port.file = -1
        self._where = {mac: at for mac, at in self._where.items() if at is not port}
