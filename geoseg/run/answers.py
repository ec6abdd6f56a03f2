"""Answers of blocks, which come along with the news that their tasks have ended."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from distributed import Client

Hear = Callable[[str, bytes], None]
"""Takes a task's key, and its pickled answer; from any thread."""

_HEARING: WeakKeyDictionary[Client, dict[str, Hear]] = WeakKeyDictionary()


def topic_of(client: Client) -> str:
    """Where workers send the answers of all jobs of a client."""
    return f"geoseg-answers-{client.id}"


def listen(client: Client, name: str, hear: Hear) -> None:
    """Let ``hear`` have the answers of the job called ``name``, of all that run at once."""
    known = _HEARING.get(client)
    listeners = _HEARING.setdefault(client, {})
    listeners[name] = hear
    if known is not None:
        return

    def pass_on(event: tuple[float, tuple[str, str, bytes]]) -> None:
        _, (of, key, answer) = event
        hearing = listeners.get(of)
        if hearing is not None:  # else it comes too late, and nobody waits for it any more
            hearing(key, answer)

    # Never unsubscribed: a late answer would find nobody, which the client does not take well.
    client.subscribe_topic(topic_of(client), pass_on)


def hear_no_more(client: Client, name: str) -> None:
    """Nobody waits for answers of that job any more."""
    _HEARING.get(client, {}).pop(name, None)
